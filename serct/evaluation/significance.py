"""Intervals of scores, and tests whether one model is better than another on the same rows."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict

_RESAMPLES = 20_000
_DRAWS = 4000
_BLOCK = 100  # draws at once
# With fewer speakers than these, draws of whole speakers are too coarse.
_ENOUGH_SPEAKERS = 8


def ua_difference_bound(
    labels: npt.NDArray[np.int64],
    is_right: npt.NDArray[np.bool_],
    was_right: npt.NDArray[np.bool_],
    confidence: float,
) -> float:
    """Compute the lower bound of how much UA one model gains over another.

    A paired bootstrap: utterances are drawn anew within each emotion, each with the predictions of
    both models, so that utterances that are hard for both cancel out.

    Args:
        labels: Class of each utterance. int64 [n]
        is_right: Whether the one model predicted it. bool [n]
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


def ua_difference(
    labels: npt.NDArray[np.int64], is_right: npt.NDArray[np.bool_], was_right: npt.NDArray[np.bool_]
) -> tuple[float, float]:
    """Compute the 95 % interval of the UA gain, paired as in `ua_difference_bound`."""
    low = ua_difference_bound(labels, is_right, was_right, 0.975)
    high = -ua_difference_bound(labels, was_right, is_right, 0.975)
    return low, high


def mcnemar(is_right: npt.NDArray[np.bool_], was_right: npt.NDArray[np.bool_]) -> float:
    """Compute the probability, 0..1, of a split at least as unequal if both were equally good.

    Exact and two-sided, over the utterances that only one of both models predicted right.

    Args:
        is_right: Whether the one model predicted each utterance. bool [n]
        was_right: Whether the other did.

    Source:
        McNemar, Note on the sampling error of the difference between correlated proportions, 1947.

    Example:
        >>> mcnemar(np.array([True] * 5), np.array([False] * 5))
        0.0625
    """
    gained, lost = int((is_right & ~was_right).sum()), int((was_right & ~is_right).sum())
    # Of fair draws, as few on one side or fewer, and as often on the other; in whole numbers.
    num_draws = gained + lost
    ways = sum(math.comb(num_draws, count) for count in range(min(gained, lost) + 1))
    return min(1.0, 2 * ways / (1 << num_draws))


@dataclass(frozen=True)
class Interval:
    """The range of a score, 0..1, over random draws of speakers or utterances.

    Attributes:
        over: What was drawn anew: "speakers" where there are enough, else "utterances".
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)  # records hold intervals

    low: float
    high: float
    over: str


def ua_interval(
    emotions: npt.NDArray[np.str_],
    is_right: npt.NDArray[np.bool_],
    speakers: npt.NDArray[np.str_],
    confidence: float = 0.95,
) -> Interval:
    """Compute the bootstrap interval of UA, with whole speakers drawn where there are enough.

    Utterances of one speaker are alike: drawn one by one, they make the interval too narrow.

    Args:
        emotions: The actual emotion of each utterance. str [n]
        is_right: Whether the model predicted it. bool [n]
        speakers: The speaker of each. str [n]
        confidence: Two-sided, 0..1.

    Source:
        Efron & Tibshirani, An introduction to the bootstrap, 1993, chapters 8 and 13.
    """
    generator = np.random.default_rng(0)
    labels = np.unique(emotions, return_inverse=True)[1]
    names, owners = np.unique(speakers, return_inverse=True)
    is_clustered = len(names) >= _ENOUGH_SPEAKERS
    if not is_clustered:
        owners = np.arange(len(labels))
    num_labels = int(labels.max()) + 1
    totals = np.zeros((int(owners.max()) + 1, num_labels))  # [clusters, K]
    hits = np.zeros_like(totals)
    np.add.at(totals, (owners, labels), 1)
    np.add.at(hits, (owners, labels), is_right)
    scores: list[float] = []
    size = len(totals)
    for start in range(0, _DRAWS, _BLOCK):
        num_draws = min(_BLOCK, _DRAWS - start)
        draws = generator.integers(size, size=(num_draws, size))
        places = draws + size * np.arange(num_draws)[:, None]
        times = np.bincount(places.ravel(), minlength=num_draws * size).reshape(num_draws, size)
        drawn, right = times @ totals, times @ hits  # [num_draws, K]
        # An emotion that a draw lacks does not count in it.
        recalls = np.divide(right, drawn, out=np.zeros_like(right), where=drawn > 0)
        means = recalls.mean(axis=1)
        for lacking in np.flatnonzero((drawn == 0).any(axis=1)):
            means[lacking] = recalls[lacking][drawn[lacking] > 0].mean()
        scores.extend(means)
    low, high = np.quantile(scores, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high), "speakers" if is_clustered else "utterances")
