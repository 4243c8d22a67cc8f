"""Voice activity in a stream, as it arrives."""

import numpy as np
import soxr
from torch import Tensor

from serct.data.voice_activity import load_network
from serct.runtime.arrays import Floats

_RATE_HZ = 16_000
# Of 32 ms, and the end of the frame before, which the network looks at as well.
_FRAME, _CONTEXT = 512, 64
# In one call of the network: 16 s.
_MAX_FRAMES = 500


class SpeechProbabilities:
    """Computes for each 32 ms of a stream how probable it is that somebody speaks.

    It carries on the network's state and the resampler's, so that each sample is looked at once,
    and however a stream is cut, the numbers are those for all of it at once, but for rounding.

    Source:
        Silero Team, Silero VAD, https://github.com/snakers4/silero-vad, MIT licence.
    """

    def __init__(self, sample_rate: int) -> None:
        self._network = load_network()
        self._resampler = (
            None
            if sample_rate == _RATE_HZ
            else soxr.ResampleStream(sample_rate, _RATE_HZ, 1, dtype="float32", quality="HQ")
        )
        self._rest = np.empty(0, np.float32)
        self._context = np.zeros(_CONTEXT, np.float32)
        self._state: tuple[Tensor, Tensor] | None = None

    def add(self, waveform: Floats) -> Floats:
        """Return the probabilities of the frames that the next samples complete.

        Args:
            waveform: Mono, in [-1, 1]. float32 [n]

        Returns:
            0 to 1. float32 [frames]
        """
        if self._resampler is not None:
            waveform = self._resampler.resample_chunk(np.ascontiguousarray(waveform))
        waveform = np.concatenate((self._rest, waveform))
        num_frames = len(waveform) // _FRAME
        self._rest = waveform[num_frames * _FRAME :]
        frames = waveform[: num_frames * _FRAME].reshape(-1, _FRAME)
        found = [
            self._compute(frames[first : first + _MAX_FRAMES])
            for first in range(0, num_frames, _MAX_FRAMES)
        ]
        return np.concatenate(found) if found else np.empty(0, np.float32)

    def _compute(self, frames: Floats) -> Floats:
        contexts = np.concatenate((self._context[None], frames[:-1, -_CONTEXT:]))
        self._context = frames[-1, -_CONTEXT:].copy()
        seen = np.concatenate((contexts, frames), axis=1)
        probabilities, self._state = self._network.go_on(seen, self._state)
        return probabilities
