"""The list of modules of each room, with the first line of each docstring."""

import ast
from collections.abc import Iterator
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[2] / "serct"


def markdown() -> str:
    """Return a table of modules for each room, read from the sources without importing them."""
    return "\n".join(_page())


def _page() -> Iterator[str]:
    yield from _room("serct", [path for path in _modules(_PACKAGE) if path.parent == _PACKAGE])
    for room in sorted(path.parent for path in _PACKAGE.glob("*/__init__.py")):
        yield from _room(f"serct/{room.name}", _modules(room))


def _modules(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if path.name != "__init__.py")


def _room(name: str, modules: list[Path]) -> Iterator[str]:
    root = _PACKAGE.parent / name
    yield f"### `{name}/`\n\n{_first_line(root / '__init__.py')}\n"
    if modules:
        yield "| module | what it holds |\n|---|---|"
        for path in modules:
            yield f"| `{path.relative_to(root)}` | {_first_line(path)} |"
        yield ""


def _first_line(path: Path) -> str:
    words = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return words.partition("\n")[0].replace("|", r"\|")
