"""The results of a study: the schema of `study.json`."""

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from serct.config.record import Migration, Record, RecordPart
from serct.errors import ReportError, SerctError
from serct.evaluation.significance import Interval

STUDY_FILE = "study.json"
# The columns of the history that are kept.
CURVES = ("train_loss", "validation_loss", "validation_ua")


class CellRun(RecordPart):
    """The source of one number.

    Attributes:
        cell: Folder of the workspace.
        run: Id of MLflow's run.
        manifest: Digest of the manifest.
    """

    cell: str
    run: str | None
    manifest: str


class Row(RecordPart):
    """One model in a test.

    Attributes:
        adapts_to_speaker: Whether unlabelled recordings of a speaker improve it (speaker
            enrolment), a protocol of its own.
        num_parameters: Of the model.
        seconds: To train it, the mean over cells.
        validation_ua: Of each seed, the mean over its folds; choices may use it.
        wa: Weighted accuracy, the mean over seeds.
        ua: Unweighted accuracy of each seed, its folds pooled before it is computed.
        interval: Of the first seed's UA, 95 %.
        gain: Of the first seed's UA over that of the study's first model, 95 %; None for that one.
        folds: UA of each fold of the first seed.
        runs: Of each cell.
        history: Epochs of the first cell, with the keys of `CURVES`.
        wa_folds: WA of each fold of the first seed; empty in files before there was this key.
        conditions: UA of the first seed under each condition, and under none, by its label: folds
            pooled, on the same utterances. Empty if the study states no conditions.
    """

    model: str
    adapts_to_speaker: bool
    num_parameters: int
    seconds: float
    validation_ua: tuple[float, ...]
    wa: float
    ua: tuple[float, ...]
    interval: Interval
    gain: tuple[float, float] | None
    folds: tuple[float, ...]
    wa_folds: tuple[float, ...] = ()
    runs: tuple[CellRun, ...]
    history: tuple[Mapping[str, float], ...]
    conditions: Mapping[str, float] = Field(default_factory=dict)


class PublishedScore(RecordPart):
    """What others published for the same folds: means over them.

    Attributes:
        model: As they call it.
        ua: Unweighted accuracy.
        wa: Weighted accuracy.
    """

    model: str
    ua: float
    wa: float


class SharedSpeakers(RecordPart):
    """How many speakers of the test parts are in training as well, counted in each fold.

    Attributes:
        num_shared: Of them, those that training has.
        num_tested: All.
    """

    num_shared: int
    num_tested: int


class Comparison(RecordPart):
    """All models of a study, trained on one corpus and tested on one.

    Attributes:
        corpus: What they were trained on.
        tested_on: The same, or a corpus that they were not trained on: then with the emotions that
            both have, the other probabilities masked.
        num_corpora: How many corpora ``corpus`` joins; 1 in files before there was this key.
        n: Utterances tested with one seed: all folds together, or each fold's model on all.
        majority_wa: Of always predicting the most frequent emotion.
        majority_ua: The same.
        probes: UA of the probes, see `serct.evaluation.probes`, the mean over cells; of a zero-shot
            test only in a study that leaves corpora out.
        rows: In the order of the study.
        published: Scores of others on the same folds, if the study names any.
        shared_speakers: None if a speaker is not known, and in files before there was this key.
    """

    corpus: str
    tested_on: str
    num_corpora: int = 1
    n: int
    majority_wa: float
    majority_ua: float
    probes: Mapping[str, float]
    rows: tuple[Row, ...]
    published: tuple[PublishedScore, ...] = ()
    shared_speakers: SharedSpeakers | None = None

    @property
    def is_zero_shot(self) -> bool:
        """Whether the models were trained on another corpus."""
        return self.tested_on != self.corpus


def _study_2(study: dict[str, Any]) -> dict[str, Any]:
    """Return a study of version 1 with today's name for speaker enrolment."""
    renamed = json.dumps(study).replace('"hears_voices":', '"adapts_to_speaker":')
    content: dict[str, Any] = json.loads(renamed)
    return content


class StudyResult(Record):
    """The content of `study.json`.

    Attributes:
        name: Its file in `studies/`.
        asks: The question.
        protocol: How the test split differs from training, see ``split`` in params.yaml.
        num_folds: 1 if there are no folds.
        seeds: Each a repetition of all folds.
    """

    FORMAT: ClassVar[int] = 3
    SEALED_FROM: ClassVar[int] = 3
    MIGRATIONS: ClassVar[Mapping[int, Migration]] = {1: _study_2}
    ERROR: ClassVar[type[SerctError]] = ReportError

    name: str
    asks: str
    protocol: str
    num_folds: int
    seeds: tuple[int, ...]
    tests: tuple[Comparison, ...]

    def by_num_corpora(self) -> dict[str, dict[int, float]]:
        """Return each model's zero-shot UA by how many corpora it learned from.

        It is the mean over the corpora tested, of the mean over seeds.
        """
        found: dict[str, dict[int, list[float]]] = {}
        for test in self.tests:
            if test.is_zero_shot:
                for row in test.rows:
                    scores = found.setdefault(row.model, {}).setdefault(test.num_corpora, [])
                    scores.append(statistics.mean(row.ua))
        return {
            model: {count: statistics.mean(scores) for count, scores in sorted(counts.items())}
            for model, counts in found.items()
        }


def read_studies(folder: Path) -> tuple[StudyResult, ...]:
    """Read all finished studies below a folder, by name.

    Raises:
        ReportError: If a file is not a study.
    """
    hint = "run that study again, or remove the file"
    return tuple(StudyResult.read(path, hint) for path in sorted(folder.glob(f"*/{STUDY_FILE}")))
