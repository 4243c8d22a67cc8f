"""Speaker enrolment: a model gets other recordings of a speaker before it predicts.

Only sums of numbers are kept of them. Shapes: k windows, K emotions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from serct.errors import SpeakerError
from serct.evaluation.classifiers import AdaptiveClassifier, Classifier, EnrolledClassifier
from serct.models.classical.enrolment import Enrolment
from serct.models.records import Card

# Fewer windows than this say too little about their variety.
_FEW_WINDOWS = 4
# Below this share of enough variety people are asked for more moods. Of mixed sets of eight
# recordings it asks for more in none of EMO-DB's and a tenth of nEMO's, of sets of one emotion in
# most: benchmarks/enrolment.py.
NARROW = 0.5


@dataclass(frozen=True, eq=False)
class Speaker:
    """A speaker that was enrolled with one model.

    Attributes:
        sums: Of all windows of speech, see `Enrolment`.
        num_recordings: That they are from.
        speech_s: Speech in these.
        model: Fingerprint of the model: another one cannot use the sums.
    """

    sums: Enrolment
    num_recordings: int
    speech_s: float
    model: str

    def __add__(self, other: "Speaker") -> "Speaker":
        """Return the same speaker with the recordings of both enrolments, by one model."""
        return Speaker(
            self.sums + other.sums,
            self.num_recordings + other.num_recordings,
            self.speech_s + other.speech_s,
            self.model,
        )


@dataclass(frozen=True)
class Adaptation:
    """How much a model adapts to a speaker.

    Attributes:
        num_recordings: That the speaker was enrolled with.
        num_windows: Windows of speech in them.
        speech_s: Speech in them.
        counts_as: For how many windows they count: all if they are varied, one if they sound like
            one mood.
        warning: What the speaker should do for better predictions; None if it is well.
    """

    num_recordings: int
    num_windows: int
    speech_s: float
    counts_as: float
    warning: str | None

    def __str__(self) -> str:
        """Return the same in words, without the warning."""
        return f"{_recordings(self.num_recordings)} of the speaker, {self.speech_s:.1f} s of speech"


def adaptive(classifier: Classifier, card: Card) -> AdaptiveClassifier:
    """Return what enrols speakers of a classifier.

    Raises:
        SpeakerError: If the model does not adapt to a speaker.
    """
    if isinstance(classifier, EnrolledClassifier):
        return classifier.adaptive
    if not isinstance(classifier, AdaptiveClassifier):
        raise SpeakerError(
            f"model {card.name} does not adapt to a speaker; one that does has a "
            "relevance_factor in its entry of params.yaml, such as whisper_lda_speaker"
        )
    return classifier


def check_speaker(speaker: Speaker, card: Card) -> None:
    """Check that a speaker was enrolled with a model.

    Raises:
        SpeakerError: If it was with another one.
    """
    if speaker.model != card.fingerprint:
        raise SpeakerError(
            f"the speaker was enrolled with model {speaker.model[:7]}, expected {card.name} "
            f"({card.fingerprint[:7]}), which has other features: enrol again"
        )


def adaptation(classifier: AdaptiveClassifier, speaker: Speaker, card: Card) -> Adaptation:
    """Return how much a model adapts to a speaker, and what is wrong with the recordings."""
    return Adaptation(
        speaker.num_recordings,
        speaker.sums.count,
        speaker.speech_s,
        classifier.model.num_counted(speaker.sums),
        _warning(classifier, speaker, card.emotions),
    )


def _warning(
    classifier: AdaptiveClassifier, speaker: Speaker, emotions: Sequence[str]
) -> str | None:
    sums = speaker.sums
    if not sums.count:
        return None
    these = _recordings(speaker.num_recordings)
    advice = "record yourself in at least 3 moods"
    if sums.count < _FEW_WINDOWS:
        return f"{these} with {speaker.speech_s:.1f} s of speech: little to adapt to; {advice}"
    if classifier.model.variety(sums) >= NARROW:
        return None
    mood = emotions[int(sums.probabilities.argmax())]
    return (
        f"to the model these {these} sound like one mood (most of all {mood}), so they count for "
        f"little: {advice}"
    )


def _recordings(number: int) -> str:
    return f"{number} recording{'s' if number != 1 else ''}"
