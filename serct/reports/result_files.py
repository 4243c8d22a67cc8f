"""The files that the report reads: what it needs of each, and how each is refused.

The stages write more into them; what is not named here is left alone.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from serct.errors import ReportError

F = TypeVar("F", bound="ResultFile")


class ResultFile(BaseModel):
    """What the report needs of a JSON file; other keys are left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Baseline(ResultFile):
    """Scores of always naming the most frequent emotion, 0..1."""

    wa: float
    ua: float
    wf1: float


class ScoreSet(ResultFile):
    """Scores, 0..1, and the mean cross-entropy in nats, None if not measured."""

    wa: float
    ua: float
    wf1: float
    loss: float | None = None


class IntervalFile(ResultFile):
    """Where UA lies with 95 % confidence, were other speakers or utterances drawn."""

    low: float
    high: float
    over: str


class CalibrationFile(ResultFile):
    """Whether confidence can be believed."""

    ece: float
    ece_before: float
    risk_at_coverage: dict[str, float]


class Group(ResultFile):
    """Scores of those utterances that have something in common."""

    n: int
    wa: float
    ua: float


class Groups(ResultFile):
    """All groups of one kind, and which is served worst; None if none is large enough."""

    groups: dict[str, Group]
    worst: str | None


class EvaluationMetrics(ScoreSet):
    """metrics.json of the evaluate stage."""

    synthetic: bool
    n: int
    majority: Baseline
    ua_interval: IntervalFile
    probes: dict[str, float]
    calibration: CalibrationFile
    groups: dict[str, Groups]
    fingerprint: str
    manifest_digest: str


class Target(ResultFile):
    """One corpus in metrics.json of the zero_shot stage."""

    synthetic: bool
    n: int
    dropped: dict[str, int]
    shared: tuple[str, ...]
    majority: Baseline
    masked: ScoreSet
    ua_interval: IntervalFile
    unmasked: ScoreSet


class ZeroShotMetrics(ResultFile):
    """metrics.json of the zero_shot stage."""

    fingerprint: str
    targets: dict[str, Target]


class Confusion(ResultFile):
    """Counts by actual (rows) and predicted (columns) emotion."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


class TrainedCard(ResultFile):
    """What the report needs of card.json."""

    language: str
    synthetic: bool
    protocol: str
    seed: int
    num_parameters: int
    best_epoch: int
    validation: ScoreSet
    digests: dict[str, str]
    versions: dict[str, str]
    fingerprint: str


class Machine(ResultFile):
    """Where a model was trained."""

    cpu: str | None = None
    num_cores: int | None = None
    gpu: str | None = None


class Run(ResultFile):
    """What the report needs of run.json."""

    run_id: str | None
    fingerprint: str
    started_at: str
    seconds: float
    device: str
    machine: Machine
    git_commit: str | None


def read_json(path: Path, kind: type[F], written_by: str) -> F:
    """Read one JSON file.

    Args:
        path: The file.
        kind: What it should hold.
        written_by: Says which stage writes the file, for the error.

    Raises:
        ReportError: If it is missing, not JSON, or lacks a key or has it of another type.
    """
    try:
        return kind.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise ReportError(f"{path}: no such file; {written_by}") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'top level'}: {item['msg']}"
            for item in error.errors()
        )
        raise ReportError(f"{path}: {problems}; {written_by}") from error
    except ValueError as error:  # not JSON, or not UTF-8
        raise ReportError(f"{path}: not readable as JSON: {error}; {written_by}") from error


def read_table(path: Path, needed: Sequence[str], written_by: str) -> tuple[Mapping[str, str], ...]:
    """Read a CSV file with a header.

    Args:
        path: The file.
        needed: Columns that it must have.
        written_by: Says which stage writes the file, for the error.

    Raises:
        ReportError: If it is missing, empty, or lacks a column.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows = tuple(reader)
            columns = tuple(reader.fieldnames or ())
    except FileNotFoundError as error:
        raise ReportError(f"{path}: no such file; {written_by}") from error
    if lacking := [column for column in needed if column not in columns]:
        raise ReportError(f"{path}: no column {', '.join(lacking)}; {written_by}")
    if not rows:
        raise ReportError(f"{path}: no rows; {written_by}")
    return rows
