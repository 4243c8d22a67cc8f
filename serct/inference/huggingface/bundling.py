"""The source of what a program needs of this project, as files of one flat folder.

Of each module only what is used is taken, found by its names: so the files need nothing else of
this project, and none of the packages that the rest of it needs. Imports are read, not executed;
those of the project become relative ones. Annotations of functions are no use of a name.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from serct import __version__
from serct.runtime.source import file_of_module

_PROJECT = "serct"
_LARGE = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_DEFINITIONS = (*_LARGE, ast.Assign, ast.AnnAssign)
# The module, and the name in it; None for the module itself.
Origin = tuple[str, str | None]


@dataclass
class _Module:
    """One module, and what is used of it.

    Attributes:
        name: Its name.
        lines: Its source.
        tree: The same, parsed.
        definitions: The statements that define each name.
        imports: What each imported name stands for.
        kept: Statements that are used.
        used: Names that these use.
    """

    name: str
    lines: list[str]
    tree: ast.Module
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, Origin] = field(default_factory=dict)
    kept: set[ast.stmt] = field(default_factory=set)
    used: set[str] = field(default_factory=set)


def bundle(module: str, replaced: Mapping[str, Origin]) -> dict[str, str]:
    """Return the source of a module and of all that it needs, by the names of files.

    Args:
        module: Its file keeps its name, and all of its statements.
        replaced: For names that the module imports, what they shall stand for instead.

    Raises:
        ModuleNotFoundError: If a module of this project that is needed is not there.
    """
    root = _read(module)
    root.imports |= replaced
    modules = {module: root}
    waiting = [pair for stmt in root.tree.body for pair in _keep(root, stmt)]
    done: set[tuple[str, str]] = set()
    while waiting:
        pair = waiting.pop()
        if pair in done:
            continue
        done.add(pair)
        owner, name = pair
        if owner not in modules:
            modules[owner] = _read(owner)
            statements = filter(_has_effect, modules[owner].tree.body)
            waiting += [pair for stmt in statements for pair in _keep(modules[owner], stmt)]
        waiting += _needs(modules[owner], name)
    return {_file_name(each, module): _write(each) for each in modules.values()}


def _read(name: str) -> _Module:
    path = file_of_module(name)
    if path is None:
        raise ModuleNotFoundError(f"{name}: no such module in this project")
    source = path.read_text("utf-8")
    found = _Module(name, source.splitlines(), ast.parse(source))
    for stmt in found.tree.body:
        if isinstance(stmt, ast.Import | ast.ImportFrom):
            found.imports |= _imported(stmt)
        elif isinstance(stmt, _DEFINITIONS) or _has_effect(stmt):
            for each in _bound(stmt):
                found.definitions.setdefault(each, []).append(stmt)
    return found


def _needs(module: _Module, name: str) -> Iterator[tuple[str, str]]:
    """Yield the names of modules that a name of a module needs, and keep its definition."""
    if name in module.definitions:
        for stmt in module.definitions[name]:
            yield from _keep(module, stmt)
    elif name in module.imports:
        yield from _from_project(module, name, module.imports[name])


def _keep(module: _Module, stmt: ast.stmt) -> Iterator[tuple[str, str]]:
    """Keep a statement, unless it does nothing; yields the names of modules that it uses."""
    if not isinstance(stmt, _DEFINITIONS) and not _has_effect(stmt):
        return
    module.kept.add(stmt)
    for name in set(_used(stmt)):
        module.used.add(name)
        yield module.name, name
    for node in ast.walk(stmt):
        if isinstance(node, ast.ImportFrom):
            for local, origin in _imported(node).items():
                yield from _from_project(module, local, origin)


def _from_project(module: _Module, local: str, origin: Origin) -> Iterator[tuple[str, str]]:
    """Yield what an import takes from a module of this project: of a whole one, what is read."""
    owner, name = origin
    if not _is_own(owner):
        return
    if name is not None:
        yield owner, name
        return
    for node in ast.walk(module.tree):
        match node:
            case ast.Attribute(value=ast.Name(id=read), attr=attribute) if read == local:
                yield owner, attribute


def _has_effect(stmt: ast.stmt) -> bool:
    """Whether a statement does something besides defining, documenting or importing."""
    if isinstance(stmt, ast.If) and ast.unparse(stmt.test) == "TYPE_CHECKING":
        return False
    is_string = isinstance(stmt, ast.Expr) and isinstance(stmt.value, ast.Constant)
    return not is_string and not isinstance(stmt, (*_DEFINITIONS, ast.Import, ast.ImportFrom))


def _bound(stmt: ast.stmt) -> set[str]:
    if isinstance(stmt, _LARGE):
        return {stmt.name}
    return {
        node.id
        for node in ast.walk(stmt)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def _imported(stmt: ast.Import | ast.ImportFrom) -> dict[str, Origin]:
    """Return what the names stand for that a statement imports."""
    if isinstance(stmt, ast.Import):
        return {each.asname or each.name.split(".")[0]: (each.name, None) for each in stmt.names}
    found: dict[str, Origin] = {}
    for each in stmt.names:
        path = f"{stmt.module}.{each.name}"
        is_module = _is_own(path) and file_of_module(path) is not None
        origin = (path, None) if is_module else (str(stmt.module), each.name)
        found[each.asname or each.name] = origin
    return found


def _used(node: ast.AST, *, in_class: bool = False) -> Iterator[str]:
    """Yield the names that a statement reads when it runs.

    Annotations count in classes only, whose fields pydantic reads.
    """
    if isinstance(node, ast.Name):
        if isinstance(node.ctx, ast.Load):
            yield node.id
        return
    left_out: tuple[ast.AST | None, ...] = ()
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        left_out = (node.returns,)
    elif isinstance(node, ast.arg) or (isinstance(node, ast.AnnAssign) and not in_class):
        left_out = (node.annotation,)
    elif isinstance(node, ast.AnnAssign):
        for each in ast.walk(node.annotation):
            if isinstance(each, ast.Constant) and isinstance(each.value, str):
                # A type in quotes, or a value of `Literal`, which is no name of anything.
                yield each.value
    for child in ast.iter_child_nodes(node):
        if child not in left_out:
            yield from _used(child, in_class=isinstance(node, ast.ClassDef))


def _write(module: _Module) -> str:
    """Return the source of what is used of a module."""
    tree = module.tree
    text = (
        "# SPDX-License-Identifier: Apache-2.0\n"
        f"# From {module.name} of SERCT {__version__}, without what this model does not use."
    )
    if ast.get_docstring(tree) is not None:
        text += "\n\n" + "\n".join(_source(module, tree.body[0]))
    text += "\n\nfrom __future__ import annotations"
    wanted = {local: origin for local, origin in module.imports.items() if local in module.used}
    for outside in (True, False):
        if lines := _import_lines(wanted, outside=outside):
            text += "\n\n" + "\n".join(lines)
    before: ast.stmt | None = None
    for stmt in (each for each in tree.body if each in module.kept):
        is_large = any(isinstance(each, _LARGE) for each in (before, stmt))
        is_next = before is not None and not is_large
        text += "\n" * (1 if is_next else 3) + "\n".join(_source(module, stmt))
        before = stmt
    return text + "\n"


def _source(module: _Module, stmt: ast.stmt) -> list[str]:
    """Return a statement's lines, with the comment above, and imports of the project relative."""
    decorators = getattr(stmt, "decorator_list", [])
    first = min(each.lineno for each in (stmt, *decorators)) - 1
    lines = {number: module.lines[number] for number in range(first, stmt.end_lineno or 0)}
    for node in ast.walk(stmt):
        if isinstance(node, ast.ImportFrom) and _is_own(str(node.module)):
            for number in range(node.lineno - 1, node.end_lineno or 0):
                del lines[number]
            new = _import_lines(_imported(node), outside=False)
            lines[node.lineno - 1] = "\n".join(" " * node.col_offset + each for each in new)
    while first and module.lines[first - 1].startswith("#"):
        first -= 1
        lines[first] = module.lines[first]
    return [lines[number] for number in sorted(lines)]


def _import_lines(imports: Mapping[str, Origin], *, outside: bool) -> list[str]:
    """Return import statements: of other packages, or of this project, as relative ones."""
    by_module: dict[str, list[tuple[str, str]]] = {}
    lines = []
    for local, (owner, name) in sorted(imports.items(), key=lambda item: (item[1][0], item[0])):
        if _is_own(owner) == outside:
            continue
        if name is not None:
            by_module.setdefault(owner, []).append((name, local))
        elif not outside:
            # transformers copies the files that lines like the first name, and no others.
            lines.append(f"from .{_flat(owner)} import __name__ as _")
            lines.append(f"from . import {_flat(owner)} as {local}")
        else:
            lines.append(
                f"import {owner}" + (f" as {local}" if local != owner.split(".")[0] else "")
            )
    for owner, names in by_module.items():
        parts = ", ".join(name if name == local else f"{name} as {local}" for name, local in names)
        lines.append(f"from {owner if outside else '.' + _flat(owner)} import {parts}")
    return lines


def _is_own(module: str) -> bool:
    """Whether a module is one of this project."""
    return module.split(".")[0] == _PROJECT


def _flat(module: str) -> str:
    return module.replace(".", "_")


def _file_name(module: _Module, root: str) -> str:
    name = module.name.rpartition(".")[2] if module.name == root else _flat(module.name)
    return f"{name}.py"
