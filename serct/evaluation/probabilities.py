"""The check that every prediction passes, whatever model gave it and whoever asked."""

import numpy as np

from serct.errors import PredictionError
from serct.runtime.arrays import Probabilities

# Rounding of a softmax in float32 stays a hundred times below.
_TOLERANCE = 1e-4


def checked_probabilities(probabilities: Probabilities, name: str) -> Probabilities:
    """Return what a model gave, after checking that each row is a distribution.

    Args:
        probabilities: A row for each clip. float64 [n, K]
        name: Of the model, for errors.

    Raises:
        PredictionError: If a value is not a number, negative, or a row does not sum to 1. Weights
            that are damaged give such values, and so does arithmetic that overflows.

    Example:
        >>> checked_probabilities(np.array([[0.25, 0.75]]), "model demo")
        array([[0.25, 0.75]])
    """
    num_clips = len(probabilities)
    num_wrong = num_clips - np.count_nonzero(np.isfinite(probabilities).all(axis=1))
    if num_wrong:
        raise PredictionError(
            f"{name} gives probabilities that are not numbers for {num_wrong} of {num_clips} clips"
        )
    sums = probabilities.sum(axis=1)
    wrong = np.flatnonzero((np.abs(sums - 1) > _TOLERANCE) | (probabilities < 0).any(axis=1))
    if len(wrong):
        row = probabilities[wrong[0]]
        raise PredictionError(
            f"{name} gives probabilities that are no distribution for {len(wrong)} of {num_clips} "
            f"clips: from {row.min():.4g} to {row.max():.4g}, sum {row.sum():.6g}, "
            "expected none below 0 and sum 1"
        )
    return probabilities
