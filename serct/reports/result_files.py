"""Reading the files that a report shows, with errors that name the stage that writes them."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from serct.errors import ReportError
from serct.evaluation.records import Confusion


def read_confusion(path: Path, written_by: str) -> Confusion:
    """Read a confusion matrix.

    Raises:
        ReportError: If it is missing or something else.
    """
    try:
        return Confusion.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ReportError(f"{path}: no such file; {written_by}") from error
    except (ValidationError, ValueError) as error:
        raise ReportError(f"{path}: not a confusion matrix: {error}; {written_by}") from error


def read_table(path: Path, needed: Sequence[str], written_by: str) -> tuple[Mapping[str, str], ...]:
    """Read a CSV file with a header.

    Args:
        path: The file.
        needed: Columns that it must have.
        written_by: Says which stage writes the file, for the error.

    Raises:
        ReportError: If it is missing, empty, or lacks a column.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows = tuple(reader)
            columns = tuple(reader.fieldnames or ())
    except FileNotFoundError as error:
        raise ReportError(f"{path}: no such file; {written_by}") from error
    if lacking := [column for column in needed if column not in columns]:
        raise ReportError(f"{path}: no column {', '.join(lacking)}; {written_by}")
    if not rows:
        raise ReportError(f"{path}: no rows; {written_by}")
    return rows
