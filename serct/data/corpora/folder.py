"""Your own recordings: folders named after emotions, or a table.

Either ``[train|validation|test/]<emotion>/[<speaker>/...]<file>``, or a CSV in the folder with the
columns path and emotion and, if known, speaker, gender (f or m) and text. With a table, the corpus
has only the files in it.
"""

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Literal

from pydantic import Field

from serct.data.audio import SUFFIXES, UNREAD_SUFFIXES
from serct.data.download import Progress
from serct.data.manifest import SPLITS, Rejection, Scan, Utterance
from serct.data.reading.corpus import Corpus, CorpusParams
from serct.data.reading.sources import Sources
from serct.data.reading.tree import is_recording, list_files, place, refuse_links
from serct.emotions import EMOTIONS, canonical_emotion
from serct.errors import CorpusError, list_problems

_GENDERS = {"": "", "f": "f", "female": "f", "m": "m", "male": "m"}


class FolderParams(CorpusParams):
    """Your own recordings."""

    reader: Literal["folder"]
    path: str
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]
    table: str | None = None


class Folder(Corpus):
    """Your own recordings, any number of them and without checksums."""

    params: FolderParams
    title = "Recordings of your own"
    licence = "yours to know"

    def obtain(self, destination: Path, sources: Sources, progress: Progress) -> str:
        """Copy the recordings, so that later changes to the originals do not reach the corpus.

        Raises:
            CorpusError: If the folder or table does not exist, or links lead out of the folder.
        """
        source = Path(self.params.path).expanduser()
        if not source.is_dir():
            raise CorpusError(f"corpora.{self.name}.path is {self.params.path!r}: no such folder")
        refuse_links(source)
        if self.params.table is None:
            paths = list_files(source, is_recording)
        else:
            table = _inside(self.params.table, "table")
            listed = [PurePosixPath(row["path"]) for row in _read_table(source, str(table))]
            paths = [table, *(path for path in listed if (source / path).is_file())]
        with progress(len(paths), f"copying {self.name}", "files") as advance:
            place(source, destination, paths, advance, link=False)
        return str(source)

    def scan(self, root: Path) -> Scan:
        """Read the labels from the folders or the table.

        Raises:
            CorpusError: If the table is missing or malformed.
        """
        if self.params.table is None:
            found = [_by_folder(path) for path in list_files(root, is_recording)]
        else:
            found = [_by_row(root, row) for row in _read_table(root, self.params.table)]
        utterances = [each for each in found if isinstance(each, Utterance)]
        if not any(utterance.split == "test" for utterance in utterances):
            # A corpus without a test part is not divided yet: the split stage divides all of it.
            utterances = [replace(utterance, split="") for utterance in utterances]
        utterances.sort(key=lambda utterance: utterance.path)
        return Scan(tuple(utterances), tuple(r for r in found if isinstance(r, Rejection)))


def _by_folder(path: PurePosixPath) -> Utterance | Rejection:
    folders = path.parts[:-1]
    split = next((split for split in SPLITS if folders and folders[0].lower() == split), "")
    if split:
        folders = folders[1:]
    if not folders:
        return Rejection(
            str(path),
            f"is in no folder named after an emotion, expected one of {', '.join(EMOTIONS)}",
        )
    utterance = _utterance(path, folders[0], speaker=folders[1] if len(folders) > 1 else "")
    return replace(utterance, split=split) if isinstance(utterance, Utterance) else utterance


def _by_row(root: Path, row: dict[str, str]) -> Utterance | Rejection:
    path = PurePosixPath(row["path"])
    if not (root / path).is_file():
        return Rejection(str(path), "listed in the table, but there is no such file")
    gender = row.get("gender", "").lower()
    if gender not in _GENDERS:
        return Rejection(str(path), f"gender is {gender!r}, expected f, m or nothing")
    return _utterance(
        path, row["emotion"], row.get("speaker", ""), _GENDERS[gender], row.get("text", "")
    )


def _utterance(
    path: PurePosixPath, emotion: str, speaker: str = "", gender: str = "", text_id: str = ""
) -> Utterance | Rejection:
    if path.suffix.lower() in UNREAD_SUFFIXES or path.suffix.lower() not in SUFFIXES:
        return Rejection(
            str(path),
            f"{path.suffix or 'no suffix'}: a format that is not read, convert it to one of "
            f"{', '.join(SUFFIXES)}",
        )
    try:
        name = canonical_emotion(emotion)
    except CorpusError as error:
        return Rejection(str(path), str(error))
    return Utterance(path=str(path), speaker=speaker, gender=gender, text_id=text_id, emotion=name)


def _read_table(root: Path, table: str) -> list[dict[str, str]]:
    """Read the table's rows, without blanks around the values.

    Raises:
        CorpusError: If it is missing, not UTF-8, lacks a column or a value, lists a path twice or
            one outside the folder.
    """
    path = root / _inside(table, "table")
    try:
        # Excel begins its UTF-8 files with a byte order mark.
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            found = [name.strip() for name in reader.fieldnames or ()]
            rows = [
                {name.strip(): (value or "").strip() for name, value in row.items() if name}
                for row in reader
            ]
    except FileNotFoundError as error:
        raise CorpusError(f"{path}: no such table") from error
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not UTF-8 ({error})") from error
    missing = {"path", "emotion"} - set(found)
    if missing:
        raise CorpusError(
            f"{path}: no column {' or '.join(sorted(missing))}, found {', '.join(found)}; expected "
            "path, emotion and, if known, speaker, gender, text"
        )
    problems = []
    for number, row in enumerate(rows, start=2):
        try:
            row["path"] = str(_inside(row["path"], f"row {number}"))
        except CorpusError as error:
            problems.append(str(error))
    counts = Counter(row["path"] for row in rows)
    problems += [f"{name} is listed {n} times" for name, n in counts.items() if n > 1]
    if problems:
        raise CorpusError(f"{path}:\n{list_problems(problems)}")
    return rows


def _inside(name: str, where: str) -> PurePosixPath:
    """Return a relative path, written in the notation of Windows or of other systems.

    Raises:
        CorpusError: If it is empty, absolute or leads outside.
    """
    windows = PureWindowsPath(name)
    if not windows.parts or windows.drive or windows.root or ".." in windows.parts:
        raise CorpusError(f"{where}: path {name!r}, expected one inside the corpus' folder")
    return PurePosixPath(windows.as_posix())
