"""Voice activity: a small network that finds speech in recordings."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serct.data.preparing import resample
from serct.errors import BackendUnavailableError
from serct.runtime.arrays import PCM_SCALE, Floats, Pcm

if TYPE_CHECKING:
    from serct.data.silero import SpeechNetwork

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
    parts = (find_speech_in([part], sample_rate)[0] for part in _parts(pieces, sample_rate))
    return np.concatenate(list(parts))


def find_speech_in(recordings: Sequence[Pcm], sample_rate: int) -> list[npt.NDArray[np.bool_]]:
    """Compute what `find_speech` does for each of several recordings, all at once.

    Args:
        recordings: At least one, as `serct.data.preparing` makes them. int16 [N > 0] each
        sample_rate: Of all, in Hz.

    Returns:
        bool [about N / (0.032 * sample_rate)] each

    Raises:
        BackendUnavailableError: If the network's package is not installed.
    """
    network = load_network()
    parts = [list(_parts([each], sample_rate)) for each in recordings]
    waveforms = [_waveform(part, sample_rate) for each in parts for part in each]
    spoken = [each > _THRESHOLD for each in network(waveforms)]
    edges = accumulate(map(len, parts), initial=0)
    return [np.concatenate(spoken[first:end]) for first, end in pairwise(edges)]


@cache
def load_network() -> "SpeechNetwork":
    """Load the network, once in a process.

    Raises:
        BackendUnavailableError: If its package is not installed.
    """
    # The package itself is not imported: it sets the number of torch's threads to one, for all.
    package = find_spec("silero_vad")
    if package is None or package.origin is None:
        raise BackendUnavailableError("voice activity needs a package: pip install silero-vad")
    from serct.data.silero import SpeechNetwork

    return SpeechNetwork(Path(package.origin).with_name("data") / "silero_vad.jit")


def _waveform(pcm: Pcm, sample_rate: int) -> Floats:
    waveform = pcm.astype(np.float32) / np.float32(PCM_SCALE)
    return resample(waveform, sample_rate, _RATE_HZ, "soxr")


def _parts(pieces: Iterable[Pcm], sample_rate: int) -> Iterator[Pcm]:
    """Divide samples anew, into parts of one length; the last one may be shorter."""
    length = PART_S * sample_rate
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
