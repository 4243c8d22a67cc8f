"""The digest of the code that computes something: results are kept as long as it stays the same."""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def source_digest(module: str, package: str) -> str:
    """Compute the SHA-256 of a module's source and of all that it imports from a package.

    What those import counts too, and what functions import. So two results of such a module have
    one digest only if that package computes them alike.

    Args:
        module: Its name; in the package or not.
        package: Its name.
    """
    sources: dict[str, str] = {}
    unread = [module]
    while unread:
        name = unread.pop()
        if name not in sources:
            sources[name] = _source(name)
            unread += _imported(sources[name], package)
    return hashlib.sha256(repr(sorted(sources.items())).encode()).hexdigest()


def _source(module: str) -> str:
    """Read a module; a package without a file of its own is empty."""
    spec = find_spec(module)
    if spec is None or spec.origin is None or not spec.has_location:
        return ""
    return Path(spec.origin).read_text(encoding="utf-8")


def _imported(source: str, package: str) -> Iterator[str]:
    """Yield the modules of a package that a module imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # What is taken from a package may be a module of it.
            names = [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
        else:
            continue
        yield from (name for name in names if name.startswith(f"{package}.") and _is_module(name))


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # a name within a module
        return False
