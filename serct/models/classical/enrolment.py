"""What a model keeps of a speaker's recordings, and how much it trusts them.

Shapes: k windows of one speaker's speech, n rows, F features, K emotions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serct.models.classical.estimator import Array
from serct.runtime.arrays import Integers, Probabilities

# From this share of the usual variety on, recordings count in full. Of 20 to 50 % none was clearly
# better (docs/how-to/enrolment.md).
FULL_VARIETY = 0.3


@dataclass(frozen=True, eq=False)
class Enrolment:
    """Sums over windows of one speaker's speech: all that is kept, and no audio.

    Sums of two enrolments of one speaker, by the same model, are added with ``+``.

    Attributes:
        count: k.
        features: Sum of the features. float64 [F]
        decisions: Sum of the decision values, as for a speaker without recordings. float64 [K]
        squares: Sum of the squared lengths of these.
        probabilities: Sum of the probabilities, as for a speaker without recordings. float64 [K]
    """

    count: int
    features: Array
    decisions: Array
    squares: float
    probabilities: Probabilities

    @classmethod
    def of(cls, features: Array, decisions: Array, probabilities: Probabilities) -> "Enrolment":
        """Sum up windows. [k, F], [k, K], [k, K], k >= 0."""
        return cls(
            count=len(features),
            features=features.sum(axis=0),
            decisions=decisions.sum(axis=0),
            squares=float((decisions**2).sum()),
            probabilities=probabilities.sum(axis=0),
        )

    def __add__(self, other: "Enrolment") -> "Enrolment":
        """Return the enrolment with the windows of both."""
        return Enrolment(
            self.count + other.count,
            self.features + other.features,
            self.decisions + other.decisions,
            self.squares + other.squares,
            self.probabilities + other.probabilities,
        )

    @property
    def spread(self) -> float:
        """Variance of the decision values, summed over the emotions; NaN of fewer than two."""
        if self.count < 2:
            return float("nan")
        around_mean = self.squares - float(self.decisions @ self.decisions) / self.count
        return max(around_mean, 0.0) / (self.count - 1)


@dataclass(frozen=True)
class Variety:
    """How much decision values of one speaker's recordings vary in training.

    Recordings of one emotion vary little between these values, those of all emotions much. This
    shows in recordings without labels whether a speaker was enrolled in one mood: then the mean of
    the speaker's features is the mean of that mood, and a model that believed it would take the
    mood for neutral.

    Attributes:
        one_emotion: The spread (see `Enrolment`) of recordings of one emotion.
        all_emotions: The same of recordings of all emotions, each as often.
    """

    one_emotion: float
    all_emotions: float

    @classmethod
    def measure(
        cls, decisions: Array, labels: Integers, speakers: Sequence[str]
    ) -> "Variety | None":
        """Compute both of the training set, as means over its speakers.

        Args:
            decisions: float64 [n, K]
            labels: int64 [n]
            speakers: Of each row.

        Returns:
            None unless a speaker has two recordings of two emotions each, or if the emotions of
            the speakers cannot be distinguished.
        """
        names = np.asarray(speakers)
        found: list[tuple[float, float]] = []
        for speaker in dict.fromkeys(speakers):
            own = names == speaker
            groups = [decisions[own & (labels == label)] for label in np.unique(labels[own])]
            groups = [group for group in groups if len(group) > 1]
            if len(groups) > 1:
                within = float(np.mean([group.var(axis=0, ddof=1).sum() for group in groups]))
                means = np.stack([group.mean(axis=0) for group in groups])
                found.append((within, within + float(means.var(axis=0).sum())))
        if not found:
            return None
        one, all_ = np.mean(found, axis=0).tolist()
        return cls(one, all_) if all_ > one else None

    def share(self, enrolled: Enrolment) -> float:
        """Return how varied an enrolment is, from 0 (as one emotion) to 1 (varied enough).

        It counts from `one_emotion` towards `all_emotions`, and is 1 from `FULL_VARIETY` of the
        way on. One window alone has no variety: 0.
        """
        if enrolled.count < 2:
            return 0.0
        way = (enrolled.spread - self.one_emotion) / (self.all_emotions - self.one_emotion)
        return float(np.clip(way / FULL_VARIETY, 0, 1))
