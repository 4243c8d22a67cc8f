"""Emotions along a recording: windows, their mean where they overlap, subtitles."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serct.data.voice_activity import FRAME_S
from serct.inference.predictor import EmotionProbabilities

# Share of a step's frames that must be speech.
_MIN_SPEECH = 0.3


@dataclass(frozen=True)
class Plan:
    """How a recording is cut into windows.

    Attributes:
        duration_s: Length of the recording.
        window_s: Length of each window; the last one may be shorter.
        hop_s: Distance between the starts of two windows, and length of a step of the timeline.
    """

    duration_s: float
    window_s: float
    hop_s: float

    @property
    def num_steps(self) -> int:
        """Number of steps of the timeline."""
        return max(1, math.ceil(self.duration_s / self.hop_s - 1e-9))

    def windows(self) -> list[tuple[float, float]]:
        """Return start and end of each window, in seconds; the last one ends the recording."""
        last = max(0, math.ceil((self.duration_s - self.window_s) / self.hop_s - 1e-9))
        starts = [number * self.hop_s for number in range(last + 1)]
        return [(start, min(start + self.window_s, self.duration_s)) for start in starts]

    def step(self, number: int) -> tuple[float, float]:
        """Return start and end of a step, in seconds."""
        return number * self.hop_s, min((number + 1) * self.hop_s, self.duration_s)


def between(frames: npt.NDArray[np.bool_], start_s: float, end_s: float) -> npt.NDArray[np.bool_]:
    """Return the frames of voice activity between two times in seconds, at least one."""
    first = min(int(start_s / FRAME_S), max(len(frames) - 1, 0))
    return frames[first : max(first + 1, math.ceil(end_s / FRAME_S - 1e-9))]


def mean_probabilities(each: Sequence[EmotionProbabilities]) -> EmotionProbabilities:
    """Return the mean of one or more predictions, emotion by emotion."""
    return {emotion: sum(one[emotion] for one in each) / len(each) for emotion in each[0]}


def smooth(
    plan: Plan, by_window: Sequence[EmotionProbabilities | None], frames: npt.NDArray[np.bool_]
) -> list[EmotionProbabilities | None]:
    """Compute the mean of the windows over each step.

    Args:
        plan: The windows and steps.
        by_window: Probabilities of each window; None without speech.
        frames: Voice activity of the recording. bool [F]

    Returns:
        Probabilities of each step; None without speech.
    """
    windows = plan.windows()
    by_step: list[EmotionProbabilities | None] = []
    for number in range(plan.num_steps):
        start, end = plan.step(number)
        middle = (start + end) / 2
        covering = [
            probabilities
            for (first, last), probabilities in zip(windows, by_window, strict=True)
            if probabilities is not None and first <= middle < last
        ]
        is_spoken = covering and between(frames, start, end).mean() >= _MIN_SPEECH
        by_step.append(mean_probabilities(covering) if is_spoken else None)
    return by_step


def webvtt(segments: Sequence[tuple[float, float, str]]) -> str:
    """Return segments (start, end, text) as subtitles.

    Source:
        W3C, WebVTT: The Web Video Text Tracks Format, section 4.1.
    """
    cues = [f"{_clock(start)} --> {_clock(end)}\n{text}\n" for start, end, text in segments]
    return "\n".join(["WEBVTT\n", *cues])


def _clock(seconds: float) -> str:
    ms = round(1000 * seconds)
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"
