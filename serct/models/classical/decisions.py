"""Probabilities from the decision values of scikit-learn's machines.

Shapes: n rows, K emotions.
"""

from typing import Any, Literal

import numpy as np

from serct.models.calibration import choose_temperature
from serct.models.classical.estimator import Array, LabelledRows
from serct.runtime.arrays import Probabilities

_NUM_FOLDS = 5
_TEMPERATURES = (1e-3, 1e4)


def probabilities(estimator: Any, rows: Array, temperature: float) -> Probabilities:
    """Compute the probabilities of rows; their order is that of the decision values.

    Args:
        estimator: Fitted, with ``decision_function``.
        rows: As it takes them.
        temperature: Decision values are divided by it.

    Returns:
        float64 [n, K]
    """
    # A card is read without SciPy.
    from scipy.special import softmax

    given: Probabilities = softmax(decision_values(estimator, rows) / temperature, axis=1)
    return given


def linear_discriminants(num_emotions: int, shrinkage: float | Literal["auto"]) -> Any:
    """Return linear discriminant analysis, not yet fitted; every emotion counts alike, as in UA.

    Args:
        num_emotions: K.
        shrinkage: How much the covariance is drawn towards a multiple of the identity, 0..1; "auto"
            follows from the number of rows.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    priors = np.full(num_emotions, 1 / num_emotions)
    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage, priors=priors)


def decision_values(estimator: Any, rows: Array) -> Array:
    """Compute the decision value of each emotion, for rows as the estimator takes them. [n, K]."""
    return _of_each(estimator.decision_function(rows))


def cross_validated_temperature(
    estimator: Any, rows: Array, clips: LabelledRows, seed: int
) -> float:
    """Choose the temperature by decision values on rows that they were not fitted to.

    Args:
        estimator: Unfitted.
        rows: What it will be fitted to: the rows of ``clips``, as it takes them.
        clips: Labels and clips; all rows of a clip are in one fold.
        seed: Of the folds.
    """
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    numbers = np.arange(len(rows)) if clips.clips is None else clips.clips
    _, firsts, places = np.unique(numbers, return_index=True, return_inverse=True)
    labels = clips.labels[firsts]
    num_folds = min(_NUM_FOLDS, int(np.bincount(labels).min()))
    divided = StratifiedKFold(num_folds, shuffle=True, random_state=seed).split(labels, labels)
    folds = [tuple(np.flatnonzero(np.isin(places, side)) for side in sides) for sides in divided]
    values = cross_val_predict(estimator, rows, clips.labels, cv=folds, method="decision_function")
    return choose_temperature(_of_each(values), clips.labels, _TEMPERATURES)


def _of_each(values: Array) -> Array:
    """Return a decision value of each emotion; of two scikit-learn returns the second's alone."""
    return values if values.ndim == 2 else np.stack((-values, values), axis=1) / 2
