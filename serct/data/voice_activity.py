"""Voice activity: a small network that finds speech in a recording."""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from serct.data.preparing import resample
from serct.errors import BackendUnavailableError
from serct.runtime.arrays import PCM_SCALE, Floats, Pcm

FRAME_S = 0.032
_RATE_HZ = 16_000
_THRESHOLD = 0.5
# Longer recordings are looked through in parts, so that memory does not depend on their length. A
# whole number of frames at any rate.
PART_S = 60


def find_speech(pieces: Iterable[Pcm], sample_rate: int) -> npt.NDArray[np.bool_]:
    """Compute for each 32 ms of a recording whether somebody speaks.

    Silero VAD takes neither tones, noise nor most music for speech.

    Args:
        pieces: The recording as `serct.data.preparing` makes it, in pieces of any length.
        sample_rate: In Hz.

    Returns:
        bool [about N / (0.032 * sample_rate)], the last frame filled up with silence.

    Raises:
        BackendUnavailableError: If the network's package is not installed.

    Source:
        Silero Team, Silero VAD, https://github.com/snakers4/silero-vad, MIT licence.
    """
    network = load_network()
    found = []
    for pcm in _parts(pieces, PART_S * sample_rate):
        waveform = pcm.astype(np.float32) / np.float32(PCM_SCALE)
        probabilities: Floats = network.audio_forward(
            resample(waveform, sample_rate, _RATE_HZ, "soxr")
        )
        found.append(probabilities > _THRESHOLD)
    return np.concatenate(found)


@cache
def load_network() -> Any:
    """Load the network, once in a process.

    Raises:
        BackendUnavailableError: If its package is not installed.
    """
    import torch

    num_threads = torch.get_num_threads()
    try:
        from silero_vad import load_silero_vad

        return load_silero_vad(sequence=True)
    except ImportError as error:
        raise BackendUnavailableError(
            f"voice activity needs a package: {error}: pip install silero-vad onnxruntime"
        ) from error
    finally:
        torch.set_num_threads(num_threads)  # the package sets it to one, for all


def _parts(pieces: Iterable[Pcm], length: int) -> Iterator[Pcm]:
    """Divide samples anew, into parts of one length; the last one may be shorter."""
    waiting: list[Pcm] = []
    num_waiting = 0
    for piece in pieces:
        waiting.append(piece)
        num_waiting += len(piece)
        if num_waiting >= length:
            joined = np.concatenate(waiting)
            cut = len(joined) // length * length
            yield from np.split(joined[:cut], cut // length)
            waiting, num_waiting = [joined[cut:]], len(joined) - cut
    if num_waiting:
        yield np.concatenate(waiting)
