"""What the copy of a corpus lacks, and why, noted beside it for its reader to report."""

from collections.abc import Iterable
from pathlib import Path

from serct.config.files import as_csv, read_rows
from serct.data.manifest import Rejection
from serct.errors import CorpusError
from serct.runtime import atomic

# Hidden, so that it is no file of the corpus itself.
_NAME = ".left_out.csv"


def note_left_out(root: Path, rejections: Iterable[Rejection]) -> None:
    """Write down what is left out, if anything is."""
    rows = [{"path": each.path, "reason": each.reason} for each in rejections]
    if rows:
        atomic.write_text(root / _NAME, as_csv(rows))


def read_left_out(root: Path) -> list[Rejection]:
    """Return what was left out.

    Raises:
        CorpusError: If the note is not readable.
    """
    if not (root / _NAME).exists():
        return []
    rows = read_rows(root / _NAME, ("path", "reason"), error=CorpusError)
    return [Rejection(row["path"], row["reason"]) for row in rows]
