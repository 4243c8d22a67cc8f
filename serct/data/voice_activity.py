"""Voice activity: a small network that finds speech in a recording."""

from collections.abc import Iterable, Iterator
from functools import cached_property
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
_PART_S = 60


class VoiceActivity:
    """Silero VAD, which takes neither tones, noise nor most music for speech.

    Source:
        Silero Team, Silero VAD, https://github.com/snakers4/silero-vad, MIT licence.
    """

    def __call__(self, pieces: Iterable[Pcm], sample_rate: int) -> npt.NDArray[np.bool_]:
        """Compute for each 32 ms whether somebody speaks.

        Args:
            pieces: A recording as `serct.data.preparing` makes it, in pieces of any length.
            sample_rate: In Hz.

        Returns:
            bool [about N / (0.032 * sample_rate)], the last frame filled up with silence.
        """
        return np.concatenate(
            [self._find(part, sample_rate) for part in _parts(pieces, _PART_S * sample_rate)]
        )

    def _find(self, pcm: Pcm, sample_rate: int) -> npt.NDArray[np.bool_]:
        waveform = pcm.astype(np.float32) / np.float32(PCM_SCALE)
        at_16_khz = resample(waveform, sample_rate, _RATE_HZ, "soxr")
        probabilities: Floats = self._network.audio_forward(at_16_khz)
        return probabilities > _THRESHOLD

    def load(self) -> None:
        """Load the network now, not at the first call.

        Raises:
            BackendUnavailableError: If its package is not installed.
        """
        _ = self._network

    @cached_property
    def _network(self) -> Any:
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
