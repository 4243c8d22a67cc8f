"""The prediction for a recording: as a whole, and along it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby

import numpy as np

from serct.data.windows import Plan, geometric_mean
from serct.evaluation.observation import NO_SPEECH as NO_SPEECH
from serct.evaluation.observation import UNCERTAIN as UNCERTAIN
from serct.evaluation.observation import Signal
from serct.runtime.arrays import Probabilities

EmotionProbabilities = dict[str, float]


@dataclass(frozen=True)
class TimedPrediction:
    """The prediction for a part of a recording.

    Attributes:
        start_s: Where the part begins.
        end_s: Where it ends.
        speech_s: Speech in it.
        emotion: An emotion, `UNCERTAIN`, or `NO_SPEECH`.
        probabilities: Calibrated; None without speech.
    """

    start_s: float
    end_s: float
    speech_s: float
    emotion: str
    probabilities: EmotionProbabilities | None


@dataclass(frozen=True)
class RecordingPrediction:
    """The prediction for a whole recording, and its timeline from the same windows.

    Attributes:
        emotion: An emotion, `UNCERTAIN`, or `NO_SPEECH`.
        probabilities: Calibrated; None without speech.
        duration_s: Length of the recording.
        analysed_s: Length of what the model was given: all windows with speech.
        speech_s: Length of the speech.
        window_s: Length of a window.
        hop_s: From the start of a window to that of the next, and of a step.
        steps: The timeline, without gaps.
        notes: What was done to make the recording usable, in sentences.
        signal: How loud it is; None where nobody measured that.
    """

    emotion: str
    probabilities: EmotionProbabilities | None
    duration_s: float
    analysed_s: float
    speech_s: float
    window_s: float
    hop_s: float
    steps: tuple[TimedPrediction, ...]
    notes: tuple[str, ...] = ()
    signal: Signal | None = None

    @property
    def confidence(self) -> float | None:
        """Probability of the most probable emotion; None without speech."""
        return max(self.probabilities.values()) if self.probabilities else None

    @cached_property
    def segments(self) -> tuple[TimedPrediction, ...]:
        """The timeline with neighbouring steps of one emotion joined.

        The mean of the segments, each weighted by its speech, is the prediction for the recording.
        """
        groups = (tuple(group) for _, group in groupby(self.steps, lambda step: step.emotion))
        return tuple(joined(group) for group in groups)


def joined(steps: Sequence[TimedPrediction]) -> TimedPrediction:
    """Return neighbouring steps of one emotion, at least one, as one part."""
    first, last = steps[0], steps[-1]
    spoken = [(step.probabilities, step.speech_s) for step in steps if step.probabilities]
    if spoken:
        rows = np.array([list(probabilities.values()) for probabilities, _ in spoken])
        mean = geometric_mean(rows, np.array([seconds for _, seconds in spoken]))
        first = replace(first, probabilities=dict(zip(spoken[0][0], mean.tolist(), strict=True)))
    return replace(first, end_s=last.end_s, speech_s=sum(step.speech_s for step in steps))


def conclude(
    plan: Plan,
    probabilities: Probabilities,
    emotions: Sequence[str],
    decide: Callable[[EmotionProbabilities | None], str],
    notes: Sequence[str] = (),
    signal: Signal | None = None,
) -> RecordingPrediction:
    """Combine the predictions for a recording's windows.

    Args:
        plan: The windows.
        probabilities: Of ``plan.windows``, calibrated. float64 [W, K]
        emotions: K names.
        decide: Returns the emotion that follows from probabilities, `NO_SPEECH` from None.
        notes: What was done to make the recording usable.
        signal: How loud it is.
    """

    def by_emotion(row: Probabilities) -> EmotionProbabilities:
        return dict(zip(emotions, row.tolist(), strict=True))

    whole: EmotionProbabilities | None = None
    steps: list[EmotionProbabilities | None] = [None] * plan.num_steps
    if plan.windows:
        combined, rows = plan.combine(probabilities)
        whole = by_emotion(combined)
        steps = [
            by_emotion(row) if is_spoken else None
            for row, is_spoken in zip(rows, plan.is_spoken, strict=True)
        ]
    edges, rate = plan.step_edges.tolist(), plan.sample_rate
    return RecordingPrediction(
        emotion=decide(whole),
        probabilities=whole,
        duration_s=plan.duration_s,
        analysed_s=plan.analysed_s,
        speech_s=plan.speech_s,
        window_s=plan.timing.window / rate,
        hop_s=plan.timing.hop / rate,
        steps=tuple(
            TimedPrediction(start_s, end_s, speech_s, decide(each), each)
            for start_s, end_s, speech_s, each in zip(
                edges[:-1], edges[1:], plan.step_speech_s.tolist(), steps, strict=True
            )
        ),
        notes=tuple(notes),
        signal=signal,
    )
