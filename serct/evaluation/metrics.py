"""Scores: WA, UA and WF1, all from one confusion matrix.

Source:
    Thesis, equations 9-15. Equation 9 counts true negatives; what the thesis' tables hold, and
    what the field calls weighted accuracy, is plain accuracy, so that is what WA is here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Scores:
    """How well predictions agree with labels.

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
        """Share found of each class that occurs."""
        actual = self.confusion.sum(axis=1)
        hits = np.diag(self.confusion)
        return {
            label: float(hits[k] / actual[k]) for k, label in enumerate(self.labels) if actual[k]
        }

    @property
    def wa(self) -> float:
        """Weighted accuracy: the share of utterances that are right, 0..1."""
        return float(np.trace(self.confusion) / self.n)

    @property
    def ua(self) -> float:
        """Unweighted accuracy: mean recall over the classes that occur, 0..1."""
        return float(np.mean(list(self.recall.values())))

    @property
    def wf1(self) -> float:
        """F1 of each class weighted by how often it occurs, 0..1."""
        actual = self.confusion.sum(axis=1)
        predicted = self.confusion.sum(axis=0)
        both = actual + predicted
        f1 = np.divide(2 * np.diag(self.confusion), both, out=np.zeros(len(both)), where=both > 0)
        return float((f1 * actual).sum() / self.n)

    def summary(self) -> dict[str, Any]:
        """The numbers alone, for JSON."""
        return {
            "n": self.n,
            "wa": self.wa,
            "ua": self.ua,
            "wf1": self.wf1,
            "loss": self.loss,
            "recall": self.recall,
        }


def score_names(actual: Sequence[str], predicted: Sequence[str]) -> Scores:
    """Score predictions given by name; classes are all that occur on either side."""
    labels = sorted({*actual, *predicted})
    confusion = np.zeros((len(labels), len(labels)), dtype=np.int64)
    for one, other in zip(actual, predicted, strict=True):
        confusion[labels.index(one), labels.index(other)] += 1
    return Scores(tuple(labels), confusion)


def score(
    labels: Sequence[str],
    actual: npt.NDArray[np.integer[Any]],
    probabilities: npt.NDArray[np.floating[Any]],
) -> Scores:
    """Score probabilities against labels; the highest probability is the answer.

    Args:
        labels: Names of the K classes.
        actual: Class numbers, 0..K-1. int [n]
        probabilities: Rows sum to 1. float [n, K]
    """
    predicted = probabilities.argmax(axis=1)
    chosen = np.take_along_axis(probabilities, actual[:, None], axis=1)[:, 0]
    # The floor keeps a certain and wrong answer from making the mean infinite.
    loss = float(-np.log(np.maximum(chosen, np.finfo(np.float64).tiny)).mean())
    return Scores(tuple(labels), _confusion(len(labels), actual, predicted), loss)


def majority(
    labels: Sequence[str], actual: npt.NDArray[np.integer[Any]], majority_class: int
) -> Scores:
    """Score of always answering ``majority_class``.

    Args:
        labels: Names of the K classes.
        actual: Class numbers, 0..K-1. int [n]
        majority_class: Take it from training, never from the rows scored here, if there was a
            training on this corpus.
    """
    predicted = np.full(len(actual), majority_class)
    return Scores(tuple(labels), _confusion(len(labels), actual, predicted))


def _confusion(
    num_classes: int, actual: npt.NDArray[np.integer[Any]], predicted: npt.NDArray[np.integer[Any]]
) -> Counts:
    flat = np.bincount(actual * num_classes + predicted, minlength=num_classes**2)
    return flat.reshape(num_classes, num_classes).astype(np.int64)
