"""Decode a client's file within limits."""

from dataclasses import dataclass
from typing import BinaryIO

from serct.data.audio import Limits, read_recording
from serct.runtime.arrays import Floats

# Of one channel: 120 MB after decoding. Ten minutes at 48 kHz fit.
_MAX_SAMPLES = 30_000_000


@dataclass(frozen=True, eq=False)
class DecodedAudio:
    """A decoded recording.

    Attributes:
        waveform: Mono, in [-1, 1]. float32 [N]
        sample_rate: In Hz.
        notes: What was done to make it usable, in sentences.
    """

    waveform: Floats
    sample_rate: int
    notes: tuple[str, ...] = ()


def decode(source: BinaryIO, name: str, max_duration_s: float) -> DecodedAudio:
    """Decode a file. Silence is accepted: it has no speech.

    Args:
        source: An open file that can seek.
        name: What errors call the file.
        max_duration_s: Longest file that is accepted.

    Raises:
        AudioError: If the file is not usable audio, too long, or has too many samples.
    """
    limits = Limits(silence_peak=None, max_duration_s=max_duration_s)
    found = read_recording(source, limits, name, mono=True, max_samples=_MAX_SAMPLES)
    return DecodedAudio(found.waveform, found.sample_rate, found.notes)
