"""A table of parts: a CSV file with the columns path, split and, for several folds, fold."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from serct.config.files import read_table
from serct.config.spelling import fold
from serct.config.tables import DELIMITERS
from serct.data.official.listing import Division, Listed
from serct.data.reading.labels import name_part
from serct.errors import ManifestError, list_problems


def read_divisions(path: Path) -> list[Division]:
    """Read the folds of a table, or its one division.

    With the column split, each row puts a path into a part: of all folds, or of the one that its
    column fold names. Without it, the column fold names the fold that tests the path; all others
    train on it.

    Returns:
        One division a fold, by number where all names are numbers.

    Raises:
        ManifestError: If the file is missing or no table, lacks a column or a value, or naming
            each row with an unknown part.
    """
    table = read_table(
        path, error=ManifestError, needed=("path",), delimiters=DELIMITERS, spell=fold
    )
    if not {"split", "fold"} & set(table.columns):
        raise ManifestError(
            f"{path}: no column split or fold, found {', '.join(table.columns)}; split says train, "
            "validation or test, fold in which fold a path is tested"
        )
    problems: list[str] = []
    rows: list[tuple[str, str, PurePosixPath]] = []
    for number, row in zip(table.numbers, table.rows, strict=True):
        listed = PurePosixPath(PureWindowsPath(row["path"].strip()).as_posix())
        part, name = row.get("split", "test").strip(), row.get("fold", "").strip()
        if not listed.name:
            problems.append(f"row {number}: no path")
        elif name_part(part) is None:
            problems.append(f"row {number}: split is {part!r}, expected train, validation or test")
        elif "fold" in row and not name:
            problems.append(f"row {number}: no fold")
        else:
            rows.append((name, part, listed))
    if problems or not rows:
        raise ManifestError(f"{path}: {list_problems(problems) if problems else 'no rows'}")
    return [
        Division(f"{path}, fold {name}" if name else str(path), tuple(listed))
        for name, listed in _by_fold(rows, has_split="split" in table.columns).items()
    ]


def _by_fold(
    rows: Sequence[tuple[str, str, PurePosixPath]], has_split: bool
) -> dict[str, list[Listed]]:
    names = sorted({name for name, _, _ in rows}, key=_order)
    folds: dict[str, list[Listed]] = defaultdict(list)
    for name, part, path in rows:
        for each in [name] if has_split else names:
            split = name_part(part if each == name else "train")
            if split is not None:
                folds[each].append(Listed(path, split))
    return {name: folds[name] for name in names}


def _order(name: str) -> tuple[bool, int, str]:
    return (False, int(name), "") if name.isdecimal() else (True, 0, name)
