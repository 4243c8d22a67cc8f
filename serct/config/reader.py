"""Read params.yaml and profiles: the only code that depends on their file format."""

import re
import reprlib
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError

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
    text = read_text(path, "", ParamsError)
    try:
        data = parse_yaml(text)
    except yaml.YAMLError as error:
        if marker := re.search("^<{7} ", text, re.MULTILINE):
            line = text.count("\n", 0, marker.start()) + 1
            raise ParamsError(f"{path}: line {line}: a conflict that git left to you") from error
        raise ParamsError(f"{path}: not valid YAML: {explain_yaml(error)}") from error
    if not isinstance(data, dict):
        found = "nothing" if data is None else type(data).__name__
        raise ParamsError(f"{path}: found {found}, expected a mapping of sections")
    return data


def parse_yaml(text: str) -> Any:
    """Parse YAML with plain values as YAML 1.2 and DVC read them.

    Raises:
        yaml.YAMLError: If it is not YAML, has a key twice, or holds what JSON cannot.

    Example:
        >>> parse_yaml("{rate: 1e-5, language: no, day: 2024-01-31, time: 12:30, on: true}")
        {'rate': 1e-05, 'language': 'no', 'day': '2024-01-31', 'time': '12:30', 'on': True}
    """
    try:
        return yaml.load(text, Loader=_Yaml12Loader)  # noqa: S506  it is a SafeLoader
    except RecursionError as error:
        raise yaml.YAMLError("nested too deeply") from error


def explain_yaml(error: yaml.YAMLError) -> str:
    """Return what is wrong with a YAML text, on one line and with the place.

    Example:
        >>> try:
        ...     parse_yaml("{a: 1, a: 2}")
        ... except yaml.YAMLError as error:
        ...     explain_yaml(error)
        "line 1, column 8: the key 'a' is there twice"
    """
    problem = getattr(error, "problem", None) or " ".join(str(error).split())
    mark = getattr(error, "problem_mark", None)
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else problem


# What JSON has too; params are kept and checked as JSON.
_KINDS = ("null", "bool", "int", "float", "str", "seq", "map")


class _Yaml12Loader(yaml.SafeLoader):
    """A safe loader whose plain values follow YAML 1.2's core schema.

    PyYAML alone reads 1e-5 as a string, no and on as booleans, and 2024-01-31 as a date. Of a key
    that is there twice it takes the last value without a word. Tags make nothing that JSON lacks.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012  as PyYAML has it
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag.rpartition(":")[2] not in ("bool", "float", "int", "timestamp")
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    yaml_constructors = {  # noqa: RUF012  as PyYAML has it
        tag: make
        for tag, make in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in _KINDS
    }

    def construct_document(self, node: yaml.Node) -> Any:
        """Return the content; a list or mapping that contains itself is an error."""
        self.deep_construct = True
        return super().construct_document(node)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return a value; one that its tag does not allow is an error with its place."""
        try:
            return super().construct_object(node, deep)
        except (KeyError, ValueError) as error:
            kind = node.tag.rpartition(":")[2]
            problem = f"{reprlib.repr(node.value)} cannot be read as {kind}"
            raise ConstructorError(None, None, problem, node.start_mark) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping; a key that is there twice is an error."""
        found = set()
        # What `<<` brings in is not there yet, and may be replaced.
        for key, _ in node.value:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
            if name in found:
                problem = f"the key {key.value!r} is there twice"
                raise ConstructorError(None, None, problem, key.start_mark)
            if name:
                found.add(name)
        return super().construct_mapping(node, deep)

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
