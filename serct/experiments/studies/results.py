"""The results of a study: the schema of `study.json`."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from serct.config.section import Section
from serct.errors import ReportError
from serct.evaluation.significance import Interval

STUDY_FILE = "study.json"
# The columns of the history that are kept.
CURVES = ("train_loss", "validation_loss", "validation_ua")


class CellRun(Section):
    """The source of one number.

    Attributes:
        cell: Folder of the workspace.
        run: Id of MLflow's run.
        manifest: Digest of the manifest.
    """

    cell: str
    run: str | None
    manifest: str


class Row(Section):
    """One model in a test.

    Attributes:
        hears_voices: Whether it adapts to a speaker with unlabelled recordings (speaker enrolment),
            a protocol of its own.
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
    """

    model: str
    hears_voices: bool
    num_parameters: int
    seconds: float
    validation_ua: tuple[float, ...]
    wa: float
    ua: tuple[float, ...]
    interval: Interval
    gain: tuple[float, float] | None
    folds: tuple[float, ...]
    runs: tuple[CellRun, ...]
    history: tuple[Mapping[str, float], ...]


class Comparison(Section):
    """All models of a study, trained on one corpus and tested on one.

    Attributes:
        corpus: What they were trained on.
        tested_on: The same, or a corpus that they were not trained on: then with the emotions that
            both have, the other probabilities masked.
        n: Utterances tested with one seed: all folds together, or each fold's model on all.
        majority_wa: Of always predicting the most frequent emotion.
        majority_ua: The same.
        probes: UA of the probes, see `serct.evaluation.probes`, the mean over cells; empty if
            zero-shot.
        rows: In the order of the study.
    """

    corpus: str
    tested_on: str
    n: int
    majority_wa: float
    majority_ua: float
    probes: Mapping[str, float]
    rows: tuple[Row, ...]

    @property
    def is_zero_shot(self) -> bool:
        """Whether the models were trained on another corpus."""
        return self.tested_on != self.corpus


class StudyResult(Section):
    """The content of `study.json`.

    Attributes:
        name: Its file in `studies/`.
        asks: The question.
        protocol: How the test split differs from training, see ``split`` in params.yaml.
        num_folds: 1 if there are no folds.
        seeds: Each a repetition of all folds.
    """

    name: str
    asks: str
    protocol: str
    num_folds: int
    seeds: tuple[int, ...]
    tests: tuple[Comparison, ...]


def read_studies(folder: Path) -> tuple[StudyResult, ...]:
    """Read all finished studies below a folder, by name.

    Raises:
        ReportError: If a file has another format than this version's.
    """
    found = []
    for path in sorted(folder.glob(f"*/{STUDY_FILE}")):
        try:
            found.append(StudyResult.model_validate_json(path.read_text("utf-8")))
        except ValidationError as error:
            raise ReportError(
                f"{path}: not a study of this version of serct; run that study again, or remove "
                f"the file: {error.errors()[0]['msg']}"
            ) from error
    return tuple(found)
