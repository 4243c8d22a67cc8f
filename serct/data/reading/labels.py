"""The table of labels in a folder of recordings: each row checked, each file found."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from serct.config.files import read_table
from serct.config.spelling import fold
from serct.config.tables import DELIMITERS
from serct.data.manifest import Split
from serct.data.reading.listing import Entry, is_shown
from serct.emotions import EMOTIONS, is_number
from serct.errors import CorpusError, list_problems

# What others call the parts.
_PARTS: dict[str, Split] = {
    "train": "train", "training": "train", "validation": "validation", "valid": "validation",
    "val": "validation", "dev": "validation", "devel": "validation", "development": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
COLUMNS = ("path", "emotion", "speaker", "gender", "text", "split")


@dataclass(frozen=True)
class LabelRow:
    """A row of the table.

    Attributes:
        where: The table and the row's number.
        path: As listed.
        file: As the file on disk spells it; None if there is none.
        problem: Why there is none.
        values: By column, whose names are folded.
    """

    where: str
    path: PurePosixPath
    file: PurePosixPath | None
    problem: str
    values: dict[str, str]


def read_labels(
    root: Path, table: str, entries: Iterable[Entry]
) -> tuple[PurePosixPath, list[LabelRow]]:
    """Read the table strictly, without blanks around the values, columns in any spelling.

    Returns:
        The table's path in the folder, and its rows.

    Raises:
        CorpusError: If it is missing, no CSV table or not UTF-8, lacks a column or a value, has
            numbers for emotions, or lists a path twice or one outside the folder.
    """
    by_name: dict[str, list[PurePosixPath]] = defaultdict(list)
    unusable = {entry.path: entry.problem for entry in entries}
    for each in unusable:
        by_name[fold(str(each))].append(each)
    file, problem = _find(root, _inside(table, "table"), by_name)
    if file is None or (problem := unusable[file]):
        raise CorpusError(f"{root / table}: no such table ({problem})")
    path = root / file
    found = read_table(
        path, error=CorpusError, needed=COLUMNS[:2], delimiters=DELIMITERS, spell=fold
    )
    words = [row["emotion"] for row in found.rows]
    if words and all(map(is_number, words)):
        raise CorpusError(
            f"{path}: the column emotion has numbers alone, {words[0].strip()} in row "
            f"{found.numbers[0]}: dimensions such as valence and arousal are not read, expected "
            f"words such as {', '.join(EMOTIONS[:4])}"
        )
    rows, problems = [], []
    numbers: dict[PurePosixPath, list[int]] = defaultdict(list)
    for number, values in zip(found.numbers, found.rows, strict=True):
        values = {name: value.strip() for name, value in values.items()}
        try:
            listed = _inside(values["path"], f"row {number}")
        except CorpusError as error:
            problems.append(str(error))
            continue
        match, problem = _find(root, listed, by_name)
        problem = f"listed in the table, but {problem}" if problem else ""
        numbers[match or listed].append(number)
        rows.append(LabelRow(f"{file} row {number}", listed, match, problem, values))
    problems += [
        f"{name} is listed {len(found)} times, in rows {', '.join(map(str, found))}"
        for name, found in numbers.items()
        if len(found) > 1
    ]
    if problems:
        raise CorpusError(f"{path}:\n{list_problems(problems)}")
    return file, rows


def _find(
    root: Path, path: PurePosixPath, by_name: dict[str, list[PurePosixPath]]
) -> tuple[PurePosixPath | None, str]:
    """Return the file that a path means: the one of exactly this name, else the one like it.

    Returns:
        The file's own path, or None and why there is none.
    """
    alike = by_name.get(fold(str(path)), [])
    if path in alike or len(alike) == 1:
        return (path if path in alike else alike[0]), ""
    if alike:
        return None, f"several files are named like it: {', '.join(map(str, alike))}"
    if not is_shown(path):
        return None, "it is hidden, and hidden files are no part of a corpus"
    return None, "it is a folder" if (root / path).is_dir() else "there is no such file"


def _inside(name: str, where: str) -> PurePosixPath:
    """Return a relative path, written in the notation of Windows or of other systems.

    Raises:
        CorpusError: If it is empty, absolute or leads outside.
    """
    windows = PureWindowsPath(name)
    if not windows.parts or windows.drive or windows.root or ".." in windows.parts:
        raise CorpusError(
            f"{where}: path {name!r}, expected one inside the corpus' folder, relative to it"
        )
    return PurePosixPath(windows.as_posix())


def name_part(word: str) -> Split | None:
    """Return the part that a word means, None if it means none.

    Example:
        >>> name_part("Dev"), name_part("held out")
        ('validation', None)
    """
    return _PARTS.get(fold(word))
