"""Emotions along a recording: windows, a mean over those that overlap, segments, subtitles."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serct.inference.predictor import Answer
from serct.inference.voice_activity import FRAME_S

# Of a step, to count as speech.
_LEAST_SHARE = 0.3


@dataclass(frozen=True)
class Plan:
    """How a recording is cut into windows.

    Attributes:
        duration_s: Of the recording.
        window_s: Length of each window; the last ones end with the recording.
        hop_s: From one window to the next, and length of a step of the timeline.
    """

    duration_s: float
    window_s: float
    hop_s: float

    @property
    def num_steps(self) -> int:
        """Steps of the timeline."""
        return max(1, math.ceil(self.duration_s / self.hop_s - 1e-9))

    def windows(self) -> list[tuple[float, float]]:
        """List start and end of each window, in seconds; the last one reaches the end."""
        last = max(0, math.ceil((self.duration_s - self.window_s) / self.hop_s - 1e-9))
        starts = [number * self.hop_s for number in range(last + 1)]
        return [(start, min(start + self.window_s, self.duration_s)) for start in starts]

    def step(self, number: int) -> tuple[float, float]:
        """Give start and end of a step."""
        return number * self.hop_s, min((number + 1) * self.hop_s, self.duration_s)


def between(frames: npt.NDArray[np.bool_], start_s: float, end_s: float) -> npt.NDArray[np.bool_]:
    """Give the frames of voice activity of a stretch, at least one."""
    first = min(int(start_s / FRAME_S), max(len(frames) - 1, 0))
    return frames[first : max(first + 1, math.ceil(end_s / FRAME_S - 1e-9))]


def smooth(
    plan: Plan, answers: Sequence[Answer | None], frames: npt.NDArray[np.bool_]
) -> list[Answer | None]:
    """Give each step the mean of the windows that cover it.

    Args:
        plan: Says where windows and steps lie.
        answers: Of each window; None where nobody speaks.
        frames: Voice activity of the recording.

    Returns:
        One of each step; None where nobody speaks.
    """
    windows = plan.windows()
    steps: list[Answer | None] = []
    for number in range(plan.num_steps):
        start, end = plan.step(number)
        middle = (start + end) / 2
        covering = [
            answer
            for (first, last), answer in zip(windows, answers, strict=True)
            if answer is not None and first <= middle < last
        ]
        if not covering or between(frames, start, end).mean() < _LEAST_SHARE:
            steps.append(None)
        else:
            steps.append(
                {key: sum(each[key] for each in covering) / len(covering) for key in covering[0]}
            )
    return steps


def webvtt(segments: Sequence[tuple[float, float, str]]) -> str:
    """Write segments (start, end, text) as subtitles.

    Source:
        W3C, WebVTT: The Web Video Text Tracks Format, section 4.1.
    """
    cues = [f"{_clock(start)} --> {_clock(end)}\n{text}\n" for start, end, text in segments]
    return "\n".join(["WEBVTT\n", *cues])


def _clock(seconds: float) -> str:
    ms = round(1000 * seconds)
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"
