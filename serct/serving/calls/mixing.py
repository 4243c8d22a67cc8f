"""From the channels of a recording that arrives to the waveforms that are analysed."""

import numpy as np

from serct.data.decoding.level import Level, Mixing
from serct.data.voice_activity import PART_S
from serct.runtime.arrays import Floats

# Smaller blocks of a live recording wait for more.
_LEAST_S = 1.0


class ArrivingMixer:
    """Mixes frames by the rules of `serct.data.decoding.level`.

    The rules look at a whole recording. Here they look at its first minute, after which the first
    samples are given: a shorter recording is mixed as `/v1/predict` does it.

    Attributes:
        num_waveforms: One, or as many as channels if each is a waveform of its own.
    """

    def __init__(self, sample_rate: int, num_channels: int, *, is_separate: bool) -> None:
        """Begin a recording.

        Args:
            sample_rate: In Hz.
            num_channels: Of its frames.
            is_separate: Whether each channel is a waveform of its own.
        """
        channels = [slice(each, each + 1) for each in range(num_channels)]
        self._channels = channels if is_separate else [slice(None)]
        self.num_waveforms = len(self._channels)
        self._levels = [Level() for _ in self._channels]
        self._mixings: list[Mixing] = []
        self._notes: list[tuple[str, ...]] = []
        self._waiting: list[Floats] = []
        self._num_waiting = 0
        self._head, self._least = PART_S * sample_rate, int(_LEAST_S * sample_rate)

    def add(self, frames: Floats) -> list[Floats]:
        """Return what is ready of each waveform after the next frames, none of any or of all.

        Args:
            frames: float32 [n, channels]

        Raises:
            AudioError: If samples are not finite, or in another unit than full scale = 1.
        """
        for level, channel in zip(self._levels, self._channels, strict=True):
            level.add(frames[:, channel])
        self._waiting.append(frames)
        self._num_waiting += len(frames)
        if self._num_waiting < (self._least if self._mixings else self._head):
            return []
        return self._take()

    def end(self) -> list[Floats]:
        """Return the rest of each waveform.

        Raises:
            AudioError: As `add`.
        """
        rest = self._take() if self._num_waiting else []
        for level in self._levels:
            level.decide()  # refuses another unit, which may show late
        return rest

    def notes(self, waveform: int) -> tuple[str, ...]:
        """Return what is unusual in a waveform, a sentence each."""
        return self._notes[waveform] if self._notes else ()

    def _take(self) -> list[Floats]:
        if not self._mixings:
            decided = [level.decide() for level in self._levels]
            self._mixings = [mixing for mixing, _ in decided]
            self._notes = [notes for _, notes in decided]
        frames = np.concatenate(self._waiting)
        self._waiting, self._num_waiting = [], 0
        return [
            mixing.apply(np.ascontiguousarray(frames[:, channel]))
            for mixing, channel in zip(self._mixings, self._channels, strict=True)
        ]
