"""Decode with libsndfile where it can, as every version did, and with FFmpeg where it cannot.

Both start lossy formats where their library does: libsndfile and FFmpeg drop the samples that an
encoder put in front, where the file says how many these are.
"""

from collections.abc import Iterator
from typing import NamedTuple

import soundfile

from serct.data.decoding.view import View
from serct.errors import AudioError
from serct.runtime.arrays import Floats

_VALUES_AT_ONCE = 2**20
# libsndfile's number of frames if the header of a stream lacks it.
_UNKNOWN_FRAMES = 2**62


class Block(NamedTuple):
    """A piece of a recording.

    Attributes:
        sample_rate: In Hz.
        frames: float32 [n, channels], n > 0
    """

    sample_rate: int
    frames: Floats


def decode_with_libsndfile(view: View, longest_s: float) -> Iterator[Block]:
    """Yield the recording in a view.

    Args:
        view: The file.
        longest_s: A file that announces more is refused before it is decoded.

    Raises:
        AudioError: If it is too long, or holds fewer samples than it announces.
        soundfile.LibsndfileError: If it is not readable.
    """
    with soundfile.SoundFile(view) as file:
        is_estimate = file.subtype.startswith("MPEG") or file.frames >= _UNKNOWN_FRAMES
        announced = 0 if is_estimate else file.frames
        if announced > longest_s * file.samplerate:
            raise AudioError(
                f"{announced / file.samplerate:.1f} s long, expected at most {longest_s:g} s"
            )
        found = 0
        size = max(1, _VALUES_AT_ONCE // file.channels)
        while len(frames := file.read(size, "float32", always_2d=True)):
            found += len(frames)
            yield Block(file.samplerate, frames)
        if found < announced:
            raise AudioError(f"cut off, found {found} of {announced} announced samples")
