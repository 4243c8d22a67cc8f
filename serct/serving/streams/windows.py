"""The fixed steps of a stream: at every hop, the window that ends now."""

import numpy as np

from serct.runtime.arrays import Floats
from serct.serving.streams.messages import HOP_S, WINDOW_S


class AudioBuffer:
    """The last seconds of a stream.

    Attributes:
        sample_rate: In Hz.
        num_samples: Samples since the start of the stream.
    """

    def __init__(self, sample_rate: int, hop_s: float = HOP_S) -> None:
        self.sample_rate = sample_rate
        self.num_samples = 0
        self._window = np.empty(0, np.float32)
        self._hop = round(hop_s * sample_rate)
        self._next = self._hop

    @property
    def now_s(self) -> float:
        """Length of the stream so far, in seconds."""
        return self.num_samples / self.sample_rate

    @property
    def is_due(self) -> bool:
        """Whether a hop has passed since the last `take`."""
        return self.num_samples >= self._next

    def add(self, waveform: Floats) -> None:
        """Add the next samples, float32 [n]."""
        self.num_samples += len(waveform)
        length = round(WINDOW_S * self.sample_rate)
        self._window = np.concatenate((self._window, waveform[-length:]))[-length:]

    def take(self) -> tuple[float, float, Floats]:
        """Return start and end in seconds, and samples, of the window that ends now.

        If more than one hop has passed, the windows between are skipped, so that a slow model
        does not fall behind the stream.
        """
        self._next = (self.num_samples // self._hop + 1) * self._hop
        start_s = self.now_s - len(self._window) / self.sample_rate
        return start_s, self.now_s, self._window
