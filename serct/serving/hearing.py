"""From a client's file to samples: decoded within limits, speech told from the rest."""

from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from serct.config.params import CheckParams
from serct.data.audio import read_recording
from serct.errors import AudioError
from serct.inference.voice_activity import VoiceActivity, is_speech, speech_s
from serct.runtime.arrays import Floats

# Of one channel, decoded: 120 MB. Ten minutes at 48 kHz fit.
_MOST_SAMPLES = 30_000_000
# Full scale is 1; floats may exceed it a little.
_LOUDEST = 100.0


@dataclass(frozen=True, eq=False)
class Heard:
    """A recording, decoded.

    Attributes:
        waveform: Mono, in [-1, 1]. float32 [N]
        sample_rate: In Hz.
        frames: Where somebody speaks, see `VoiceActivity`. bool [F]
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
        """How long somebody speaks, in seconds; at most all the time."""
        return min(speech_s(self.frames), self.duration_s)

    @property
    def is_speech(self) -> bool:
        """Whether there is enough speech to hear an emotion in."""
        return is_speech(self.frames)

    def part(self, start_s: float, end_s: float) -> Floats:
        """Give the samples between two moments, at least one."""
        first = min(int(start_s * self.sample_rate), len(self.waveform) - 1)
        return self.waveform[first : max(first + 1, round(end_s * self.sample_rate))]


def hear(
    source: BinaryIO, name: str, max_duration_s: float, voice_activity: VoiceActivity
) -> Heard:
    """Decode a file and find the speech in it.

    Args:
        source: An open file that can seek.
        name: What errors call it.
        max_duration_s: A longer one is refused, as is one that unfolds into too many samples.
        voice_activity: Finds the speech.

    Raises:
        AudioError: If it is not usable audio. Silence is usable: there is no speech in it.
    """
    checks = CheckParams(silence_peak=None, max_duration_s=max_duration_s, max_rejected=0)
    recording = read_recording(source, checks, name, mono=True, max_samples=_MOST_SAMPLES)
    waveform, rate = recording.waveform, recording.sample_rate
    if np.abs(waveform).max() > _LOUDEST:
        raise AudioError(f"{name}: samples reach beyond {_LOUDEST:g}, expected -1 to 1")
    return Heard(waveform, rate, voice_activity(waveform, rate))
