"""Read params.yaml and profiles: the only code that depends on their file format."""

import re
from pathlib import Path
from typing import Any

import yaml

from serct.config.files import read_text
from serct.config.params import Params
from serct.errors import ParamsError


def read_params(path: Path) -> Params:
    """Read a params.yaml; each section is checked when it is first used.

    Raises:
        ParamsError: If the file is missing or not a YAML mapping.
    """
    return Params(read_yaml(path), str(path))


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; see `parse_yaml`.

    Raises:
        ParamsError: If the file is missing, not readable or not a YAML mapping.
    """
    try:
        data = parse_yaml(read_text(path, "", ParamsError))
    except yaml.YAMLError as error:
        raise ParamsError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(data, dict):
        raise ParamsError(f"{path}: found {type(data).__name__}, expected a mapping of sections")
    return data


def parse_yaml(text: str) -> Any:
    """Parse YAML with plain values as YAML 1.2 and DVC read them.

    Raises:
        yaml.YAMLError: If it is not YAML.

    Example:
        >>> parse_yaml("{rate: 1e-5, language: no, day: 2024-01-31, time: 12:30, on: true}")
        {'rate': 1e-05, 'language': 'no', 'day': '2024-01-31', 'time': '12:30', 'on': True}
    """
    return yaml.load(text, Loader=_Yaml12Loader)  # noqa: S506


class _Yaml12Loader(yaml.SafeLoader):
    """A safe loader whose plain values follow YAML 1.2's core schema.

    PyYAML alone reads 1e-5 as a string, no and on as booleans, and 2024-01-31 as a date.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012  as PyYAML has it
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag.rpartition(":")[2] not in ("bool", "float", "int", "timestamp")
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """Return a whole number; 010 is ten."""
        value = str(self.construct_scalar(node))
        return int(value, 0) if value.startswith(("0x", "0o")) else int(value)


_Yaml12Loader.add_constructor("tag:yaml.org,2002:int", _Yaml12Loader.construct_yaml_int)
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
):
    _Yaml12Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^({_pattern})$"), list(_first)
    )
