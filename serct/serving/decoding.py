"""Decode a client's file within limits, and find the speech in it."""

from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from serct.data.audio import Limits, read_recording
from serct.data.voice_activity import VoiceActivity, is_speech, speech_s
from serct.errors import AudioError
from serct.runtime.arrays import Floats

# Of one channel: 120 MB after decoding. Ten minutes at 48 kHz fit.
_MAX_SAMPLES = 30_000_000
# Full scale is 1; floats may exceed it a little.
_MAX_LEVEL = 100.0


@dataclass(frozen=True, eq=False)
class DecodedAudio:
    """A decoded recording.

    Attributes:
        waveform: Mono, in [-1, 1]. float32 [N]
        sample_rate: In Hz.
        frames: True where somebody speaks, see `VoiceActivity`. bool [F]
    """

    waveform: Floats
    sample_rate: int
    frames: npt.NDArray[np.bool_]

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


def decode(
    source: BinaryIO, name: str, max_duration_s: float, voice_activity: VoiceActivity
) -> DecodedAudio:
    """Decode a file and find the speech in it. Silence is accepted: it has no speech.

    Args:
        source: An open file that can seek.
        name: What errors call the file.
        max_duration_s: Longest file that is accepted.
        voice_activity: Finds the speech.

    Raises:
        AudioError: If the file is not usable audio, too long, or has too many samples.
    """
    limits = Limits(silence_peak=None, max_duration_s=max_duration_s)
    recording = read_recording(source, limits, name, mono=True, max_samples=_MAX_SAMPLES)
    waveform, rate = recording.waveform, recording.sample_rate
    if np.abs(waveform).max() > _MAX_LEVEL:
        raise AudioError(f"{name}: samples reach beyond {_MAX_LEVEL:g}, expected -1 to 1")
    return DecodedAudio(waveform, rate, voice_activity(waveform, rate))
