"""Features relative to the voice that they are of.

A high, bright voice is no happy one. What a voice is like when nothing is known of its emotions
can be told from a few of its recordings, without labels; emotions are what departs from it.

Shapes: n clips, F features, k clips of one voice.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from serct.models.classical.estimator import Array

_MEAN = "voice_mean"


class VoiceNorm:
    """Takes from features the mean of their voice.

    It is drawn towards that of the average voice of the training set, which counts for
    ``relevance_factor`` recordings: a voice never heard is taken for the average one, one heard
    often for itself. How much a voice varies is left alone: that depends on the emotions that
    happened to be heard more than on the voice.

    Source:
        Busso et al., Iterative feature normalization scheme for automatic emotion detection from
        speech, 2013 (normalisation by speaker); Reynolds et al., Speaker verification using
        adapted Gaussian mixture models, 2000 (relevance factor, and means alone adapted).

    Example:
        >>> norm = VoiceNorm(relevance_factor=2.0)
        >>> features = np.array([[0.0], [2.0], [10.0], [12.0]])
        >>> norm.fit(features, ["low", "low", "high", "high"]).tolist()
        [[-3.5], [-1.5], [1.5], [3.5]]
        >>> norm(np.array([[7.0]]), heard=np.zeros((0, 1))).tolist()
        [[1.0]]
    """

    def __init__(self, relevance_factor: float) -> None:
        self._relevance = relevance_factor
        self._mean = np.zeros(0)

    def fit(self, features: Array, voices: Sequence[str]) -> Array:
        """Learn what the average voice is like, and give the features relative to their voices.

        Args:
            features: float64 [n, F]
            voices: Whose each is, "" if unknown; those count as one voice.

        Returns:
            float64 [n, F]
        """
        rows = by_voice(voices)
        self._mean = np.mean([features[indices].mean(axis=0) for indices in rows.values()], axis=0)
        relative = np.empty_like(features)
        for indices in rows.values():
            relative[indices] = self(features[indices], heard=features[indices])
        return relative

    def __call__(self, features: Array, heard: Array) -> Array:
        """Give features relative to their voice.

        Args:
            features: Of clips of one voice. float64 [n, F]
            heard: Of recordings of that voice, with any emotions. float64 [k, F], k >= 0

        Returns:
            float64 [n, F]
        """
        share = len(heard) / (len(heard) + self._relevance)
        mean = share * heard.mean(axis=0) + (1 - share) * self._mean if share > 0 else self._mean
        relative: Array = features - mean
        return relative

    def state(self) -> dict[str, Array]:
        """Give what `fit` learned."""
        return {_MEAN: self._mean}

    def load_state(self, tensors: Mapping[str, Array]) -> None:
        """Take over what `state` gave; raises KeyError if it is missing."""
        self._mean = tensors[_MEAN]


def by_voice(voices: Sequence[str]) -> dict[str, Array]:
    """Give the positions of each voice's rows.

    Example:
        >>> {name: rows.tolist() for name, rows in by_voice(["ann", "bob", "ann"]).items()}
        {'ann': [0, 2], 'bob': [1]}
    """
    names = np.asarray(voices)
    return {str(name): np.flatnonzero(names == name) for name in dict.fromkeys(voices)}
