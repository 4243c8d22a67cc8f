"""Features relative to the mean of their speaker.

A high, bright sound is no sign of joy. How a speaker sounds on average shows in a few recordings
without labels; an emotion is what departs from it.

Shapes: n clips, F features.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from serct.models.classical.estimator import Array

# The name in saved models.
_MEAN = "voice_mean"


class SpeakerNormalization:
    """Subtracts from features the mean of their speaker.

    That mean is drawn towards the mean over the training set's speakers, which counts for
    ``relevance_factor`` recordings: a speaker without recordings is taken for the average one, a
    speaker with many for itself. The spread is left alone: it depends on the emotions in the
    recordings more than on the speaker.

    Source:
        Busso et al., Iterative feature normalization scheme for automatic emotion detection from
        speech, 2013 (normalisation by speaker); Reynolds et al., Speaker verification using
        adapted Gaussian mixture models, 2000 (relevance factor, and means alone adapted).

    Example:
        >>> normalize = SpeakerNormalization(relevance_factor=2.0)
        >>> features = np.array([[0.0], [2.0], [10.0], [12.0]])
        >>> normalize.fit(features, ["low", "low", "high", "high"]).tolist()
        [[-3.5], [-1.5], [1.5], [3.5]]
        >>> normalize(np.array([[7.0]]), np.array([7.0]), count=0).tolist()
        [[1.0]]
        >>> normalize(np.array([[7.0]]), np.array([9.0]), count=2).tolist()
        [[-0.5]]
    """

    def __init__(self, relevance_factor: float) -> None:
        self._relevance = relevance_factor
        self._mean = np.zeros(0)

    def fit(self, features: Array, speakers: Sequence[str]) -> Array:
        """Compute the average speaker's mean, and return the features relative to their speakers.

        Args:
            features: float64 [n, F]
            speakers: Of each row, "" if unknown; those count as one speaker.

        Returns:
            float64 [n, F]
        """
        rows = rows_by_speaker(speakers)
        self._mean = np.mean([features[indices].mean(axis=0) for indices in rows.values()], axis=0)
        relative = np.empty_like(features)
        for indices in rows.values():
            own = features[indices]
            relative[indices] = self(own, own.mean(axis=0), len(own))
        return relative

    def __call__(self, features: Array, mean: Array, count: float) -> Array:
        """Compute features relative to their speaker.

        Args:
            features: Of clips of one speaker. float64 [n, F]
            mean: Of the features of recordings of that speaker, used if there are any. float64 [F]
            count: For how many recordings that mean counts, >= 0.

        Returns:
            float64 [n, F]
        """
        share = count / (count + self._relevance)
        relative: Array = features - (share * mean + (1 - share) * self._mean)
        return relative

    @property
    def average(self) -> Array:
        """The mean of the training set's average speaker, float64 [F]."""
        return self._mean

    def state(self) -> dict[str, Array]:
        """Return what `fit` computed."""
        return {_MEAN: self._mean}

    def load_state(self, tensors: Mapping[str, Array]) -> None:
        """Load what `state` returned; raises KeyError if it is missing."""
        self._mean = tensors[_MEAN]


def rows_by_speaker(speakers: Sequence[str]) -> dict[str, Array]:
    """Return the positions of each speaker's rows.

    Example:
        >>> {name: rows.tolist() for name, rows in rows_by_speaker(["ann", "bob", "ann"]).items()}
        {'ann': [0, 2], 'bob': [1]}
    """
    names = np.asarray(speakers)
    return {str(name): np.flatnonzero(names == name) for name in dict.fromkeys(speakers)}
