"""Text and tables on disk, with errors that name the file."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from serct.config.tables import Table, TableError, decode_table, parse_table
from serct.errors import RecordError, SerctError

_TO_QUOTE = re.compile(r'[,"\r\n]')


def read_text(path: Path, hint: str, error: type[SerctError]) -> str:
    """Read a text file; ``hint`` and ``error`` as in `read_rows`.

    Raises:
        SerctError: If it is missing or not readable.
    """
    try:
        return path.read_bytes().decode()
    except FileNotFoundError as problem:
        raise error(f"{path}: no such file{more(hint)}") from problem
    except (OSError, UnicodeDecodeError) as problem:
        raise error(f"{path}: not readable: {problem}{more(hint)}") from problem


def more(hint: str) -> str:
    """Return what a hint adds to an error."""
    return f"; {hint}" if hint else ""


def read_table(
    path: Path, hint: str = "", error: type[SerctError] = RecordError, **how: Any
) -> Table:
    """Read a CSV file strictly; ``how`` as `serct.config.tables.parse_table` takes it.

    Raises:
        SerctError: If it is missing or not readable, or naming the line that is no row of a table.
    """
    try:
        return parse_table(decode_table(path.read_bytes()), **how)
    except FileNotFoundError as problem:
        raise error(f"{path}: no such file{more(hint)}") from problem
    except OSError as problem:
        raise error(f"{path}: not readable: {problem}{more(hint)}") from problem
    except TableError as problem:
        raise error(f"{path}: {problem}{more(hint)}") from problem


def read_rows(
    path: Path, needed: Sequence[str], hint: str = "", error: type[SerctError] = RecordError
) -> list[dict[str, str]]:
    """Read the rows of a CSV file with a header, strictly.

    Args:
        path: The file.
        needed: Columns that it must have.
        hint: What errors add, e.g. which stage writes the file.
        error: What to raise.

    Raises:
        SerctError: If it is missing, not readable, no table, empty, or lacks a column.
    """
    rows = read_table(path, hint, error, needed=needed).rows
    if not rows:
        raise error(f"{path}: no rows{more(hint)}")
    return rows


def as_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """Return rows as CSV with a header.

    Args:
        rows: By column; a column that only some rows have is empty in the others.
        columns: In the order wanted; None for all, in the order of their first use.
    """
    listed = list(rows)
    found = columns or list(dict.fromkeys(key for row in listed for key in row))
    if unknown := {key for row in listed for key in row} - set(found):
        raise ValueError(f"no column for {', '.join(sorted(unknown))}")
    lines = [found, *([row.get(column, "") for column in found] for row in listed)]
    # A line of one empty field would be an empty line, which is no row.
    texts = (",".join(map(_as_field, line)) or '""' * (len(found) == 1) for line in lines)
    return "".join(f"{text}\n" for text in texts)


def _as_field(value: Any) -> str:
    # The csv module writes a lone carriage return as it is, which ends a line for other programs.
    text = "" if value is None else str(value)
    return '"{}"'.format(text.replace('"', '""')) if _TO_QUOTE.search(text) else text
