"""How a recording is predicted as a whole: windows over its speech, and one rule to combine them.

A model takes rows of one length. A recording that is no longer is one window. A longer one is cut
into windows that overlap, those with speech are predicted, and the timeline and the prediction for
the recording come from the same windows: a step of the timeline has the mean of the windows that
cover its middle, and the recording has the mean of its steps, each weighted by its speech.

Shapes: F frames of voice activity, W windows that are predicted, S steps, K emotions.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from serct.data.voice_activity import FRAME_S, find_speech
from serct.runtime.arrays import Pcm, Probabilities

# Anything shorter than a short syllable is a click or a false detection.
LEAST_SPEECH_S = 0.2
# Of a step that is shorter than that.
_LEAST_SHARE = 0.3
# Of a probability, before its logarithm is taken.
SMALLEST = 1e-12
# Of a window: windows overlap by two thirds.
_HOP = 1 / 3

Times = npt.NDArray[np.float64]
Frames = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Timing:
    """Lengths in samples.

    Attributes:
        window: Of a window; the last one may be shorter.
        hop: From the start of a window to that of the next, and of a step of the timeline.
    """

    window: int
    hop: int

    @classmethod
    def of_rows(cls, num_samples: int) -> "Timing":
        """Return the timing for a model whose rows have that many samples."""
        return cls(num_samples, max(1, round(num_samples * _HOP)))


@dataclass(frozen=True, eq=False)
class Plan:
    """Which windows of a recording are predicted, and how they are combined.

    Attributes:
        num_samples: Of the recording.
        sample_rate: In Hz.
        timing: Length and distance of the windows.
        frames: Where somebody speaks, see `serct.data.voice_activity`; None if nobody looked:
            then all of the recording counts alike. bool [F]
    """

    num_samples: int
    sample_rate: int
    timing: Timing
    frames: Frames | None = None

    @property
    def duration_s(self) -> float:
        """Length of the recording."""
        return self.num_samples / self.sample_rate

    @property
    def num_steps(self) -> int:
        """S, at least 1."""
        return max(1, math.ceil(self.num_samples / self.timing.hop))

    @cached_property
    def step_edges(self) -> Times:
        """Where steps begin and end, in seconds. float64 [S + 1]."""
        samples = np.minimum(np.arange(self.num_steps + 1) * self.timing.hop, self.num_samples)
        return samples / self.sample_rate

    @cached_property
    def step_speech_s(self) -> Times:
        """Speech in each step, in seconds; without voice activity its length. float64 [S]."""
        edges = self.step_edges
        if self.frames is None:
            return np.diff(edges)
        # The last frame is filled up with silence.
        ends = np.minimum(np.arange(len(self.frames) + 1) * FRAME_S, self.duration_s)
        before = np.concatenate(([0.0], np.cumsum(self.frames * np.diff(ends))))
        return np.diff(np.interp(edges, ends, before))

    @property
    def speech_s(self) -> float:
        """Speech in the recording, in seconds; without voice activity its length."""
        return float(self.step_speech_s.sum())

    @cached_property
    def is_spoken(self) -> Frames:
        """Whether a step has enough speech for a prediction. bool [S].

        At least 0.2 s, or 30 % of a shorter step; where no step has that but the recording does,
        all steps with speech.
        """
        spoken = self.has_enough_speech
        if not spoken.any() and self.speech_s >= LEAST_SPEECH_S:
            return np.asarray(self.step_speech_s > 0)
        return spoken

    @cached_property
    def has_enough_speech(self) -> Frames:
        """Whether a step has enough speech, whatever the others have. bool [S]."""
        if self.frames is None:
            return np.ones(self.num_steps, bool)
        speech = self.step_speech_s
        spoken = speech >= np.minimum(LEAST_SPEECH_S, _LEAST_SHARE * np.diff(self.step_edges))
        return np.asarray(spoken & (speech > 0))

    @cached_property
    def windows(self) -> list[tuple[int, int]]:
        """Start and end of each window to predict, in samples: those that cover a spoken step."""
        starts = [number * self.timing.hop for number in self._places]
        return [(start, min(start + self.timing.window, self.num_samples)) for start in starts]

    @property
    def analysed_s(self) -> float:
        """Length of what the windows cover together, in seconds."""
        total, reached = 0, 0
        for start, end in self.windows:
            total += end - max(start, reached)
            reached = end
        return total / self.sample_rate

    def combine(self, probabilities: Probabilities) -> tuple[Probabilities, Probabilities]:
        """Compute the prediction for the recording, and that of each step.

        Args:
            probabilities: Of `windows`, calibrated, at least one. float64 [W, K]

        Returns:
            float64 [K], and float64 [S, K], whose rows are NaN where a step has no speech.
        """
        steps = np.full((self.num_steps, probabilities.shape[1]), np.nan)
        if len(probabilities) == 1:
            # Nothing to combine, so not a bit changes.
            steps[self.is_spoken] = probabilities
            return probabilities[0], steps
        logs = np.log(np.maximum(probabilities, SMALLEST))
        for step, (first, end) in self._covers.items():
            place = self._places[first]
            steps[step] = logs[place : place + end - first].mean(axis=0)
        spoken = self.is_spoken
        steps[spoken] = _softmax(steps[spoken])
        return geometric_mean(steps[spoken], self.step_speech_s[spoken]), steps

    @property
    def window_weights(self) -> Times:
        """How much the log-probabilities of each window count for the recording.

        Summed with these weights, whose own sum is 1, they are what `combine` returns first, but
        for a constant: for programs that need gradients. float64 [W].
        """
        weights = np.zeros(len(self._places))
        speech = self.step_speech_s
        for step, (first, end) in self._covers.items():
            place = self._places[first]
            weights[place : place + end - first] += speech[step] / (end - first)
        total: float = weights.sum()
        return weights / total

    @property
    def window_numbers(self) -> tuple[int, ...]:
        """The number of each of `windows`, counted from the start of the recording."""
        return tuple(self._places)

    @cached_property
    def _places(self) -> dict[int, int]:
        """The place in `windows` of each window to predict, by its number from the start."""
        numbers = (number for cover in self._covers.values() for number in range(*cover))
        return {number: place for place, number in enumerate(dict.fromkeys(numbers))}

    @cached_property
    def _covers(self) -> dict[int, tuple[int, int]]:
        """For each spoken step, the first of the windows that cover its middle and the end of them.

        They are numbered from the start of the recording.
        """
        return {step: self.cover(step) for step in np.flatnonzero(self.is_spoken).tolist()}

    def cover(self, step: int) -> tuple[int, int]:
        """Return the first of the windows that cover the middle of a step, and the end of them."""
        window, hop = self.timing.window, self.timing.hop
        last = max(0, math.ceil((self.num_samples - window) / hop))
        middle = (step * hop + min((step + 1) * hop, self.num_samples)) / 2
        first = max(0, math.floor((middle - window) / hop) + 1)
        return min(first, last), min(math.floor(middle / hop), last) + 1


def plan_recording(
    num_samples: int, sample_rate: int, timing: Timing, read: Callable[[], Pcm]
) -> Plan:
    """Plan windows with speech; where nobody speaks, or in a single window, all counts.

    Args:
        num_samples: Of the recording.
        sample_rate: In Hz.
        timing: Length and distance of the windows.
        read: Returns the recording, if its speech must be found. int16 [num_samples]
    """
    plan = Plan(num_samples, sample_rate, timing)
    if num_samples <= timing.window:
        return plan
    spoken = replace(plan, frames=find_speech([read()], sample_rate))
    return spoken if spoken.windows else plan


def geometric_mean(probabilities: Probabilities, weights: Times) -> Probabilities:
    """Compute the weighted mean of log-probabilities, as probabilities.

    Args:
        probabilities: float64 [n, K]
        weights: Above 0. float64 [n]

    Returns:
        With sum 1. float64 [K]

    Example:
        >>> geometric_mean(np.array([[0.9, 0.1], [0.5, 0.5]]), np.array([1.0, 1.0])).round(2)
        array([0.75, 0.25])
    """
    if len(probabilities) == 1:
        return np.asarray(probabilities[0])
    logs = np.log(np.maximum(probabilities, SMALLEST))
    return _softmax(weights @ logs / weights.sum())


def _softmax(logs: Probabilities) -> Probabilities:
    """Return probabilities from their logarithms, but for a constant. [..., K] -> [..., K].

    SciPy's own does the same; this file is part of exports too, which have no SciPy.
    """
    shares = np.exp(logs - logs.max(axis=-1, keepdims=True))
    found: Probabilities = shares / shares.sum(axis=-1, keepdims=True)
    return found


def cut_windows(pieces: Iterable[Pcm], windows: Sequence[tuple[int, int]]) -> Iterator[Pcm]:
    """Yield the samples of windows, which are in order, from a recording that comes in pieces."""
    kept, offset = np.empty(0, np.int16), 0
    waiting = deque(windows)
    for piece in pieces:
        if not waiting:
            return
        kept = np.concatenate((kept, piece))
        end = offset + len(kept)
        while waiting and waiting[0][1] <= end:
            start, stop = waiting.popleft()
            yield kept[start - offset : stop - offset]
        unused = min(len(kept), (waiting[0][0] if waiting else end) - offset)
        kept, offset = kept[unused:], offset + unused
