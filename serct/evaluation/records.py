"""The files that evaluation writes: `metrics.json` of the test part and of zero-shot tests.

`robustness.json` beside the test part's has UA under conditions.

Scores stand in both by the names of `serct.evaluation.metrics`; a file may hold metrics that this
version does not compute.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict, Field, JsonValue

from serct.config.record import Record, RecordPart
from serct.errors import ReportError, SerctError
from serct.evaluation.metrics import ByMetric, Scores
from serct.evaluation.significance import Interval
from serct.runtime.atomic import write_json
from serct.runtime.digests import file_digests

METRICS_FILE, ROBUSTNESS_FILE = "metrics.json", "robustness.json"
# Predictions, confusion matrices, and the card for people, which describes the registered version.
_LISTED = (".csv", ".json", ".md")


class _Named(ByMetric, RecordPart):
    """Keys of its own, and metrics by name."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)
    __pydantic_extra__: dict[str, float] = Field(init=False)

    @property
    def metrics(self) -> Mapping[str, float]:
        """Metrics by name."""
        return self.__pydantic_extra__


class Baseline(_Named):
    """Scores of always predicting the most frequent emotion, 0..1."""


class ScoreSet(_Named):
    """Scores, 0..1, and the mean cross-entropy in nats, None if not measured."""

    n: int | None = None
    loss: float | None = None
    recall: dict[str, float] = Field(default_factory=dict)


class CalibrationScores(RecordPart):
    """Expected calibration error with and without the temperature, and errors by coverage."""

    ece: float
    ece_before: float
    risk_at_coverage: dict[str, float]


class Group(_Named):
    """Scores of utterances with a common speaker, gender, language, corpus or length."""

    n: int


class Groups(RecordPart):
    """All groups of one kind, and the one with the lowest WA; None if none is large enough."""

    groups: dict[str, Group]
    worst: str | None


class EvaluationMetrics(ScoreSet, Record):
    """`metrics.json` of the evaluate stage; what files of version 1 may lack is None or empty.

    Attributes:
        files: SHA-256 of the files beside it that are read again, by name; none before version 3.
    """

    model_config = ConfigDict(extra="allow")  # metrics by name
    FORMAT: ClassVar[int] = 3
    SEALED_FROM: ClassVar[int] = 3
    ERROR: ClassVar[type[SerctError]] = ReportError

    model: str
    corpus: str
    split: str
    synthetic: bool
    protocol: str
    n: int
    ua_interval: Interval | None = None
    majority: Baseline
    probes: dict[str, float] = Field(default_factory=dict)
    calibration: CalibrationScores | None = None
    groups: dict[str, Groups] = Field(default_factory=dict)
    fingerprint: str
    manifest_digest: str
    files: dict[str, str] = Field(default_factory=dict)

    def worst_groups(self) -> Iterator[tuple[str, str, Group]]:
        """Yield kind, name and scores of the group with the lowest WA among several of a kind."""
        for kind, found in self.groups.items():
            if found.worst is not None and len(found.groups) > 1:
                yield kind, found.worst, found.groups[found.worst]


class Target(RecordPart):
    """Scores on one corpus that the model was not trained on.

    Attributes:
        dropped: Utterances left out by emotion, since the model does not have it.
        shared: Emotions that both have.
        masked: Where only shared emotions may be predicted.
        unmasked: Where any emotion of the model may be.
    """

    synthetic: bool
    n: int
    dropped: dict[str, int]
    shared: tuple[str, ...]
    majority: Baseline
    masked: ScoreSet
    ua_interval: Interval | None = None
    unmasked: ScoreSet
    manifest_digest: str = ""


class ZeroShotMetrics(Record):
    """`metrics.json` of the zero_shot stage.

    Attributes:
        files: As in `EvaluationMetrics`.
    """

    FORMAT: ClassVar[int] = 3
    SEALED_FROM: ClassVar[int] = 3
    ERROR: ClassVar[type[SerctError]] = ReportError

    model: str
    corpus: str
    fingerprint: str
    targets: dict[str, Target]
    files: dict[str, str] = Field(default_factory=dict)


class ConditionScores(RecordPart):
    """Scores under one condition.

    Attributes:
        label: Name and strength in words.
        entry: As in params.yaml.
        ua: Unweighted accuracy, 0..1.
        change: UA minus that of the same utterances without the condition.
        change_interval: Its 95 % interval, paired, over utterances.
        changed: Share of the utterances whose predicted emotion changed.
        measured: Means of what the condition measured, by unit: a bit rate, for example.
        counts: See `RobustnessMetrics`.
    """

    label: str
    entry: dict[str, JsonValue]
    ua: float
    ua_interval: Interval
    change: float
    change_interval: tuple[float, float]
    changed: float
    measured: dict[str, float]
    counts: dict[str, tuple[int, int]] = Field(default_factory=dict)


class RobustnessMetrics(Record):
    """`robustness.json` of the evaluate stage: UA under conditions, beside the clean one.

    Attributes:
        n: Utterances, the same under each condition.
        of: Utterances of the test part, from which they were chosen.
        ua: Without any condition, 0..1.
        counts: How many utterances of each emotion were predicted right, and how many there are;
            of several test parts their sums give the UA. Files of older versions have none.
    """

    FORMAT: ClassVar[int] = 1
    ERROR: ClassVar[type[SerctError]] = ReportError

    model: str
    corpus: str
    fingerprint: str
    n: int
    of: int
    ua: float
    ua_interval: Interval
    conditions: tuple[ConditionScores, ...]
    counts: dict[str, tuple[int, int]] = Field(default_factory=dict)


def read_robustness(
    folder: Path, metrics: EvaluationMetrics, hint: str = ""
) -> RobustnessMetrics | None:
    """Read the file beside a test part's metrics; None if no condition was tested.

    Args:
        folder: Of both files.
        metrics: The metrics there.
        hint: See `Record.read`.

    Raises:
        ReportError: If it is missing or not valid.
    """
    if ROBUSTNESS_FILE not in metrics.files:  # written before conditions were tested
        return None
    found = RobustnessMetrics.read(folder / ROBUSTNESS_FILE, hint)
    return found if found.conditions else None


class Confusion(Record):
    """Counts by actual (rows) and predicted (columns) emotion: `confusion*.json`."""

    FORMAT: ClassVar[int] = 2
    SEALED_FROM: ClassVar[int] = 2
    ERROR: ClassVar[type[SerctError]] = ReportError

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


def write_confusion(path: Path, scores: Scores) -> None:
    """Write a confusion matrix with its labels."""
    counts = tuple(tuple(row) for row in scores.confusion.tolist())
    write_json(path, Confusion(labels=tuple(scores.labels), counts=counts).as_json())


def write_metrics(folder: Path, metrics: EvaluationMetrics | ZeroShotMetrics) -> None:
    """Write `metrics.json` into a folder, after the files that it lists."""
    names = sorted(path.name for path in folder.iterdir() if path.suffix in _LISTED)
    files = file_digests(folder, names)
    write_json(folder / METRICS_FILE, metrics.model_copy(update={"files": files}).as_json())
