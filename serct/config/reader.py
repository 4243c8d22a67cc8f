"""Read params.yaml and profiles: the only code that depends on their file format."""

import re
from pathlib import Path
from typing import Any

import yaml

from serct.config.params import Params
from serct.errors import ParamsError


def read_params(path: Path) -> Params:
    """Read a params.yaml; each section is checked when it is first used.

    Raises:
        ParamsError: If the file is missing or not a YAML mapping.
    """
    return Params(read_yaml(path), str(path))


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
