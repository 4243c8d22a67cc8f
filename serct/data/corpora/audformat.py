"""Any database in audformat, the format of audEERING's corpora: a folder with ``db.yaml``.

Labels, speakers, words and splits come from its tables. A row may be about a part of a file; the
part then becomes a file of its own.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Field

from serct.data.download import Progress
from serct.data.manifest import Rejection, Scan, Split, Utterance, common_language
from serct.data.reading.audformat_rows import LabelledSegment, Wanted, read_segments
from serct.data.reading.audformat_tables import (
    HEADER,
    Segment,
    read_header,
    short_codes,
    stored_tables,
)
from serct.data.reading.corpus import Corpus, CorpusParams
from serct.data.reading.left_out import note_left_out, read_left_out
from serct.data.reading.listing import is_shown, unusable_format
from serct.data.reading.segments import cut_name, take_segments
from serct.data.reading.sources import Sources, own_folder
from serct.data.reading.tree import place
from serct.errors import BackendUnavailableError, CorpusError, list_problems
from serct.runtime.log import logger


class AudformatParams(CorpusParams):
    """A database in audformat.

    Attributes:
        path: Its folder.
        table: Its table of emotions, or several, which count as one; None: the one that there is.
        emotion: Column of the emotion.
        language: None: that of a column language, else the header's, if it names one only.
        speaker: Column of the speaker, in any table.
        gender: Column of the gender, or a key of the speakers' labels.
        text: Column of the words.
        splits: What its splits, or tables, are here; None: as their types say; {}: nothing.
    """

    reader: Literal["audformat"]
    path: str
    table: str | Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    emotion: str = "emotion"
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")] | None = None
    speaker: str = "speaker"
    gender: str = "gender"
    text: str = "transcription"
    splits: dict[str, Split] | None = None


class Audformat(Corpus):
    """A database in audformat."""

    params: AudformatParams
    title = "A database in audformat"

    @property
    def licence(self) -> str:  # type: ignore[override]
        """The licence that the header names."""
        return str(self._header().get("license") or "yours to know")

    @property
    def language(self) -> str:
        """The language, "mul" for several, "und" (ISO 639-2) for none that is known."""
        try:
            codes = short_codes(self._header().get("languages") or ())
        except BackendUnavailableError:
            codes = []
        return self.params.language or (common_language(codes) if codes else "und")

    def _header(self) -> Mapping[str, Any]:
        try:
            return read_header(Path(self.params.path).expanduser())
        except CorpusError:
            return {}

    def obtain(self, destination: Path, sources: Sources, progress: Progress) -> str:
        """Copy header, tables and labelled recordings; write parts of recordings as FLAC.

        What cannot be had is noted beside them, for `scan` to report.

        Raises:
            CorpusError: If there is no database, or its tables do not say what emotions there are.
            BackendUnavailableError: If the package audformat is not installed.
        """
        source = own_folder(self.name, self.params.path)
        header = read_header(source)
        rows, num_unlabelled = self._read(source)
        self._languages(source, rows)
        if num_unlabelled:
            logger.warning("%s: %d rows without an emotion are left out", self.name, num_unlabelled)
        outside = [str(row.segment) for row in rows if not row.split]
        if 0 < len(outside) < len(rows):
            logger.warning(
                "%s: %d rows are in none of the splits; no test part has them:\n%s",
                self.name, len(outside), list_problems(outside, limit=20),
            )  # fmt: skip
        place(source, destination, [HEADER, *stored_tables(source, header)], lambda _: None, False)
        by_file: dict[str, list[Segment]] = defaultdict(list)
        for row in rows:
            by_file[row.segment.file].append(row.segment)
        problems: dict[Segment, str] = {}
        with progress(len(by_file), f"copying {self.name}", "files") as advance:
            for file, segments in by_file.items():
                if reason := _unusable(source, file):
                    problems |= dict.fromkeys(segments, reason)
                else:
                    problems |= take_segments(source, destination, segments)
                advance(1)
        note_left_out(destination, [Rejection(str(e), reason) for e, reason in problems.items()])
        return str(source)

    def scan(self, root: Path) -> Scan:
        """Read the labels from the tables.

        Raises:
            CorpusError: As `obtain`.
        """
        noted = {each.path: each.reason for each in read_left_out(root)}
        rows, _ = self._read(root)
        languages = self._languages(root, rows)
        found = [
            self._utterance(root, row, language, noted)
            for row, language in zip(rows, languages, strict=True)
        ]
        utterances = [each for each in found if isinstance(each, Utterance)]
        if not any(each.split == "test" for each in utterances):
            # A corpus without a test part is not divided yet: the split stage divides all of it.
            utterances = [replace(each, split="") for each in utterances]
        rejections = [each for each in found if isinstance(each, Rejection)]
        return Scan(
            tuple(sorted(utterances, key=lambda each: each.path)),
            tuple(sorted(rejections, key=lambda each: each.path)),
        )

    def _utterance(
        self, root: Path, row: LabelledSegment, language: str, noted: Mapping[str, str]
    ) -> Utterance | Rejection:
        where, path = str(row.segment), row.segment.file
        if where in noted:
            return Rejection(where, noted[where])
        if row.segment != row.segment.whole_file and (root / cut_name(row.segment)).is_file():
            path = str(cut_name(row.segment))
        if reason := _unusable(root, path):
            return Rejection(where, reason)
        try:
            emotions = {self.emotion(word) for word in row.words}
        except CorpusError as error:
            return Rejection(where, str(error))
        if len(emotions) > 1:
            return Rejection(where, f"labelled {' and '.join(sorted(emotions))}")
        return Utterance(
            path=path, language=language, speaker=row.speaker, gender=row.gender,
            text_id=row.text_id, emotion=emotions.pop(), split=row.split,
        )  # fmt: skip

    def _languages(self, root: Path, rows: Sequence[LabelledSegment]) -> list[str]:
        """Return the language of each row: its own or the header's; "" for that of params.yaml.

        Raises:
            CorpusError: If nothing says it for all rows.
        """
        if self.params.language:
            return [""] * len(rows)
        codes = sorted(set(short_codes(read_header(root).get("languages") or ())))
        if len(codes) != 1 and not all(row.language for row in rows):
            raise CorpusError(
                f"{root / HEADER}: languages: {', '.join(codes) or 'none'}, expected one, or a "
                f"column language; set corpora.{self.name}.language"
            )
        own = sorted({row.language for row in rows} - {""})
        short = dict(zip(own, short_codes(own), strict=True))
        return [short.get(row.language) or codes[0] for row in rows]

    def _read(self, root: Path) -> tuple[list[LabelledSegment], int]:
        params = self.params
        wanted = Wanted(
            tables=(params.table,) if isinstance(params.table, str) else params.table,
            emotion=params.emotion, speaker=params.speaker, gender=params.gender,
            text=params.text, splits=params.splits, entry=f"corpora.{self.name}",
        )  # fmt: skip
        return read_segments(root, wanted)


def _unusable(root: Path, file: str) -> str:
    """Return why a file that a table lists cannot be used, "" if it can."""
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts or "\\" in file:
        return "expected a path inside the database, relative to it"
    if not is_shown(path):
        return "it is hidden, and hidden files are no part of a corpus"
    return "there is no such file" if not (root / path).is_file() else unusable_format(path)
