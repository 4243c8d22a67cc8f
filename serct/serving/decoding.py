"""A decoded recording, and the speech in it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serct.data.voice_activity import is_speech, speech_s
from serct.runtime.arrays import Floats


@dataclass(frozen=True, eq=False)
class DecodedAudio:
    """A decoded recording.

    Attributes:
        waveform: Mono, in [-1, 1]. float32 [N]
        sample_rate: In Hz.
        frames: True where somebody speaks, see `VoiceActivity`. bool [F]
        notes: What was done to make the file usable, a sentence each.
    """

    waveform: Floats
    sample_rate: int
    frames: npt.NDArray[np.bool_]
    notes: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.waveform) / self.sample_rate

    @property
    def speech_s(self) -> float:
        """Length of the speech in seconds, at most the duration."""
        return min(speech_s(self.frames), self.duration_s)

    @property
    def is_speech(self) -> bool:
        """Whether there is enough speech to predict an emotion."""
        return is_speech(self.frames)

    def part(self, start_s: float, end_s: float) -> Floats:
        """Return the samples between two times in seconds, at least one."""
        first = min(int(start_s * self.sample_rate), len(self.waveform) - 1)
        return self.waveform[first : max(first + 1, round(end_s * self.sample_rate))]
