"""How often each clip of a training part is learned from, so that chosen groups count alike.

``train.balance`` lists what shall count alike, the outermost first: ``[corpus, speaker]`` gives
each corpus the same weight, and within it each speaker the same; ``[emotion, corpus]`` gives each
emotion the same weight, and within it each corpus that has it.

The weight of a clip is 1 / (k_1 k_2 ... k_m n): k_i is the number of values of the i-th key that
occur in the group above it, and n the number of clips in the innermost group. Divided by the least
weight it is the clip's ratio, 1 or more, and at most `MOST`: a few clips that are repeated very
often would be learned by heart. A group that this bound holds back counts less than the others.

Models of scikit-learn learn from each clip as often as its ratio says. The loop takes as many steps
an epoch as without balance, and draws each clip as often as its ratio over the mean ratio. Counts
are whole, by systematic sampling: each innermost group gets its sum, rounded up or down.

Shapes: n clips.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serct.config.params import BalanceKey
from serct.data.shards import IndexRow
from serct.runtime.arrays import Features, Integers

# How much more often than any other a clip is learned from.
MOST = 8.0

_VALUES: Mapping[BalanceKey, Callable[[IndexRow], str]] = {
    "corpus": lambda row: row.corpus,
    # Two people may have one name in two corpora; "" counts as one speaker of its corpus.
    "speaker": lambda row: f"{row.corpus}/{row.speaker}",
    "emotion": lambda row: row.label,
}


@dataclass(frozen=True, eq=False)
class Balance:
    """How much more often each clip counts than the one that counts least.

    Attributes:
        ratios: Each from 1 to `MOST`. float64 [n]
        groups: Number of the innermost group of each. int64 [n]
    """

    ratios: Features
    groups: Integers

    @classmethod
    def of(cls, rows: Sequence[IndexRow], keys: Sequence[BalanceKey]) -> "Balance":
        """Compute the ratios.

        Args:
            rows: The first row of each clip, at least one.
            keys: What counts alike, the outermost first.
        """
        weights = np.ones(len(rows))
        groups = np.zeros(len(rows), dtype=np.int64)
        for key in keys:
            values = np.unique([_VALUES[key](row) for row in rows], return_inverse=True)[1]
            pairs = np.stack((groups, values))
            inner = np.unique(pairs, axis=1, return_inverse=True)[1].ravel()
            # One clip of each inner group: how often a group occurs among them is its k_i.
            firsts = np.unique(inner, return_index=True)[1]
            weights /= np.bincount(groups[firsts])[groups]
            groups = inner
        weights /= np.bincount(groups)[groups]
        return cls(np.minimum(weights / weights.min(), MOST), groups)

    def repeat(self, generator: np.random.Generator) -> Integers:
        """Return positions of clips, each at least once, and as often as its ratio."""
        return self._positions(self.ratios, generator)

    def draw(self, generator: np.random.Generator) -> Integers:
        """Return n positions of clips, each about as often as its ratio over the mean ratio."""
        return self._positions(self.ratios / self.ratios.mean(), generator)

    def _positions(self, expected: Features, generator: np.random.Generator) -> Integers:
        return np.repeat(np.arange(len(expected)), whole_counts(expected, self.groups, generator))


def whole_counts(expected: Features, groups: Integers, generator: np.random.Generator) -> Integers:
    """Round expected counts, at random, to whole numbers that keep the sum of each group.

    The counts are put end to end on a line, a group after the other, in a random order within it.
    Of each the whole number is how many points it covers, of points at distance 1.

    Args:
        expected: 0 and more. [n]
        groups: Number of each one's group. [n]
        generator: Decides which fractions are rounded up.

    Returns:
        Each ``expected`` rounded up or down, and so is each sum. int64 [n]

    Source:
        Madow & Madow, On the theory of systematic sampling I, 1944.

    Example:
        >>> generator = np.random.default_rng(3)
        >>> counts = whole_counts(np.array([2.5, 2.5, 1.0]), np.array([0, 0, 1]), generator)
        >>> sorted(counts[:2].tolist()), counts[2:].tolist()
        ([2, 3], [1])
    """
    order = generator.permutation(len(expected))
    order = order[np.argsort(groups[order], kind="stable")]
    # A sum of thirds is off in its last digits, which must not cost a clip.
    ends = np.round(np.cumsum(expected[order]), 6) + generator.random()
    counts = np.empty(len(expected), dtype=np.int64)
    counts[order] = np.diff(np.floor(ends), prepend=0.0).astype(np.int64)
    return counts
