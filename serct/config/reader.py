"""Reading params.yaml and profiles: the only code that knows their file format."""

import re
from pathlib import Path
from typing import Any

import yaml

from serct.config.params import Params
from serct.config.section import validate
from serct.errors import ParamsError


def read_params(path: Path) -> Params:
    """Read and check a params.yaml.

    Raises:
        ParamsError: If the file is missing or not YAML, or as `check_params`.
    """
    return check_params(read_yaml(path), str(path))


def check_params(data: dict[str, Any], where: str) -> Params:
    """Check the content of a params.yaml.

    Args:
        data: The content.
        where: What errors call it.

    Raises:
        ParamsError: If a key is unknown, missing, ill-typed, out of range, or names a corpus or
            model that has no entry.
    """
    params = validate(Params, data, where)
    named = [
        ("corpora", name, params.corpora)
        for key in ("corpora", "train_corpora", "zero_shot_corpora")
        for name in getattr(params.pipeline, key)
    ] + [("models", name, params.models) for name in params.pipeline.models]
    for section, name, entries in named:
        if name not in entries:
            raise ParamsError(
                f"{where}: pipeline names {name!r}, expected one of the entries under "
                f"{section}: {', '.join(entries)}"
            )
    for name in (*params.pipeline.train_corpora, *params.pipeline.zero_shot_corpora):
        if name not in params.pipeline.corpora:
            raise ParamsError(f"{where}: {name!r} is used but not listed in pipeline.corpora")
    for name in params.models:
        try:
            params.train_params(name)
        except ParamsError as error:
            raise ParamsError(f"{where}: {error}") from error
    return params


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping, with numbers such as 1e-5 read as numbers, as YAML 1.2 and DVC do."""
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Yaml12Loader)  # noqa: S506
    except FileNotFoundError as error:
        raise ParamsError(f"{path}: no such file") from error
    except yaml.YAMLError as error:
        raise ParamsError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(data, dict):
        raise ParamsError(f"{path}: found {type(data).__name__}, expected a mapping of sections")
    return data


class _Yaml12Loader(yaml.SafeLoader):
    """A safe loader whose floats follow YAML 1.2: PyYAML alone reads 1e-5 as a string."""


_Yaml12Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$"),
    list("-+0123456789."),
)
