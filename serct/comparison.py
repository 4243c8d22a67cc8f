"""Whether one model is better than another, judged on the very same utterances."""

import numpy as np
import numpy.typing as npt

_RESAMPLES = 20_000


def ua_difference_bound(
    labels: npt.NDArray[np.int64],
    is_right: npt.NDArray[np.bool_],
    was_right: npt.NDArray[np.bool_],
    confidence: float,
) -> float:
    """Give the lower bound of how much UA one model gains over another.

    A paired bootstrap: utterances are drawn anew within each emotion, each with what both models
    made of it, so that what is hard for both cancels out.

    Args:
        labels: Class of each utterance. int64 [n]
        is_right: Whether the one model knew it. bool [n]
        was_right: Whether the other did.
        confidence: One-sided, 0..1.

    Returns:
        The UA difference that is exceeded with this confidence, -1..1.

    Source:
        Efron & Tibshirani, An introduction to the bootstrap, 1993, chapter 13.

    Example:
        >>> right = np.array([True, False, True, True])
        >>> ua_difference_bound(np.array([0, 0, 1, 1]), right, right, 0.95)
        0.0
    """
    generator = np.random.default_rng(0)
    gained = is_right.astype(np.int64) - was_right.astype(np.int64)  # -1, 0 or 1
    recalls = []
    for label in np.unique(labels):
        own = gained[labels == label]
        shares = np.array([(own == value).mean() for value in (-1, 0, 1)])
        counts = generator.multinomial(len(own), shares, size=_RESAMPLES)
        recalls.append((counts[:, 2] - counts[:, 0]) / len(own))
    return float(np.quantile(np.mean(recalls, axis=0), 1 - confidence))
