"""The page of params.yaml: its values and comments, beside the types that check them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import yaml
from pydantic import BaseModel

from serct.config.reader import read_params

_FILE = Path(__file__).resolve().parents[2] / "params.yaml"


class Row(NamedTuple):
    """One key of params.yaml."""

    key: str
    value: str
    kind: str
    meaning: str


def markdown() -> str:
    """Return a section for each section of params.yaml, with a table of its keys."""
    text = _FILE.read_text(encoding="utf-8")
    return "\n".join(_Page(text.splitlines()).sections(yaml.compose(text, yaml.SafeLoader)))


class _Page:
    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.params = read_params(_FILE)

    def sections(self, root: yaml.MappingNode) -> Iterator[str]:
        """Walk over the top level; each entry of ``corpora`` and ``models`` is a section too."""
        single = []
        for key, node in root.value:
            section = getattr(self.params, key.value)
            if not isinstance(node, yaml.MappingNode) or node.flow_style:
                single.append((key, node))
                continue
            yield f"## `{key.value}`\n\n{self._words(key)}\n"
            if isinstance(section, BaseModel):
                yield from _table(self._rows(node, section))
                continue
            # Entries of one line share a table; each of the others has its own.
            yield from _table(
                [
                    Row(
                        f"{key.value}.{name.value}",
                        f"`{_value(entry)}`",
                        f"`{type(section[name.value]).__name__}`",
                        self._words(name),
                    )
                    for name, entry in node.value
                    if entry.flow_style
                ]
            )
            for name, entry in node.value:
                if entry.flow_style:
                    continue
                yield f"### `{key.value}.{name.value}`\n"
                words = self._words(name)
                if words:
                    yield f"{words}\n"
                yield from _table(
                    self._rows(entry, section[name.value], is_whole=not _refers(words))
                )
        yield "## Single keys\n"
        for key, node in single:
            annotation = getattr(type(self.params), key.value).kind
            yield from _table(
                [Row(key.value, f"`{_value(node)}`", _kind(annotation), self._beside(key))]
            )

    def _rows(
        self, node: yaml.Node, section: Any, prefix: str = "", is_whole: bool = True
    ) -> Iterator[Row]:
        """Walk over the keys of a section; if not whole, over those with a comment."""
        if not isinstance(node, yaml.MappingNode):
            return
        for key, inner in node.value:
            name = prefix + key.value
            held, kind = _field(section, key.value)
            nested = isinstance(inner, yaml.MappingNode) and not inner.flow_style
            meaning = self._beside(key)
            if nested:
                if meaning:
                    yield Row(name, "", "", meaning)
                yield from self._rows(inner, held, f"{name}.", is_whole and not _refers(meaning))
            elif is_whole or meaning:
                yield Row(name, f"`{_value(inner)}`", kind, meaning)

    def _words(self, key: yaml.Node) -> str:
        """Return the comments above a key and beside it."""
        return f"{self._above(key)} {self._beside(key)}".strip()

    def _beside(self, key: yaml.Node) -> str:
        """Return the comment on a key's line."""
        found = re.search(r"\s#\s+(.*)$", self.lines[key.start_mark.line])
        return found[1].replace("|", r"\|") if found else ""

    def _above(self, key: yaml.Node) -> str:
        """Return the comment in the lines above a key, at the same depth."""
        words: list[str] = []
        indent = " " * key.start_mark.column
        for line in reversed(self.lines[: key.start_mark.line]):
            if not line.startswith(f"{indent}# "):
                break
            words.insert(0, line.strip().removeprefix("# "))
        return " ".join(words)


def _refers(words: str) -> bool:
    """Say whether a comment refers to another entry for the keys that have none."""
    return "eys without a comment are as in " in words


def _field(section: Any, key: str) -> tuple[Any, str]:
    """Return what a section holds under a key, and the type it must have in words."""
    if isinstance(section, BaseModel):
        field = type(section).model_fields[key]
        bounds = [
            f"{sign} {getattr(each, name):g}"
            for each in field.metadata
            for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
            if getattr(each, name, None) is not None
        ]
        return getattr(section, key), " ".join([_kind(field.annotation), *bounds])
    if isinstance(section, dict):
        return section.get(key), ""
    return None, ""


def _kind(annotation: Any) -> str:
    """Return an annotation in words."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        return _kind(annotation.__origin__)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if annotation is type(None):
        return "null"
    if origin in (tuple, list):
        return f"list of {_kind(inner[0])}"
    if origin is Union or type(annotation).__name__ == "UnionType":
        return " or ".join(_kind(each) for each in inner)
    if origin is dict:
        return "mapping"
    if isinstance(annotation, type):
        names = {"str": "text", "float": "number", "int": "whole number", "bool": "true or false"}
        return names.get(annotation.__name__, annotation.__name__)
    return ""


def _value(node: yaml.Node) -> str:
    """Return a value as in the file, but lists and mappings on one line and null as a word."""
    if isinstance(node, yaml.SequenceNode):
        return f"[{', '.join(map(_value, node.value))}]"
    if isinstance(node, yaml.MappingNode):
        return f"{{{', '.join(f'{key.value}: {_value(inner)}' for key, inner in node.value)}}}"
    return node.start_mark.buffer[node.start_mark.pointer : node.end_mark.pointer] or "null"


def _table(rows: Iterator[Row] | list[Row]) -> Iterator[str]:
    found = list(rows)
    if not found:
        return
    yield "| key | value | type | meaning |\n|---|---|---|---|"
    for row in found:
        yield f"| `{row.key}` | {row.value} | {row.kind} | {row.meaning} |"
    yield ""
