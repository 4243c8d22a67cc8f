"""Confidence that means something: temperature, and the bound below which a model is uncertain.

Both are chosen on the validation part and travel in the model's card.
"""

from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from serct.config.record import RecordPart
from serct.runtime.arrays import Probabilities

_LOWEST_TEMPERATURE, _HIGHEST_TEMPERATURE = 0.5, 20.0
# Beyond these, in a card that somebody edited, probabilities are no longer a model's.
_USABLE = Field(ge=1e-3, le=1e3)
_SMALLEST = 1e-12


class Calibration(RecordPart):
    """How a model's probabilities become predictions.

    Attributes:
        temperature: Logits are divided by it: above 1 it makes a model less confident.
        uncertain_below: A prediction whose calibrated probability is lower counts as uncertain.
    """

    temperature: Annotated[float, _USABLE]
    uncertain_below: Annotated[float, Field(ge=0, le=1)]

    def apply(self, probabilities: Probabilities) -> Probabilities:
        """Calibrate probabilities; their order stays. float64 [B, K] -> [B, K]."""
        return _divided(probabilities, self.temperature)


def calibrate(
    probabilities: Probabilities, labels: npt.NDArray[np.int64], max_error: float
) -> Calibration:
    """Choose temperature and bound.

    The bound is the lowest that leaves at most ``max_error`` of the predictions above it wrong; 1
    if there is none.

    Args:
        probabilities: Of a model on rows it was not trained on. float64 [n, K]
        labels: Of those rows. int64 [n]
        max_error: Share of wrong predictions, 0..1.

    Example:
        >>> predicted = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]])
        >>> calibrate(predicted, np.array([0, 0, 0]), 0.1).uncertain_below > 0.6
        True
    """
    temperature = choose_temperature(
        _logits(probabilities), labels, (_LOWEST_TEMPERATURE, _HIGHEST_TEMPERATURE)
    )
    calibrated = _divided(probabilities, temperature)
    return Calibration(
        temperature=temperature,
        uncertain_below=_lowest_bound(
            calibrated.max(axis=1), calibrated.argmax(axis=1) != labels, max_error
        ),
    )


def choose_temperature(
    logits: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], bounds: tuple[float, float]
) -> float:
    """Return the temperature over which logits give the labels the highest likelihood.

    Each label has a share of 1 / (n + 2) taken for wrong: where every row is right, nothing else
    keeps confidence from growing without end, and after n right predictions of n the next one is
    right with (n + 1) / (n + 2).

    Args:
        logits: On rows that they were not trained on. float64 [n, K]
        labels: Of those rows. int64 [n]
        bounds: The lowest and the highest temperature.

    Source:
        Guo et al., On calibration of modern neural networks, 2017, section 4.2; Platt,
        Probabilistic outputs for support vector machines, 1999 (targets that are not certain).
    """
    # SciPy takes half a second to import, and every stage reads cards with calibrations.
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    num_emotions = logits.shape[1]
    doubt = 1 / (len(labels) + 2)
    targets = np.full(logits.shape, doubt / (num_emotions - 1))
    targets[np.arange(len(labels)), labels] = 1 - doubt

    def loss(log_temperature: float) -> float:
        predicted = log_softmax(logits / np.exp(log_temperature), axis=1)
        return float(-(targets * predicted).sum(axis=1).mean())

    found = minimize_scalar(loss, bounds=np.log(bounds), method="bounded")
    return float(np.exp(found.x))


def _logits(probabilities: Probabilities) -> npt.NDArray[np.float64]:
    logits: npt.NDArray[np.float64] = np.log(np.maximum(probabilities, _SMALLEST))
    return logits


def _divided(probabilities: Probabilities, temperature: float) -> Probabilities:
    from scipy.special import softmax

    divided: Probabilities = softmax(_logits(probabilities) / temperature, axis=1)
    return divided


def _lowest_bound(
    confidences: npt.NDArray[np.float64], is_wrong: npt.NDArray[np.bool_], max_error: float
) -> float:
    order = np.argsort(-confidences, kind="stable")
    errors = is_wrong[order].cumsum() / np.arange(1, len(order) + 1)
    is_last = np.append(confidences[order][1:] < confidences[order][:-1], True)
    allowed = np.flatnonzero((errors <= max_error) & is_last)
    if len(allowed) == 0:
        return 1.0
    if allowed[-1] == len(order) - 1:
        return 0.0
    return float(confidences[order][allowed[-1]])
