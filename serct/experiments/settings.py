"""The params of a workspace: the checkout's, a profile, single values of the command line."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from serct.config.reader import explain_yaml, parse_yaml, read_yaml
from serct.config.section import merge
from serct.errors import ParamsError
from serct.models.records import as_encoder_network
from serct.runtime.log import logger


def list_profiles(root: Path) -> list[str]:
    """Return the names of the profiles in a checkout's `profiles/`."""
    return sorted(path.stem for path in (root / "profiles").glob("*.yaml"))


def compose_params(
    root: Path,
    before: Mapping[str, Any],
    profile: str | None,
    settings: Sequence[str],
    overlay: Mapping[str, Any],
) -> dict[str, Any]:
    """Lay values over the params of a checkout; they are not checked yet.

    Args:
        root: The checkout.
        before: The params that the workspace has: kept if there is nothing else to lay over.
        profile: A name in `profiles/`, or a path to such a file.
        settings: Single values, as "train.epochs=3".
        overlay: More values on top, nested. A model's entry may name another one as its ``base``.

    Raises:
        ParamsError: If the profile is unknown, or a setting or a base is not valid.
    """
    data = read_yaml(root / "params.yaml")
    if before and profile is None and not settings and not overlay:
        data = _with_missing_keys(before, data)
    if profile is not None:
        data = merge(data, read_yaml(_profile_path(root, profile)))
    for setting in settings:
        data = with_setting(data, setting)
    data = _with_bases(_renamed(merge(data, overlay)))
    for corpus in _entries(data, "corpora").values():
        if isinstance(corpus, dict) and corpus.get("reader") == "folder":
            corpus["path"] = str(root / Path(str(corpus.get("path", ""))).expanduser())
    return data


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
    whole = ("corpora", "robustness", "search")
    as_own = {name: own[name] for name in whole if name in own}
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
    """Replace names of models of version 0.1 that have no entry, with a notice, and `ssl`."""
    pipeline, models = _entries(data, "pipeline"), _entries(data, "models")
    names = pipeline.get("models")
    for old, new in _RENAMED.items():
        if isinstance(names, list) and old in names and old not in models:
            logger.warning("pipeline.models: %s is now called %s", old, new)
            names = [new if name == old else name for name in names]
            data = {**data, "pipeline": {**pipeline, "models": names}}
    # What version 0.2 called `ssl`.
    old_entries = {
        name: as_encoder_network(entry)
        for name, entry in models.items()
        if isinstance(entry, Mapping) and entry.get("architecture") == "ssl"
    }
    return {**data, "models": {**models, **old_entries}} if old_entries else data


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
    raise ParamsError(f"no profile {profile!r}, expected one of: {', '.join(list_profiles(root))}")


# Mappings in which every key counts: one that is given to --set replaces the old one.
_WHOLE = ("space", "augment", "conditions")


def with_setting(data: dict[str, Any], setting: str) -> dict[str, Any]:
    """Lay a value of the command line, KEY=VALUE, over params.

    Raises:
        ParamsError: If it is no KEY=VALUE, or the value is not valid YAML.
    """
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
