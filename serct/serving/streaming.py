"""The buffer of a live stream: every half second, the window of the last three seconds."""

import numpy as np

from serct.runtime.arrays import PCM_SCALE, Floats

WINDOW_S, HOP_S = 3.0, 0.5


class AudioBuffer:
    """The last seconds of a stream of 16-bit samples.

    Attributes:
        sample_rate: In Hz.
        num_samples: Samples since the start of the stream.
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.num_samples = 0
        self._window = np.empty(0, np.float32)
        self._half = b""
        self._next = round(HOP_S * sample_rate)

    @property
    def now_s(self) -> float:
        """Length of the stream so far, in seconds."""
        return self.num_samples / self.sample_rate

    @property
    def is_due(self) -> bool:
        """Whether a hop has passed since the last `take`."""
        return self.num_samples >= self._next

    def add(self, message: bytes) -> None:
        """Add little-endian samples; one that is split between two messages is joined."""
        message = self._half + message
        whole = len(message) // 2 * 2
        message, self._half = message[:whole], message[whole:]
        samples = np.frombuffer(message, "<i2").astype(np.float32) / np.float32(PCM_SCALE)
        self.num_samples += len(samples)
        length = round(WINDOW_S * self.sample_rate)
        self._window = np.concatenate((self._window, samples))[-length:]

    def take(self) -> tuple[float, float, Floats]:
        """Return start and end in seconds, and samples, of the window that ends now.

        If more than one hop has passed, the windows between are skipped, so that a slow model
        does not fall behind the stream.
        """
        hop = round(HOP_S * self.sample_rate)
        self._next = (self.num_samples // hop + 1) * hop
        start_s = self.now_s - len(self._window) / self.sample_rate
        return start_s, self.now_s, self._window
