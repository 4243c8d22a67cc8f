"""What commands print: tables that fit a terminal, or JSON."""

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer

AsJson = Annotated[
    bool, typer.Option("--json", help="Print JSON on stdout, and everything else on stderr.")
]
_FRAME = 3  # columns that a table's lines and spaces take beside each cell, and one more


def print_rows(
    title: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    as_json: bool = False,
    expendable: Sequence[str] = (),
) -> None:
    """Print rows of equal keys as a table, or as a JSON list."""
    if as_json:
        print_json(rows)
    else:
        print_table(title, rows, expendable)


def print_json(content: Any) -> None:
    """Print a value as JSON of ASCII characters, which every terminal and pipe can take."""
    typer.echo(json.dumps(content, indent=2, default=str))


@contextmanager
def json_alone(is_wanted: bool) -> Iterator[None]:
    """Send what this process and its children print during the block to stderr.

    Args:
        is_wanted: Whether to; False changes nothing.
    """
    if not is_wanted:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def print_table(
    title: str, rows: Sequence[Mapping[str, Any]], expendable: Sequence[str] = ()
) -> None:
    """Print rows of equal keys as a table whose words are never broken.

    In a terminal that is too narrow, cells are wrapped at spaces, then expendable columns are left
    out, and then each row becomes one line for each value. A pipe or a file gets full width.

    Args:
        title: Printed above.
        rows: The cells, as text or numbers.
        expendable: Columns that a narrow terminal does without, the first one first.
    """
    if not rows:
        typer.echo(f"{title}: none")
        return
    columns = {name: [name, *(str(row[name]) for row in rows)] for name in rows[0]}
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    widths = _column_widths(columns, width, expendable)
    if widths is None:
        typer.echo(f"{title}\n" + "\n\n".join(_as_lines(row) for row in rows))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left")
    for name, column_width in widths.items():
        table.add_column(name, width=column_width)
    for number in range(len(rows)):
        table.add_row(*(Text(columns[name][number + 1]) for name in widths))
    # With a width alone rich takes 80 columns for a terminal of kind "dumb".
    Console(width=max(_total(widths), len(title)), height=1).print(table)
    if left_out := [name for name in columns if name not in widths]:
        note = f"left out, since the terminal is narrow: {', '.join(left_out)}"
        typer.echo(textwrap.fill(note, width or len(note), break_long_words=False))


def _column_widths(
    columns: Mapping[str, Sequence[str]], width: int | None, expendable: Sequence[str]
) -> dict[str, int] | None:
    """Choose columns and their widths for a terminal; None if no choice fits its words."""
    from rich.cells import cell_len

    full = {
        name: max(cell_len(line) for cell in cells for line in cell.splitlines() or [""])
        for name, cells in columns.items()
    }
    if width is None:
        return full
    widths = {
        name: max(cell_len(word) for cell in cells for word in cell.split() or [""])
        for name, cells in columns.items()
    }
    for name in expendable:
        if _total(widths) > width:
            widths.pop(name, None)
    room = width - _total(widths)
    if room < 0:
        return None
    # Those first that need least to stand on one line.
    for name in sorted(widths, key=lambda name: full[name] - widths[name]):
        more = min(full[name] - widths[name], room)
        widths[name] += more
        room -= more
    return widths


def _total(widths: Mapping[str, int]) -> int:
    return sum(widths.values()) + _FRAME * len(widths) + 1


def _as_lines(row: Mapping[str, Any]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in row.items())
