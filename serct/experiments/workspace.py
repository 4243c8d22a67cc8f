"""Workspaces: folders in which the pipeline runs with its own params, data and tracking.

The checkout is one. A profile gets another, so that an experiment never changes what a bare
`dvc repro` has built. A workspace holds links to the code and its own params.yaml.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from serct.config.params import Params
from serct.config.reader import explain_yaml, parse_yaml, read_yaml
from serct.config.section import merge
from serct.errors import ParamsError, SerctError
from serct.experiments.checking import check_params
from serct.runtime import atomic
from serct.runtime.disk import check_writable
from serct.runtime.log import logger

# DVC sends nothing over the network: no usage statistics, no check for new versions.
_DVC_CONFIG = "[core]\n    no_scm = True\n    analytics = false\n    check_update = false\n"
_CODE = ("dvc.yaml", ".dvcignore", "pipeline", "serct")


def project_root() -> Path:
    """Return the checkout that this code runs from.

    Raises:
        SerctError: If the package was installed without the pipeline around it.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / "dvc.yaml").exists():
        raise SerctError(
            f"{root}: no dvc.yaml beside the package; the pipeline runs from a checkout of the "
            "project, installed with `make install`"
        )
    return root


def find_workspace(start: Path) -> Path | None:
    """Return the workspace that a folder lies in, the nearest one; None if there is none."""
    for folder in (start, *start.parents):
        is_dvc = (folder / "dvc.yaml").exists() or (folder / ".dvc").exists()
        if is_dvc and (folder / "params.yaml").exists():
            return folder.resolve()
    return None


def list_profiles() -> list[str]:
    """Return the names of the profiles in `profiles/`."""
    return sorted(path.stem for path in (project_root() / "profiles").glob("*.yaml"))


def prepare_workspace(
    folder: Path | None,
    profile: str | None,
    settings: Sequence[str] = (),
    *,
    overlay: Mapping[str, Any] | None = None,
    cache: Path | None = None,
) -> tuple[Path, Params]:
    """Write into a folder what the pipeline needs to run there.

    Args:
        folder: The workspace; the checkout itself if None and there is nothing to change in its
            params, else ``build/<profile>`` in it.
        profile: A name in `profiles/` or a path to such a file.
        settings: Single values on top, as "train.epochs=3". The value is YAML. A mapping is merged
            into the old one, as in a profile; `search.space` and an ``augment`` replace it.
        overlay: More values on top, nested as in params.yaml. A model's entry may name another
            one as its ``base`` and hold only what differs.
        cache: DVC's cache, for workspaces that share one; its own if None.

    Returns:
        The workspace and its checked params.

    Raises:
        ParamsError: If the profile is unknown or the params do not check.
        SerctError: If the folder holds something else.
    """
    root = project_root()
    if folder is None and profile is None and not settings and not overlay:
        if not (root / ".git").exists():
            # From a source archive there is no git for DVC to use.
            run_dvc(root, ["config", "--local", "core.no_scm", "true"])
        path = root / "params.yaml"
        return root, check_params(read_yaml(path), str(path))
    from dvc.utils.serialize import dumps_yaml

    folder = (folder or root / "build" / Path(profile or "custom").stem).resolve()
    if folder == root:
        raise SerctError(f"{folder} is the checkout itself: choose another --workspace")
    if folder.exists() and not (folder / ".dvc").exists() and any(folder.iterdir()):
        raise SerctError(f"{folder} is not empty and not a workspace: choose another --workspace")
    if any((folder / name).exists() and not (folder / name).is_symlink() for name in _CODE):
        raise SerctError(f"{folder} is another checkout: run the serct that is installed there")
    data = read_yaml(root / "params.yaml")
    kept = folder / "params.yaml"
    is_untouched = profile is None and not settings and not overlay
    before = read_yaml(kept) if kept.exists() else {}
    if before and is_untouched:
        data = _with_missing_keys(before, data)
    if profile is not None:
        data = merge(data, read_yaml(_profile_path(root, profile)))
    for setting in settings:
        data = _with_setting(data, setting)
    data = _with_bases(_renamed(merge(data, overlay or {})))
    for corpus in _entries(data, "corpora").values():
        if isinstance(corpus, dict) and corpus.get("reader") == "folder":
            corpus["path"] = str(root / Path(str(corpus.get("path", ""))).expanduser())
    params = check_params(data, f"params.yaml with {profile or 'settings'}")
    config = folder / ".dvc" / "config"
    if not config.exists():  # it may hold a remote of the user's by now
        shared = f"[cache]\n    dir = {cache}\n" if cache else ""
        atomic.write_text(config, _DVC_CONFIG + shared)
    for name in _CODE:
        link = folder / name
        if link.is_symlink() and link.readlink() != root / name:
            link.unlink()  # the checkout was moved
        if not link.is_symlink():
            link.symlink_to(root / name)
    # As `dvc exp run -S` writes it, so that one new value is one changed line; without references.
    text = dumps_yaml(json.loads(json.dumps(data)))
    if before:
        for key in added_keys(before, data):
            logger.info("%s: added %s, which an older version did not have", kept, key)
    atomic.write_text(kept, f"# Made by `serct repro`; edits are lost.\n{text}")
    return folder, params


def added_keys(before: Mapping[str, Any], after: Mapping[str, Any], name: str = "") -> list[str]:
    """Return the dotted names of keys that only the later params have.

    Entries under ``models`` and ``corpora`` that are new as a whole are not named.

    Example:
        >>> added_keys({"train": {"epochs": 2}}, {"train": {"epochs": 2, "seed": 1}, "x": 0})
        ['train.seed', 'x']
    """
    found = []
    for key, value in after.items():
        full = f"{name}.{key}" if name else key
        if key not in before:
            found += [] if name in {"models", "corpora"} else [full]
        elif isinstance(value, Mapping) and isinstance(before[key], Mapping):
            found += added_keys(before[key], value, full)
    return found


def _with_missing_keys(own: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Add the keys that params of an older version lack.

    An entry under ``models`` gets them from the default entry of its name, or else from the first
    one of its architecture.
    """
    as_own = {name: own[name] for name in ("corpora", "search") if name in own}
    merged = {**merge(defaults, own), **as_own}
    if "models" not in own or not isinstance(own["models"], Mapping):
        return merged
    models = {
        name: _completed_entry(name, entry, defaults["models"])
        for name, entry in own["models"].items()
    }
    return {**merged, "models": models}


def _completed_entry(name: str, entry: Any, defaults: Mapping[str, Any]) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    alike = [each for each in (defaults.get(name), *defaults.values()) if each]
    for default in alike:
        if default.get("architecture") == entry.get("architecture"):
            missing = {k: v for k, v in default.items() if k not in entry and k != "train"}
            return {**entry, **missing}
    return entry


# Entries of `models` under the names that they had in version 0.1.
_RENAMED = {"voice_lda": "functionals_lda_speaker"}


def _renamed(data: dict[str, Any]) -> dict[str, Any]:
    """Replace names of models of version 0.1 that have no entry, with a notice."""
    pipeline, models = _entries(data, "pipeline"), _entries(data, "models")
    names = pipeline.get("models")
    for old, new in _RENAMED.items():
        if isinstance(names, list) and old in names and old not in models:
            logger.warning("pipeline.models: %s is now called %s", old, new)
            names = [new if name == old else name for name in names]
            data = {**data, "pipeline": {**pipeline, "models": names}}
    return data


def _entries(data: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    """Return a section of params that are not checked yet, empty if it is no mapping."""
    found = data.get(section)
    return found if isinstance(found, Mapping) else {}


def _with_bases(data: dict[str, Any]) -> dict[str, Any]:
    """Replace each entry under ``models`` that names a base by the whole entry."""
    models = dict(_entries(data, "models"))
    for name, entry in models.items():
        if not isinstance(entry, dict) or "base" not in entry:
            continue
        base = models.get(entry["base"]) if isinstance(entry["base"], str) else None
        if not isinstance(base, dict) or "base" in base:
            raise ParamsError(
                f"models.{name}: base is {entry['base']!r}, expected an entry without a base"
            )
        own = {key: value for key, value in entry.items() if key != "base"}
        models[name] = merge(base, own)
    return {**data, "models": models} if models else data


def _profile_path(root: Path, profile: str) -> Path:
    for path in (root / "profiles" / f"{profile}.yaml", Path(profile)):
        if path.is_file():
            return path
    raise ParamsError(f"no profile {profile!r}, expected one of: {', '.join(list_profiles())}")


# Mappings in which every key counts: one that is given to --set replaces the old one.
_WHOLE = ("space", "augment")


def _with_setting(data: dict[str, Any], setting: str) -> dict[str, Any]:
    """Lay a value of the command line, KEY=VALUE, over params."""
    key, is_assigned, text = setting.partition("=")
    parts = key.split(".")
    if not is_assigned or not all(parts):
        raise ParamsError(f"--set {setting!r}: expected KEY=VALUE such as train.epochs=3")
    nested: Any = _parse_value(setting, text)
    if isinstance(nested, dict) and parts[-1] in _WHOLE:
        data = _without(data, parts)
    for part in reversed(parts):
        nested = {part: nested}
    return merge(data, nested)


def _parse_value(setting: str, text: str) -> Any:
    try:
        value = parse_yaml(text)
    except yaml.YAMLError as error:
        raise ParamsError(
            f"--set {setting!r}: {text!r} is not valid YAML ({explain_yaml(error)}); quote a text "
            "that is meant as it is"
        ) from error
    for key in value if isinstance(value, dict) else ():
        if value[key] is None and ":" in str(key):
            raise ParamsError(
                f"--set {setting!r}: {str(key)!r} has no value, expected a space after the colon"
            )
    return value


def _without(data: dict[str, Any], parts: Sequence[str]) -> dict[str, Any]:
    """Return params without one key."""
    first, *rest = parts
    if not rest:
        return {key: value for key, value in data.items() if key != first}
    inner = data.get(first)
    return {**data, first: _without(inner, rest)} if isinstance(inner, dict) else data


def run_dvc(workspace: Path, arguments: Sequence[str]) -> int:
    """Run DVC in a workspace, its stages with this interpreter; return the exit code.

    Raises:
        DiskError: If it fails and the workspace cannot be written, which DVC does not explain.
    """
    command = [sys.executable, "-m", "dvc", *arguments]
    code = subprocess.run(command, cwd=workspace, env=stage_environment(os.environ)).returncode
    if code:
        check_writable(workspace)
    return code


def stage_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that stages run in: this interpreter first, paths absolute."""
    environment = dict(inherited)
    # The stages' `python` is this one, whether or not its environment is activated.
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), inherited["PATH"]])
    # A name that the output's encoding lacks is no reason for DVC or a stage to end.
    encoding = inherited.get("PYTHONIOENCODING", "").partition(":")[0]
    environment["PYTHONIOENCODING"] = f"{encoding}:backslashreplace"
    for name in ("SERCT_MIRROR", "SERCT_CACHE"):
        if inherited.get(name):
            environment[name] = str(Path(inherited[name]).expanduser().resolve())
    return environment
