"""Your own recordings: folders named after emotions, or a table.

Either ``[train|validation|test/]<emotion>/[<speaker>/]<file>``, or a CSV in the folder with the
columns path and emotion and, if known, speaker, gender (f or m), text and split. With a table, the
corpus has only the files in it.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import Field

from serct.config.spelling import fold
from serct.data.download import Progress
from serct.data.manifest import SPLITS, Rejection, Scan, Utterance
from serct.data.reading.corpus import Corpus, CorpusParams
from serct.data.reading.labels import COLUMNS, LabelRow, name_part, read_labels
from serct.data.reading.left_out import note_left_out, read_left_out
from serct.data.reading.listing import Entry, is_companion, list_entries, printable, unusable_format
from serct.data.reading.sources import Sources, own_folder
from serct.data.reading.tree import place
from serct.emotions import EMOTIONS
from serct.errors import CorpusError, list_problems
from serct.runtime.log import logger

_GENDERS = {"": "", "f": "f", "female": "f", "m": "m", "male": "m"}


class FolderParams(CorpusParams):
    """Your own recordings.

    ``speaker`` says which folder below the emotion is the speaker's, where there are several: the
    first is 1; "last"; or "path" for all of them together.
    """

    reader: Literal["folder"]
    path: str
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]
    table: str | None = None
    speaker: Annotated[int, Field(ge=1)] | Literal["last", "path"] | None = None


class Folder(Corpus):
    """Your own recordings, any number of them and without checksums."""

    params: FolderParams
    title = "Recordings of your own"
    licence = "yours to know"

    def obtain(self, destination: Path, sources: Sources, progress: Progress) -> str:
        """Copy the recordings, so that later changes to the originals do not reach the corpus.

        What cannot be copied is noted beside them, for `scan` to report. Links are followed.

        Raises:
            CorpusError: If the folder or table does not exist or the table is malformed.
        """
        source = own_folder(self.name, self.params.path)
        entries = list_entries(source)
        usable = [e.path for e in entries if not e.problem and not unusable_format(e.path)]
        if self.params.table is None:
            left_out = _reject(entries)
            paths = usable
        else:
            table, rows = read_labels(source, self.params.table, entries)
            listed = {fold(str(row.path)) for row in rows}
            rejected = _reject(entries, also_beside=True)
            left_out = [each for each in rejected if fold(each.path) in listed]
            files = {row.file for row in rows}
            # All files that a row may mean, so that the copy leaves it as unclear.
            unclear = {fold(str(row.path)) for row in rows if row.file is None}
            wanted = {path for path in usable if path in files or fold(str(path)) in unclear}
            paths = [table, *(path for path in usable if path in wanted)]
            self._warn(table, rows, [str(path) for path in usable if path not in wanted])
        with progress(len(paths), f"copying {self.name}", "files") as advance:
            place(source, destination, paths, advance, link=False)
        note_left_out(destination, left_out)
        return str(source)

    def _warn(self, table: PurePosixPath, rows: list[LabelRow], unlisted: list[str]) -> None:
        """Say which recordings and which columns are not used."""
        if unlisted:
            logger.warning(
                "%s: %d recordings are not in the table %s and left out:\n%s",
                self.name, len(unlisted), table, list_problems(unlisted, limit=20),
            )  # fmt: skip
        if unused := [name for name in (rows[0].values if rows else ()) if name not in COLUMNS]:
            logger.warning(
                "%s: columns of %s that are not used: %s; known are %s",
                self.name, table, ", ".join(unused), ", ".join(COLUMNS),
            )  # fmt: skip

    def scan(self, root: Path) -> Scan:
        """Read the labels from the folders or the table.

        Raises:
            CorpusError: If the table is missing or malformed, or nothing says which of several
                folders names the speaker.
        """
        entries = list_entries(root)
        noted = read_left_out(root)
        if self.params.table is None:
            found = [*noted, *_reject(entries), *self._by_folder(entries)]
        else:
            _, rows = read_labels(root, self.params.table, entries)
            rejected = [*_reject(entries, also_beside=True), *noted]
            reasons = {each.path: each.reason for each in rejected}
            # The files that a copy lacks are spelled as they were on disk, not as in the table.
            lacking = {fold(path): reason for path, reason in reasons.items()}

            def problem_of(row: LabelRow) -> str:
                if row.file is None:
                    return lacking.get(fold(str(row.path)), row.problem)
                return reasons.get(str(row.file), "")

            found = [self._by_row(row, problem_of(row)) for row in rows]
        utterances = [each for each in found if isinstance(each, Utterance)]
        if not any(utterance.split == "test" for utterance in utterances):
            # A corpus without a test part is not divided yet: the split stage divides all of it.
            utterances = [replace(utterance, split="") for utterance in utterances]
        utterances.sort(key=lambda utterance: utterance.path)
        rejections = sorted(
            (each for each in found if isinstance(each, Rejection)), key=lambda each: each.path
        )
        return Scan(tuple(utterances), tuple(rejections))

    def _by_folder(self, entries: Iterable[Entry]) -> list[Utterance | Rejection]:
        """Read the labels from the folders.

        Raises:
            CorpusError: If nothing says which of several folders names the speaker.
        """
        paths = [e.path for e in entries if not e.problem and not unusable_format(e.path)]
        deep = [
            path
            for path in paths
            if len(_folders(path)) > 2
            and isinstance(self._utterance(path, _folders(path)[0]), Utterance)
        ]
        if deep and self.params.speaker is None:
            first = _folders(deep[0])
            raise CorpusError(
                f"{deep[0]}: {len(first) - 1} folders below the emotion, and {len(deep)} files "
                f"like it; which names the speaker? Set speaker in the corpus' entry of "
                f"params.yaml: 1 ({first[1]}), last ({first[-1]}), or path "
                f"({'/'.join(first[1:])}); a wrong choice puts one person on both sides of a split"
            )
        return [self._by_path(path, self.params.speaker) for path in paths]

    def _by_path(self, path: PurePosixPath, level: int | str | None) -> Utterance | Rejection:
        folders = _folders(path)
        if not folders:
            return Rejection(
                str(path),
                f"is in no folder named after an emotion, expected one of {', '.join(EMOTIONS)}",
            )
        emotion, *below = folders
        if isinstance(level, int) and 0 < len(below) < level:
            return Rejection(
                str(path),
                f"{len(below)} folders below the emotion, but speaker in params.yaml is {level}",
            )
        speaker = {"last": below[-1:], "path": ["/".join(below)]}.get(
            str(level), below[(level if isinstance(level, int) else 1) - 1 :]
        )
        split = next((split for split in SPLITS if path.parts[0].lower() == split), "")
        found = self._utterance(path, emotion, "".join(speaker[:1]))
        return replace(found, split=split) if isinstance(found, Utterance) else found

    def _by_row(self, row: LabelRow, problem: str) -> Utterance | Rejection:
        def reject(reason: str) -> Rejection:
            return Rejection(str(row.path), f"{row.where}: {reason}")

        if problem or row.file is None:
            return reject(problem)
        gender = fold(row.values.get("gender", ""))
        if gender not in _GENDERS:
            return reject(f"gender is {gender!r}, expected f, m or nothing")
        word = row.values.get("split", "")
        split = name_part(word)
        if word and split is None:
            return reject(f"split is {word!r}, expected train, validation, test or nothing")
        speaker, text = row.values.get("speaker", ""), row.values.get("text", "")
        found = self._utterance(row.file, row.values["emotion"], speaker, _GENDERS[gender], text)
        if isinstance(found, Rejection):
            return reject(found.reason)
        return replace(found, split=split or "")

    def _utterance(
        self, path: PurePosixPath, emotion: str, speaker: str = "", gender: str = "",
        text_id: str = "",
    ) -> Utterance | Rejection:  # fmt: skip
        try:
            name = self.emotion(emotion)
        except CorpusError as error:
            return Rejection(str(path), str(error))
        return Utterance(
            path=str(path), speaker=speaker, gender=gender, text_id=text_id, emotion=name
        )


def _folders(path: PurePosixPath) -> tuple[str, ...]:
    """Return the folders from the emotion on."""
    folders = path.parts[:-1]
    return folders[1:] if folders and folders[0].lower() in SPLITS else folders


def _reject(entries: Iterable[Entry], also_beside: bool = False) -> list[Rejection]:
    """Return what is no recording, with or without what lies beside recordings."""
    return [
        Rejection(printable(entry.path), reason)
        for entry in entries
        if (reason := entry.problem or unusable_format(entry.path))
        and (also_beside or entry.problem or not is_companion(entry.path))
    ]
