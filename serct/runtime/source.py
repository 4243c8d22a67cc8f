"""The code that computes something, found by its imports, and digests that comments do not change.

What was computed is kept as long as they stay the same. Imports are read, not executed: those
inside functions count too. What a program finds by a name from params.yaml, such as a corpus'
reader, is no import; `serct.experiments.recipes.stages` adds it.
"""

import ast
import hashlib
import io
import tokenize
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("serct", "pipeline")
# What a corpus' file says about the corpus and no stage computes with.
_DESCRIPTIONS = {"title", "licence", "citation", "homepage", "how_to_get"}


def code_digests(roots: Iterable[str], spared: Collection[str]) -> dict[str, str]:
    """Return the digest of every module that the given ones import, by the module's name.

    Modules without any statement, such as a package's docstring, are left out.

    Args:
        roots: Modules to begin with, included.
        spared: Modules and packages that do not decide the output. They are left out, and so is
            what they alone import.
    """
    modules = sorted(find_imported(roots, spared))
    return {name: digest for name in modules if (digest := source_digest(name))}


def find_imported(roots: Iterable[str], spared: Collection[str]) -> set[str]:
    """Return the modules that the given ones import, directly or not, and themselves.

    Args:
        roots: See `code_digests`.
        spared: See `code_digests`. A module that is named is spared, one that lies in a named
            package too, unless it is a root.
    """
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += [name for name in _imports(module) if not is_within(name, spared)]
    return found


def is_within(module: str, names: Collection[str]) -> bool:
    """Return whether a module is among the named ones or in one of the named packages.

    Example:
        >>> is_within("serct.models.cnn", {"serct.models"}), is_within("serct.models", {"serct.m"})
        (True, False)
    """
    parts = module.split(".")
    return any(".".join(parts[:length]) in names for length in range(1, len(parts) + 1))


@cache
def source_digest(module: str) -> str:
    """Return the SHA-256 of a module's statements, in hex; "" if it has none."""
    statements = plain_source(_file(module).read_bytes())
    return hashlib.sha256(statements.encode()).hexdigest() if statements else ""


def file_of_module(module: str) -> Path | None:
    """Return the file of a module of this project, None if there is none."""
    path = _ROOT.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if module.split(".")[0] in _PACKAGES and candidate.is_file():
            return candidate
    return None


def plain_source(source: bytes) -> str:
    r"""Return a program without comments, docstrings, empty lines and a corpus' descriptions.

    Example:
        >>> plain_source(b'def f():\n    "Add."\n\n    return 1 + 1  # two\n')
        'def f():\n    return 1 + 1'
    """
    lines = source.splitlines(keepends=True)
    for (first, begin), (last, end) in sorted(_without_effect(source), reverse=True):
        rest = lines[last - 1][end:]
        lines[first - 1 : last] = [lines[first - 1][:begin] + rest]
    kept = (line.decode("utf-8").rstrip() for line in lines)
    return "\n".join(line for line in kept if line.strip())


_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_Span = tuple[tuple[int, int], tuple[int, int]]


def _without_effect(source: bytes) -> Iterator[_Span]:
    """Yield what to leave out: first line, counted from 1, and its byte; last line, and its."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node) is not None:
            yield _span(node.body[0])
        if isinstance(node, ast.ClassDef):
            yield from (_span(each) for each in node.body if _is_description(each))
    lines = source.splitlines()
    for token in tokenize.tokenize(io.BytesIO(source).readline):
        if token.type == tokenize.COMMENT:
            line = token.start[0]
            begin = len(lines[line - 1].decode("utf-8")[: token.start[1]].encode())
            yield (line, begin), (line, begin + len(token.string.encode()))


def _is_description(node: ast.stmt) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else []
    return any(isinstance(each, ast.Name) and each.id in _DESCRIPTIONS for each in targets)


def _span(node: ast.stmt) -> _Span:
    assert node.end_lineno is not None  # noqa: S101  always there after parsing
    assert node.end_col_offset is not None  # noqa: S101
    return (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)


@cache
def _imports(module: str) -> frozenset[str]:
    """Return the modules of this project that a module imports anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(_file(module).read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module:
            # The second is a module, or a name in the first one.
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    # `serct` alone holds the version, and loads its parts when they are asked for.
    return frozenset(name for name in names if "." in name and file_of_module(name))


def _file(module: str) -> Path:
    found = file_of_module(module)
    if found is None:
        spec = find_spec(module)  # a model of somebody else
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"{module}: no such module")
        found = Path(spec.origin)
    return found
