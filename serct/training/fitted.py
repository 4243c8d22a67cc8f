"""The result of a training, the same for the loop and for scikit-learn."""

from dataclasses import dataclass
from datetime import UTC, datetime

from serct.config.record import Record
from serct.models.interface import Model
from serct.models.records import EpochRow
from serct.runtime.arrays import Probabilities


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained model: the weights of its best epoch on validation, and how it got there.

    Attributes:
        validation: Its probabilities for the validation part, from before it learned anything from
            that part. float64 [n, K]
        importance: `serct.evaluation.importance.FeatureImportance`, from before that too; None of
            a network, and of features without names.
        without_enrolment: As ``validation``, of a model that adapts to speakers, when it does not,
            as a service predicts; None of any other. float64 [n, K]
    """

    model: Model
    validation: Probabilities
    started_at: str
    history: tuple[EpochRow, ...]
    best_epoch: int
    device: str
    num_parameters: int
    importance: Record | None = None
    without_enrolment: Probabilities | None = None

    @property
    def best(self) -> EpochRow:
        """Return the history's row of the chosen epoch."""
        return self.history[self.best_epoch - 1]


def now() -> str:
    """Return the current time in UTC, as ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
