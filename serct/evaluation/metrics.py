"""Scores: metrics such as WA, UA and WF1, all from one confusion matrix.

Source:
    Thesis, equations 9-15. Equation 9 counts true negatives; what the thesis' tables hold, and
    what the field calls weighted accuracy, is plain accuracy, so that is what WA is here.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Metric = Callable[[Counts], float]
# Every metric by name, in the order of tables: filled by `metric`.
METRICS: dict[str, Metric] = {}


def metric(function: Metric) -> Metric:
    """Make a function a metric: it is computed, stored, tracked and shown under its name.

    It gets the confusion matrix (rows are actual, columns predicted, int64 [K, K]) and returns a
    number from 0 to 1; higher is better.
    """
    METRICS[function.__name__] = function
    return function


@metric
def wa(confusion: Counts) -> float:
    """Return the weighted accuracy: the share of utterances that are right."""
    return float(np.trace(confusion) / confusion.sum())


@metric
def ua(confusion: Counts) -> float:
    """Return the unweighted accuracy: the mean recall over the classes that occur."""
    actual = confusion.sum(axis=1)
    occurs = actual > 0
    return float(np.mean(np.diag(confusion)[occurs] / actual[occurs]))


@metric
def wf1(confusion: Counts) -> float:
    """Return the F1 of each class, weighted by how often the class occurs."""
    actual = confusion.sum(axis=1)
    both = actual + confusion.sum(axis=0)
    f1 = np.divide(2 * np.diag(confusion), both, out=np.zeros(len(both)), where=both > 0)
    return float((f1 * actual).sum() / confusion.sum())


class ByMetric(ABC):
    """Values by the names of metrics; those of the thesis are also properties."""

    @property
    @abstractmethod
    def metrics(self) -> Mapping[str, float]:
        """Values by name."""

    @property
    def wa(self) -> float:
        """Weighted accuracy, 0..1."""
        return self.metrics["wa"]

    @property
    def ua(self) -> float:
        """Unweighted accuracy, 0..1."""
        return self.metrics["ua"]

    @property
    def wf1(self) -> float:
        """Weighted F1, 0..1."""
        return self.metrics["wf1"]


@dataclass(frozen=True, eq=False)
class Scores(ByMetric):
    """Scores of predictions against labels.

    Attributes:
        labels: Names of the K classes, in the order of the matrix.
        confusion: Rows are actual, columns predicted. int64 [K, K]
        loss: Mean cross-entropy in nats, NaN if not measured.
    """

    labels: tuple[str, ...]
    confusion: Counts
    loss: float = float("nan")

    @property
    def n(self) -> int:
        """Number of utterances."""
        return int(self.confusion.sum())

    @property
    def recall(self) -> dict[str, float]:
        """The recall of each class that occurs, 0..1."""
        actual = self.confusion.sum(axis=1)
        hits = np.diag(self.confusion)
        return {
            label: float(hits[k] / actual[k]) for k, label in enumerate(self.labels) if actual[k]
        }

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Every metric of `METRICS` by name."""
        return {name: each(self.confusion) for name, each in METRICS.items()}

    def summary(self) -> dict[str, Any]:
        """Return the numbers alone, for JSON."""
        return {"n": self.n, **self.metrics, "loss": self.loss, "recall": self.recall}


def score_names(actual: Sequence[str], predicted: Sequence[str]) -> Scores:
    """Score predictions given by name; classes are all that occur on either side."""
    labels, numbers = np.unique([actual, predicted], return_inverse=True)
    return Scores(tuple(labels.tolist()), _confusion(len(labels), *numbers))


def score(
    labels: Sequence[str],
    actual: npt.NDArray[np.integer[Any]],
    probabilities: npt.NDArray[np.floating[Any]],
) -> Scores:
    """Score probabilities against labels; the most probable class is the prediction.

    Args:
        labels: Names of the K classes.
        actual: Class numbers, 0..K-1. int [n]
        probabilities: Rows sum to 1. float [n, K]
    """
    predicted = probabilities.argmax(axis=1)
    chosen = np.take_along_axis(probabilities, actual[:, None], axis=1)[:, 0]
    # The floor keeps a certain and wrong prediction from making the mean infinite.
    loss = float(-np.log(np.maximum(chosen, np.finfo(np.float64).tiny)).mean())
    return Scores(tuple(labels), _confusion(len(labels), actual, predicted), loss)


def majority(
    labels: Sequence[str], actual: npt.NDArray[np.integer[Any]], majority_class: int
) -> Scores:
    """Score the prediction of always the same class, ``majority_class``.

    Args:
        labels: Names of the K classes.
        actual: Class numbers, 0..K-1. int [n]
        majority_class: If there was a training on this corpus, take it from the training part,
            never from the rows scored here.
    """
    predicted = np.full(len(actual), majority_class)
    return Scores(tuple(labels), _confusion(len(labels), actual, predicted))


def _confusion(
    num_classes: int, actual: npt.NDArray[np.integer[Any]], predicted: npt.NDArray[np.integer[Any]]
) -> Counts:
    flat = np.bincount(actual * num_classes + predicted, minlength=num_classes**2)
    return flat.reshape(num_classes, num_classes).astype(np.int64)
