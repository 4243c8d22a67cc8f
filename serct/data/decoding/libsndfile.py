"""Decode with libsndfile, where it can, as every version did.

Lossy formats start where the library starts them: it drops the samples that an encoder put in
front, where the file says how many these are.
"""

from collections.abc import Iterator
from typing import NamedTuple

import soundfile

from serct.data.decoding.view import View
from serct.errors import AudioError
from serct.runtime.arrays import Floats

VALUES_AT_ONCE = 2**20
# libsndfile's number of frames if the header of a stream lacks it.
_UNKNOWN_FRAMES = 2**62


class Block(NamedTuple):
    """A piece of a recording.

    Attributes:
        sample_rate: In Hz.
        frames: float32 [n, channels], n > 0
        num_streams: Audio streams of the file; these frames are of the first.
    """

    sample_rate: int
    frames: Floats
    num_streams: int = 1


def decode_with_libsndfile(
    view: View, longest_s: float, max_samples: float, least_frames: int = 0
) -> Iterator[Block] | None:
    """Open a view and return the recording in it, or None if libsndfile cannot read it whole.

    Args:
        view: The file.
        longest_s: A file that announces more is refused before it is decoded.
        max_samples: The same in samples of a channel.
        least_frames: How many samples a channel has at least.

    Raises:
        AudioError: If it is too long, or holds fewer samples than it announces.
    """
    view.seek(0)
    try:
        file = soundfile.SoundFile(view)
    except soundfile.LibsndfileError:
        return None
    # It reads no more of MPEG audio than it estimates from the first frames.
    if file.frames < least_frames:
        file.close()
        return None
    return _blocks(file, min(longest_s, max_samples / file.samplerate))


def _blocks(file: soundfile.SoundFile, longest_s: float) -> Iterator[Block]:
    with file:
        is_estimate = file.subtype.startswith("MPEG") or file.frames >= _UNKNOWN_FRAMES
        announced = 0 if is_estimate else file.frames
        if announced > longest_s * file.samplerate:
            raise AudioError(
                f"{announced / file.samplerate:.1f} s long, expected at most {longest_s:g} s"
            )
        found = 0
        size = max(1, VALUES_AT_ONCE // file.channels)
        while len(frames := _read(file, size)):
            found += len(frames)
            yield Block(file.samplerate, frames)
        if found < announced:
            raise AudioError(f"cut off, found {found} of {announced} announced samples")


def _read(file: soundfile.SoundFile, size: int) -> Floats:
    try:
        frames: Floats = file.read(size, "float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"cut off or damaged ({error.error_string.rstrip('.')})") from error
    return frames
