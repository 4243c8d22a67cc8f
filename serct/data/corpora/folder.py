"""Anyone's own recordings: folders named after emotions, or a table.

Either ``[train|validation|test/]<emotion>/[<speaker>/...]<file>``, or a CSV in the folder with the
columns path and emotion and, if known, speaker, gender (f or m) and text. Only files that the table
lists are taken.
"""

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath

from serct.config.corpora import FolderParams
from serct.data.audio import SUFFIXES
from serct.data.corpora.sources import Context
from serct.data.corpora.tree import UNREAD_SUFFIXES, is_recording, list_files, place, refuse_links
from serct.data.corpora.verification import Original
from serct.data.manifest import SPLITS, Clip, Rejection, Scan
from serct.emotions import EMOTIONS, canonical_emotion
from serct.errors import CorpusError, list_problems

TITLE = "Recordings of your own"
LICENCE = "yours to know"
CITATION = ""
HOMEPAGE = ""

_GENDERS = {"": "", "f": "f", "female": "f", "m": "m", "male": "m"}


def language(params: FolderParams) -> str:
    """As given."""
    return params.language


def expected_count(params: FolderParams) -> None:
    """Nobody knows beforehand."""


def originals(params: FolderParams) -> dict[str, Original]:
    """No checksums."""
    return {}


def obtain(destination: Path, params: FolderParams, context: Context) -> str:
    """Copy the recordings, so that later changes at their own place do not reach the corpus.

    Returns:
        Where the files came from.

    Raises:
        CorpusError: If the folder or table does not exist, or links lead out of the folder.
    """
    source = Path(params.path).expanduser()
    if not source.is_dir():
        raise CorpusError(f"corpora.{context.name}.path is {params.path!r}: no such folder")
    refuse_links(source)
    if params.table is None:
        paths = list_files(source, is_recording)
    else:
        table = _inside(params.table, "table")
        listed = [PurePosixPath(row["path"]) for row in _read_table(source, params.table)]
        paths = [table, *(path for path in listed if (source / path).is_file())]
    with context.progress(len(paths), f"copying {context.name}", "files") as advance:
        place(source, destination, paths, advance, link=False)
    return str(source)


def scan(root: Path, params: FolderParams) -> Scan:
    """Read the labels from the folders or the table.

    Raises:
        CorpusError: If the table is missing or malformed.
    """
    clips: list[Clip] = []
    rejections: list[Rejection] = []
    if params.table is None:
        results = [_clip_by_folder(path) for path in list_files(root, is_recording)]
    else:
        results = [_clip_by_row(root, row) for row in _read_table(root, params.table)]
    for result in results:
        if isinstance(result, Clip):
            clips.append(result)
        else:
            rejections.append(result)
    if not any(clip.split == "test" for clip in clips):
        # Without a test part the corpus does not come divided: all of it is ours to divide.
        clips = [replace(clip, split=None) for clip in clips]
    return Scan(tuple(sorted(clips, key=lambda clip: clip.path)), tuple(rejections))


def _clip_by_folder(path: PurePosixPath) -> Clip | Rejection:
    folders = path.parts[:-1]
    split = next((split for split in SPLITS if folders and folders[0].lower() == split), None)
    if split:
        folders = folders[1:]
    if not folders:
        return Rejection(
            str(path),
            f"lies in no folder named after an emotion, expected one of {', '.join(EMOTIONS)}",
        )
    clip = _clip(path, folders[0], speaker=folders[1] if len(folders) > 1 else "")
    return replace(clip, split=split) if isinstance(clip, Clip) else clip


def _clip_by_row(root: Path, row: dict[str, str]) -> Clip | Rejection:
    path = PurePosixPath(row["path"])
    if not (root / path).is_file():
        return Rejection(str(path), "listed in the table, but there is no such file")
    gender = row.get("gender", "").lower()
    if gender not in _GENDERS:
        return Rejection(str(path), f"gender is {gender!r}, expected f, m or nothing")
    return _clip(
        path, row["emotion"], row.get("speaker", ""), _GENDERS[gender], row.get("text", "")
    )


def _clip(
    path: PurePosixPath, emotion: str, speaker: str = "", gender: str = "", text_id: str = ""
) -> Clip | Rejection:
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
    return Clip(path=str(path), speaker=speaker, gender=gender, text_id=text_id, emotion=name)


def _read_table(root: Path, table: str) -> list[dict[str, str]]:
    """Read the table's rows, stripped of blanks around the values.

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
    """Take a relative path in either system's notation.

    Raises:
        CorpusError: If it is empty, absolute or leads outside.
    """
    windows = PureWindowsPath(name)
    if not windows.parts or windows.drive or windows.root or ".." in windows.parts:
        raise CorpusError(f"{where}: path {name!r}, expected one inside the corpus' folder")
    return PurePosixPath(windows.as_posix())
