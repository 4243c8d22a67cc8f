"""The files of a model's folder besides weights: `card.json`, `run.json` and `history.csv`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, Field, JsonValue, field_validator

from serct.config.files import as_csv, read_rows
from serct.config.params import AudioParams, TrainParams
from serct.config.record import Migration, Record, RecordPart, restore_section, restored
from serct.errors import CheckpointError, SerctError
from serct.models.calibration import Calibration
from serct.models.encoders.params import EncoderParams
from serct.models.reference import Reference
from serct.runtime.digests import check_files


class ValidationScores(RecordPart):
    """Scores at the chosen epoch on the validation part, 0..1, and the loss in nats.

    Metrics that were added later stand beside these by name.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, float] = Field(init=False)

    loss: float
    wa: float
    ua: float
    wf1: float


class Digests(RecordPart):
    """Digests of the data that a model was trained on."""

    manifest: str
    shards: str


class TrainedOn(RecordPart):
    """One corpus in a training part.

    Attributes:
        utterances: Of it.
        speakers: That these are of; 0 if none is known.
    """

    language: str
    utterances: int
    speakers: int


def _card_2(card: dict[str, Any]) -> dict[str, Any]:
    """Return a card of version 1 as one of a model that is not calibrated and never uncertain."""
    return {"calibration": {"temperature": 1.0, "uncertain_below": 0.0}, **card}


# Keys that an architecture gained while cards had version 2, with the values of models before.
_GAINED: dict[str, dict[str, Any]] = {
    "serct": {"attention": "deformable", "neutral_input": False, "noise_floor_db": -45.0},
    "mel_conformer": {"remove_average": True},
}


def _card_3(card: dict[str, Any]) -> dict[str, Any]:
    """Return a card of version 2 with the values that its architecture used without naming them."""
    architecture = card.get("architecture")
    if not isinstance(architecture, dict):
        return card
    gained = _GAINED.get(str(architecture.get("architecture")), {})
    missing = {key: value for key, value in gained.items() if key not in architecture}
    return {**card, "architecture": {**architecture, **missing}}


def _card_5(card: dict[str, Any]) -> dict[str, Any]:
    """Return a card of version 4 with today's name and keys of what was `ssl`."""
    old = card.get("architecture")
    if not isinstance(old, dict) or old.get("architecture") != "ssl":
        return card
    encoder = EncoderParams.in_folder(str(old.get("encoder")))
    return {**card, "architecture": {**as_encoder_network(old), "encoder": encoder}}


def as_encoder_network(ssl: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params of version 0.2's architecture `ssl` as those of `encoder_network`."""
    frames = {"layers": None, "noise_floor_db": None, "speech_range_db": None}
    return {**ssl, **frames, "architecture": "encoder_network", "pooling": "mean"}


class Card(Record):
    """Everything needed to use a model, and its origin (`card.json`).

    Attributes:
        name: Its entry under ``models`` in params.yaml.
        architecture: That entry, from which `serct.models.restore_model_params` builds the model.
        corpora: What its training part was of: one corpus, or those that were joined. Empty in a
            card of version 4 and older.
        audio: The form of rows, see `serct.config.params.AudioParams`.
        sample_rate_hz: Rate of the rows it was trained on.
        emotions: Its classes, in the order of its outputs.
        majority_emotion: The most frequent emotion of its training part.
        training: The settings of training in params.yaml: a record that nothing depends on.
        fingerprint: Digest of parameters, data and seed; equal for a repetition.
        reference: What it met and predicted on its validation part; None before version 6, and
            where training could not look for speech. Then its service measures no drift.
        files: SHA-256 of the files with the weights, by name; none before version 4. An export
            has the card of the model that it was made from.
    """

    FORMAT: ClassVar[int] = 6
    SEALED_FROM: ClassVar[int] = 4
    MIGRATIONS: ClassVar[Mapping[int, Migration]] = {1: _card_2, 2: _card_3, 4: _card_5}
    ERROR: ClassVar[type[SerctError]] = CheckpointError
    SAYS_WRITER: ClassVar[bool] = False  # `versions` does

    name: str
    architecture: dict[str, JsonValue]
    corpus: str
    corpora: dict[str, TrainedOn] = Field(default_factory=dict)
    language: str
    synthetic: bool
    protocol: str
    audio: restored(AudioParams)  # type: ignore[valid-type]
    sample_rate_hz: int
    emotions: tuple[str, ...]
    majority_emotion: str
    seed: int
    training: dict[str, JsonValue]
    num_parameters: int
    best_epoch: int
    validation: ValidationScores
    calibration: Calibration
    reference: Reference | None = None
    digests: Digests
    versions: dict[str, str]
    fingerprint: str
    files: dict[str, str] = Field(default_factory=dict)

    @field_validator("emotions")
    @classmethod
    def _check_emotions(cls, emotions: tuple[str, ...]) -> tuple[str, ...]:
        if not emotions or len(set(emotions)) < len(emotions):
            raise ValueError(f"{', '.join(emotions) or 'none'}: expected each emotion once")
        return emotions

    def has_seen(self, corpus: str) -> bool:
        """Return whether the model was trained on a corpus, alone or joined with others."""
        return corpus == self.corpus or corpus in self.corpora

    @property
    def train_params(self) -> TrainParams:
        """The settings of training that this version still has."""
        return restore_section(TrainParams, self.training, skip_invalid=True)


class Machine(RecordPart):
    """The machine that trained a model."""

    cpu: str | None = None
    num_cores: int | None = None
    gpu: str | None = None


class RunRecord(Record):
    """The record of one training (`run.json`); `history.csv` beside it has the same version.

    Attributes:
        run_id: Of the run in MLflow, None if training was too short to open one: the report stage
            makes it later.
        experiment: Name in MLflow.
        fingerprint: That of the card.
        started_at: ISO 8601, UTC.
        seconds: Of all epochs.
        processes: Number that trained together.
        git_commit: Of the code, None if unknown.
        dvc_stage: That trained it, None outside DVC.
        dvc_experiment: Name of the `dvc exp run` that trained it, None outside one; not in files
            before version 4.
        dvc_baseline: The commit that this experiment began from.
        files: SHA-256 of `history.csv` and, if there is one, of `importance.json`, by name; none
            before version 3.
    """

    FORMAT: ClassVar[int] = 4
    SEALED_FROM: ClassVar[int] = 3
    ERROR: ClassVar[type[SerctError]] = CheckpointError

    run_id: str | None
    experiment: str = ""
    tracking_uri: str | None = None
    fingerprint: str
    started_at: str
    seconds: float
    device: str
    processes: int = 1
    machine: Machine
    git_commit: str | None
    dvc_stage: str | None = None
    dvc_experiment: str | None = None
    dvc_baseline: str | None = None
    files: dict[str, str] = Field(default_factory=dict)


# Columns of `history.csv`; metrics on the validation part and `seconds` follow.
_BEFORE_METRICS = ("epoch", "learning_rate", "train_loss", "train_wa", "validation_loss")


@dataclass(frozen=True)
class EpochRow:
    """One row of `history.csv`.

    Attributes:
        epoch: Counts from 1.
        learning_rate: Of its last step.
        train_loss: Mean over the training part, in nats; None if not measured.
        train_wa: Accuracy on the training part during the epoch, 0..1.
        validation_loss: In nats.
        validation: Every metric on the validation part by name; in the file `validation_<name>`.
        seconds: That the epoch took.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    train_wa: float
    validation_loss: float
    validation: Mapping[str, float]
    seconds: float

    @property
    def validation_ua(self) -> float:
        """Unweighted accuracy on the validation part, 0..1."""
        return self.validation["ua"]

    def columns(self) -> dict[str, float]:
        """Return the row by column, in the order of the file."""
        before = {name: getattr(self, name) for name in _BEFORE_METRICS}
        metrics = {f"validation_{name}": value for name, value in self.validation.items()}
        return {**before, **metrics, "seconds": self.seconds}

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any]) -> "EpochRow":
        """Return the row that `columns` came from."""
        own = {name: columns[name] for name in (*_BEFORE_METRICS, "seconds")}
        metrics = {k.removeprefix("validation_"): v for k, v in columns.items() if k not in own}
        return cls(**own, validation=metrics)


# Below the data folder: folders of models and corpora that params.yaml names no more.
UNUSED = "unused"
CARD, RUN, HISTORY = "card.json", "run.json", "history.csv"
IMPORTANCE = "importance.json"  # of classical models whose features have names
# What `serct.models.checkpoint` writes besides the card: weights, an estimator or both, and the
# configuration of an encoder whose weights are among them.
WEIGHTS, ESTIMATOR, ENCODER = "weights.safetensors", "model.skops", "encoder.json"


def write_history(folder: Path, rows: Iterable[EpochRow]) -> None:
    """Write `history.csv` into a model's folder."""
    lines = [row.columns() for row in rows]
    (folder / HISTORY).write_text(as_csv(lines, list(lines[0])), encoding="utf-8", newline="\n")


def read_history(
    folder: Path, hint: str = "", error: type[SerctError] = CheckpointError
) -> tuple[dict[str, float], ...]:
    """Read `history.csv` of a model's folder: by column, without cells that are empty.

    Args:
        folder: The model's.
        hint: What errors add, e.g. which stage writes the file.
        error: What to raise.

    Raises:
        SerctError: If it is missing, empty, lacks epochs, a cell is no number, or it is not the
            one that `run.json` beside it lists.
    """
    path, more = folder / HISTORY, f"; {hint}" if hint else ""
    check_files(folder, RunRecord.read(folder / RUN, hint, error).files, RUN, error)
    lines = read_rows(path, ("epoch",), hint, error)
    try:
        rows = tuple(
            {key: _number(cell) for key, cell in row.items() if key and cell} for row in lines
        )
    except ValueError as problem:
        raise error(f"{path}: not readable as a training history: {problem}{more}") from problem
    if not all("epoch" in row for row in rows):
        raise error(f"{path}: a row has no epoch{more}")
    return rows


def _number(cell: str) -> float:
    """Return a cell as a number: a whole number stays an int."""
    return int(cell) if cell.isdecimal() else float(cell)
