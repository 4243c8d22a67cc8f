"""Workspaces: folders in which the pipeline runs with its own params, data and tracking.

The checkout is one. A profile gets another, so that an experiment never changes what a bare
`dvc repro` has built. A workspace holds links to the code and its own params.yaml. In a git
checkout it is a DVC project within the checkout's: its dvc.lock, params.yaml and metrics.json can
be committed, compared and run as experiments. Where git ignores it, as in `build/`, DVC does
without git.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from serct.config.params import Params
from serct.config.reader import read_yaml
from serct.errors import SerctError
from serct.experiments.checking import check_params
from serct.experiments.settings import added_keys, compose_params
from serct.runtime import atomic
from serct.runtime.disk import check_writable
from serct.runtime.log import logger

# DVC sends nothing over the network: no usage statistics, no check for new versions.
_DVC_CONFIG = "[core]\n    analytics = false\n    check_update = false\n"
_NO_GIT = "    no_scm = true\n"
_CODE, _COPIES = ("pipeline", "serct"), ("dvc.yaml", ".dvcignore")
# What git leaves out: DVC keeps the data, MLflow's database is rebuilt from it.
_IGNORED = ("/data/*", "!/data/promotions.jsonl", "/mlruns/", "/mlflow.db*", "/.mlflow.*lock")
_IGNORED_OF_DVC = ("/config.local", "/tmp", "/cache")  # noqa: S108  in .dvc


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
            into the old one, as in a profile; `search.space`, `robustness.conditions` and an
            ``augment`` replace it.
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
    kept = folder / "params.yaml"
    before = read_yaml(kept) if kept.exists() else {}
    data = compose_params(root, before, profile, settings, overlay or {})
    params = check_params(data, f"params.yaml with {profile or 'settings'}")
    _lay_out(folder, root, cache)
    # As `dvc exp run -S` writes it, so that one new value is one changed line; without references.
    text = dumps_yaml(json.loads(json.dumps(data)))
    if before:
        for key in added_keys(before, data):
            logger.info("%s: added %s, which an older version did not have", kept, key)
    atomic.write_text(kept, f"# Made by `serct repro`; edits are lost.\n{text}")
    return folder, params


def _lay_out(folder: Path, root: Path, cache: Path | None) -> None:
    """Write what makes a folder a DVC project with the checkout's code."""
    is_versioned = _is_versioned(folder)
    config = folder / ".dvc" / "config"
    if not config.exists():  # it may hold a remote of the user's by now
        shared = f"[cache]\n    dir = {cache}\n" if cache else ""
        atomic.write_text(config, _DVC_CONFIG + ("" if is_versioned else _NO_GIT) + shared)
    is_inside = folder.is_relative_to(root)
    for name in _CODE:
        # Relative, so that it holds in every clone.
        target = Path(os.path.relpath(root / name, folder)) if is_inside else root / name
        link = folder / name
        if link.is_symlink() and link.readlink() != target:
            link.unlink()  # the checkout was moved
        if not link.is_symlink():
            link.symlink_to(target)
    for name in _COPIES:
        copy, text = folder / name, (root / name).read_text(encoding="utf-8")
        # DVC follows no link in a commit, so there are copies; links are from older versions.
        if copy.is_symlink() or not copy.exists() or copy.read_text(encoding="utf-8") != text:
            copy.unlink(missing_ok=True)
            atomic.write_text(copy, text)
    if is_versioned:
        ignored = _IGNORED if is_inside else [*_IGNORED, *(f"/{name}" for name in _CODE)]
        for path, lines in ((folder, ignored), (folder / ".dvc", _IGNORED_OF_DVC)):
            if not (path / ".gitignore").exists():
                atomic.write_text(path / ".gitignore", "\n".join(lines) + "\n")


def _is_versioned(folder: Path) -> bool:
    """Return whether a folder lies in a git checkout that does not ignore it."""
    existing = next(each for each in (folder, *folder.parents) if each.is_dir())
    command = ["git", "-C", str(existing), "check-ignore", "--quiet", str(folder / "dvc.yaml")]
    try:
        # 0: ignored; 1: not ignored; 128: not in a checkout.
        return subprocess.run(command, capture_output=True).returncode == 1
    except FileNotFoundError:
        return False  # no git


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
