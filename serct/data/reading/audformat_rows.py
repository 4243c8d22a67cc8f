"""What the tables of an audformat database say about each file, or part of a file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serct.data.manifest import Split
from serct.data.reading.audformat_tables import AudformatTables, Segment, open_database
from serct.errors import CorpusError, list_problems

_SPLITS: dict[str | None, Split] = {"train": "train", "dev": "validation", "test": "test"}
_GENDERS = {"f": "f", "female": "f", "m": "m", "male": "m"}
# Types of audformat whose values can be names of emotions.
_WORDS = ("str", "object")


@dataclass(frozen=True)
class Wanted:
    """Where to look: see `serct.data.corpora.audformat.AudformatParams`.

    Attributes:
        tables: Of emotions; None: the one that there is.
        emotion: Column, or the scheme of one column.
        speaker: The same, in any table.
        gender: The same, or a key of the speakers' labels.
        text: The same as ``speaker``.
        splits: By name of a split or table; None: as the header says.
        entry: Where these come from, for messages.
    """

    tables: tuple[str, ...] | None
    emotion: str
    speaker: str
    gender: str
    text: str
    splits: Mapping[str, Split] | None
    entry: str


@dataclass(frozen=True)
class LabelledSegment:
    """A file or a part of one, with what the tables say about it.

    Attributes:
        segment: The file or part.
        words: For its emotion; several that differ if tables contradict each other.
        speaker: "" if unknown.
        gender: "f", "m" or "" if unknown.
        text_id: "" if unknown.
        split: "" if it is in none.
        language: As a column ``language`` has it; "" if none does.
    """

    segment: Segment
    words: tuple[str, ...]
    speaker: str
    gender: str
    text_id: str
    split: str
    language: str


def read_segments(root: Path, wanted: Wanted) -> tuple[list[LabelledSegment], int]:
    """Return all labelled files and parts, and the number of rows without an emotion.

    Raises:
        CorpusError: If the tables are not readable or not found, do not hold names of emotions, or
            put a row into two splits.
        BackendUnavailableError: If the package audformat is not installed.
    """
    with open_database(root) as database:
        split_of = _read_splits(database, wanted)
        words_of = _read_words(database, wanted)
        speaker_of = _read_anywhere(database, wanted.speaker)
        gender_of = _read_anywhere(database, wanted.gender)
        gender_of = _read_anywhere(database, wanted.speaker, wanted.gender) | gender_of
        text_of = _read_anywhere(database, wanted.text)
        language_of = _read_anywhere(database, "language")
    found = [
        LabelledSegment(
            segment=segment, words=tuple(words), speaker=_find(segment, speaker_of),
            gender=_GENDERS.get(_find(segment, gender_of).lower(), ""),
            text_id=_find(segment, text_of), split=_find(segment, split_of),
            language=_find(segment, language_of),
        )
        for segment, words in words_of.items()
        if words
    ]  # fmt: skip
    return found, len(words_of) - len(found)


def _read_words(database: AudformatTables, wanted: Wanted) -> dict[Segment, list[str]]:
    """Return the words for the emotion of each row: one, none, or several that differ."""
    found: dict[Segment, list[str]] = {}
    for table in _choose_tables(database, wanted):
        columns = database.columns(table, wanted.emotion)
        if len(columns) != 1:
            raise CorpusError(
                f"{database.root}: table {table} has {', '.join(columns) or 'no column'} for "
                f"{wanted.emotion}, expected one; set {wanted.entry}.emotion"
            )
        dtype = database.dtype(table, columns[0])
        if dtype not in _WORDS:
            raise CorpusError(
                f"{database.root}: column {columns[0]} of table {table} has the type {dtype}, "
                "expected names of emotions (str): models here predict classes, not dimensions "
                "such as arousal and valence"
            )
        for segment, word in database.values(table, columns[0]).items():
            words = found.setdefault(segment, [])
            if word is not None and str(word) not in words:
                words.append(str(word))
    return found


def _choose_tables(database: AudformatTables, wanted: Wanted) -> list[str]:
    """Return the tables of emotions: those that are named, else the one that has the column.

    A table of all is chosen before its splits; splits alone are taken together.
    """
    names = database.names
    if wanted.tables is not None:
        if unknown := [name for name in wanted.tables if name not in names]:
            raise CorpusError(
                f"{database.root}: no table {', '.join(unknown)}, expected one of: "
                f"{', '.join(names)}"
            )
        return list(wanted.tables)
    having = [name for name in names if database.columns(name, wanted.emotion)]
    is_split = {
        name: database.split(name)[0] or _split_of(database, name, wanted) for name in having
    }
    whole = [name for name in having if not is_split[name]]
    if len(whole) > 1 or not having:
        raise CorpusError(
            f"{database.root}: tables with {wanted.emotion}: {', '.join(whole) or 'none'}, "
            f"expected one; set {wanted.entry}.table or emotion. All tables: {', '.join(names)}"
        )
    return whole or having


def _split_of(database: AudformatTables, table: str, wanted: Wanted) -> Split | None:
    name, kind = database.split(table)
    if wanted.splits is None:
        return _SPLITS.get(kind)
    return wanted.splits.get(table) or wanted.splits.get(name or "")


def _read_splits(database: AudformatTables, wanted: Wanted) -> dict[Segment, Split]:
    """Return the split of each row that is in one."""
    known = {*database.names, *(database.split(table)[0] or "" for table in database.names)}
    if unknown := sorted(set(wanted.splits or ()) - known):
        raise CorpusError(
            f"{database.root}: {wanted.entry}.splits names {', '.join(unknown)}, expected splits "
            f"or tables: {', '.join(sorted(known - {''}))}"
        )
    found: dict[Segment, Split] = {}
    problems = []
    for table in database.names:
        split = _split_of(database, table, wanted)
        for segment in database.segments(table) if split else ():
            if split and found.setdefault(segment, split) != split:
                problems.append(f"{segment}: in {found[segment]} and in {split} ({table})")
    if problems:
        raise CorpusError(
            f"{database.root}: the splits overlap; say in {wanted.entry}.splits which count, or "
            f"{{}} for none:\n{list_problems(problems, limit=20)}"
        )
    return found


def _read_anywhere(
    database: AudformatTables, meaning: str, key: str | None = None
) -> dict[Segment, Any]:
    """Return what all tables say in a column, or what a key of that column's labels says."""
    found: dict[Segment, Any] = {}
    for table in database.names:
        for column in database.columns(table, meaning):
            if key is None or database.describes(table, column, key):
                values = database.values(table, column, key)
                found |= {each: value for each, value in values.items() if value is not None}
    return found


def _find(segment: Segment, values: Mapping[Segment, Any]) -> str:
    """Return what is said of a part, else of its file, as text; "" for nothing."""
    value = values.get(segment, values.get(segment.whole_file))
    return "" if value is None else str(value).strip()
