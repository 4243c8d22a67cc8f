"""Live speech: samples in, every half a second what is heard in the last three."""

import numpy as np

from serct.runtime.arrays import PCM_SCALE, Floats

WINDOW_S, HOP_S = 3.0, 0.5


class Tape:
    """The last seconds of a stream of 16-bit samples.

    Attributes:
        sample_rate: In Hz.
        num_samples: How many came since the start.
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.num_samples = 0
        self._window = np.empty(0, np.float32)
        self._half = b""
        self._next = round(HOP_S * sample_rate)

    @property
    def now_s(self) -> float:
        """How long the stream is, in seconds."""
        return self.num_samples / self.sample_rate

    @property
    def is_due(self) -> bool:
        """Whether a hop has passed since the last `take`."""
        return self.num_samples >= self._next

    def add(self, message: bytes) -> None:
        """Add samples, little-endian; one cut in half between two messages is put together."""
        message = self._half + message
        whole = len(message) // 2 * 2
        message, self._half = message[:whole], message[whole:]
        samples = np.frombuffer(message, "<i2").astype(np.float32) / np.float32(PCM_SCALE)
        self.num_samples += len(samples)
        length = round(WINDOW_S * self.sample_rate)
        self._window = np.concatenate((self._window, samples))[-length:]

    def take(self) -> tuple[float, float, Floats]:
        """Give start, end and samples of the window that ends now.

        If more than one hop has passed, those between are left out: an answer for now is worth
        more than one for a while ago.
        """
        hop = round(HOP_S * self.sample_rate)
        self._next = (self.num_samples // hop + 1) * hop
        start_s = self.now_s - len(self._window) / self.sample_rate
        return start_s, self.now_s, self._window
