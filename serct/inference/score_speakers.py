"""Which speaker each recording of a scoring is of, and what each was enrolled with.

The speakers are enrolled before the scoring begins, on the machine that starts it; every machine
then reads their sums from ``speakers.json`` in the folder of predictions.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from serct.config.files import read_rows
from serct.config.record import Record, RecordPart
from serct.data.download import Progress
from serct.data.reading.tree import list_files
from serct.errors import AudioError, ReportError, SerctError, SpeakerError
from serct.inference.enrolment import Speaker
from serct.inference.predictor import Predictor
from serct.models.classical.enrolment import Enrolment
from serct.runtime import atomic
from serct.runtime.digests import file_digest
from serct.runtime.log import logger

SPEAKERS = "speakers.json"
# Of the one speaker of all files, where a folder of other recordings was given.
_EVERYBODY = ""


class _Sums(RecordPart):
    """A `Speaker` without its model, which the plan names."""

    count: int
    features: tuple[float, ...]
    decisions: tuple[float, ...]
    squares: float
    probabilities: tuple[float, ...]
    num_recordings: int
    speech_s: float


class ScoreSpeakers(Record):
    """The speakers of a scoring (`speakers.json`).

    Attributes:
        enrolment: Digest of what they were enrolled with.
        speakers: By name.
        speaker_of: Their names by file; a file that is missing is of `_EVERYBODY`.
    """

    FORMAT: ClassVar[int] = 1
    ERROR: ClassVar[type[SerctError]] = ReportError

    enrolment: str
    speakers: dict[str, _Sums]
    speaker_of: dict[str, str]

    def predictors(self, predictor: Predictor) -> dict[str, Predictor]:
        """Return the predictor for each speaker, by name."""
        model = predictor.card.fingerprint
        return {
            name: predictor.for_speaker(_restored(sums, model))
            for name, sums in self.speakers.items()
        }


@dataclass(frozen=True)
class ScoreEnrolment:
    """What the speakers of a scoring are enrolled with: one of both.

    Attributes:
        folder: Other recordings of the one speaker of all files.
        table: A CSV file with the columns ``file``, below the scored folder, and ``speaker``: the
            recordings of each speaker are adapted to one another. A file without a speaker is
            predicted as before.
    """

    folder: Path | None = None
    table: Path | None = None

    def __post_init__(self) -> None:
        """Check that it is one of both."""
        if (self.folder is None) == (self.table is None):
            raise ValueError("expected either a folder or a table")

    def speaker_of(self, recordings: Path) -> dict[str, str]:
        """Return the speaker of each file of the table.

        Raises:
            ReportError: If the table is not readable, or a file in it is not there.
        """
        if self.table is None:
            return {}
        rows = read_rows(self.table, ("file", "speaker"), error=ReportError)
        found = {row["file"]: row["speaker"] for row in rows if row["speaker"]}
        if missing := [name for name in found if not (recordings / name).is_file()]:
            raise ReportError(
                f"{self.table}: {missing[0]} and {len(missing) - 1} more are no files in "
                f"{recordings}, expected paths below it"
            )
        return found

    def files(self, recordings: Path) -> dict[str, list[Path]]:
        """Return the recordings that each speaker is enrolled with, by name."""
        if self.folder is not None:
            return {_EVERYBODY: [self.folder / path for path in list_files(self.folder)]}
        found: dict[str, list[Path]] = defaultdict(list)
        for name, speaker in self.speaker_of(recordings).items():
            found[speaker].append(recordings / name)
        return found

    def digest(self, recordings: Path) -> str:
        """Return the SHA-256 of who is enrolled with which bytes."""
        digest = hashlib.sha256()
        for speaker, files in self.files(recordings).items():
            for path in files:
                digest.update(f"{speaker!r} {path.name!r} {file_digest(path)}\n".encode())
        return digest.hexdigest()


def enrol_speakers(
    enrolment: ScoreEnrolment,
    digest: str,
    recordings: Path,
    out: Path,
    predictor: Predictor,
    progress: Progress,
) -> None:
    """Write ``speakers.json``, unless an earlier call has written the same.

    Raises:
        SpeakerError: If the model does not adapt to a speaker, or there are no recordings.
        AudioError: If a recording in the folder is unusable. One of the table is left out: its own
            row says why.
    """
    path = out / SPEAKERS
    if path.exists() and ScoreSpeakers.read(path).enrolment == digest:
        return
    files = enrolment.files(recordings)
    if not any(files.values()):
        raise SpeakerError(f"{enrolment.folder or enrolment.table}: no recordings in it")
    speakers: dict[str, _Sums] = {}
    with progress(sum(map(len, files.values())), "enrolling", "recordings") as advance:
        for name, paths in files.items():
            own = predictor
            for recording in paths:
                try:
                    own = own.enrol([recording])
                except AudioError:
                    if enrolment.folder is not None:
                        raise
                advance(1)
            if own.speaker is None:
                continue
            speakers[name] = _kept(own.speaker)
            who = f"speaker {name}: " if name else ""
            logger.info("%senrolled with %s", who, own.adaptation)
            if own.adaptation is not None and own.adaptation.warning:
                logger.warning("%s%s", who, own.adaptation.warning)
    content = ScoreSpeakers(
        enrolment=digest, speakers=speakers, speaker_of=enrolment.speaker_of(recordings)
    )
    atomic.write_json(path, content.as_json())


def read_predictors(out: Path, predictor: Predictor) -> tuple[Mapping[str, Predictor], Predictor]:
    """Return the predictor of each file that is of a speaker, and that of all others.

    Args:
        out: May hold ``speakers.json``.
        predictor: For speakers without recordings.
    """
    if not (out / SPEAKERS).exists():
        return {}, predictor
    found = ScoreSpeakers.read(out / SPEAKERS)
    by_name = found.predictors(predictor)
    everybody = by_name.get(_EVERYBODY, predictor)
    return {
        file: by_name.get(name, predictor) for file, name in found.speaker_of.items()
    }, everybody


def _kept(speaker: Speaker) -> _Sums:
    sums = speaker.sums
    return _Sums(
        count=sums.count,
        features=tuple(sums.features.tolist()),
        decisions=tuple(sums.decisions.tolist()),
        squares=sums.squares,
        probabilities=tuple(sums.probabilities.tolist()),
        num_recordings=speaker.num_recordings,
        speech_s=speaker.speech_s,
    )


def _restored(kept: _Sums, model: str) -> Speaker:
    sums = Enrolment(
        count=kept.count,
        features=np.array(kept.features),
        decisions=np.array(kept.decisions),
        squares=kept.squares,
        probabilities=np.array(kept.probabilities),
    )
    return Speaker(sums, kept.num_recordings, kept.speech_s, model)
