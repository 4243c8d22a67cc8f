"""From decoded channels to the one waveform that models get: the rules for mixing and for range."""

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from serct.errors import AudioError
from serct.runtime.arrays import Features, Floats

# The mix of uncorrelated channels has a certain power, also where one of eight is live. Where it
# has less than a quarter of that, the channels cancel: for two equally loud ones that is a
# correlation below -0.75, which a reversed plug makes and two microphones in a room do not.
_CANCELLED_BELOW = 0.25
# Floats and lossy codecs may pass full scale: 12 dB of it is a level, more is another unit.
_HIGHEST_PEAK = 4.0
_LEAST_PEAK_OF_INTEGERS = 256
_SIZES_OF_INTEGERS = (16, 24, 32)


@dataclass(frozen=True)
class Mixing:
    """How frames become a waveform.

    Attributes:
        channel: The one that is used, from 0; None: the mean of all.
        offset: What is taken off the samples first.
        divisor: What samples are divided by; 1 leaves them as they are.
    """

    channel: int | None = None
    offset: float = 0.0
    divisor: float = 1.0

    def apply(self, frames: Floats) -> Floats:
        """Return frames [N, channels] as the waveform, float32 [N]."""
        if frames.shape[1] == 1:
            mixed = frames[:, 0]
        elif self.channel is not None:
            mixed = np.ascontiguousarray(frames[:, self.channel])
        else:
            mixed = _mean(frames)
        if self.offset:
            mixed = mixed - np.float32(self.offset)
        return mixed if self.divisor == 1.0 else mixed / np.float32(self.divisor)


@dataclass
class Level:
    """Sums over a whole recording, added up block by block.

    The last column of each array is the mean of the channels.
    """

    num_frames: int = 0
    is_whole_numbers: bool = True
    sums: Features = field(default_factory=lambda: np.zeros(1))
    squares: Features = field(default_factory=lambda: np.zeros(1))
    lowest: Features = field(default_factory=lambda: np.full(1, np.inf))
    highest: Features = field(default_factory=lambda: np.full(1, -np.inf))

    def add(self, frames: Floats) -> None:
        """Add a block of frames, float32 [n, channels].

        Raises:
            AudioError: If a sample is NaN or infinite.
        """
        columns = [np.ascontiguousarray(column) for column in frames.T]
        if len(columns) > 1:
            columns.append(_mean(frames))
        lowest = np.array([column.min() for column in columns])
        highest = np.array([column.max() for column in columns])
        if not (np.isfinite(lowest).all() and np.isfinite(highest).all()):
            raise AudioError("holds NaN or infinite samples")
        self.num_frames += len(frames)
        exact = [column.astype(np.float64) for column in columns]
        self.sums = self.sums + [column.sum() for column in exact]
        self.squares = self.squares + [np.einsum("n,n->", column, column) for column in exact]
        self.lowest = np.minimum(self.lowest, lowest)
        self.highest = np.maximum(self.highest, highest)
        if self.is_whole_numbers:
            self.is_whole_numbers = bool((frames == np.rint(frames)).all())

    def decide(self) -> tuple[Mixing, tuple[str, ...]]:
        """Choose the mixing of the whole recording, and say what is unusual in it.

        Raises:
            AudioError: If samples are in another unit than full scale = 1.
        """
        peaks = np.maximum(self.highest, -self.lowest)
        _check_range(float(peaks.max()), self.is_whole_numbers)
        notes = []
        channel = self.channel()
        column = -1 if channel is None else channel
        if channel is not None:
            num_channels = len(peaks) - 1
            who = "channels 1 and 2" if num_channels == 2 else f"the {num_channels} channels"
            notes.append(f"{who} cancel each other: channel {channel + 1} was used")
        peak = float(peaks[column])
        mean = float(self.sums[column]) / self.num_frames
        offset = 0.0
        if mean**2 > float(self._powers()[column]):
            # It makes no sound, but hides speech from voice activity, and features see a tone.
            offset, peak = mean, self.peak_without_mean(Mixing(channel))
            notes.append(f"samples have a mean of {mean:.2g}: it was removed, being no sound")
        if peak > 1.0:
            notes.append(
                f"samples reach {peak:.4g}: scaled down by {20 * math.log10(peak):.2g} dB to "
                "stay within -1 to 1"
            )
        return Mixing(channel, offset, max(peak, 1.0)), tuple(notes)

    def channel(self) -> int | None:
        """Return the channel to use where the channels cancel each other; None: their mean."""
        powers = self._powers()
        *channels, mixed = (float(power) for power in powers)
        if channels and mixed < _CANCELLED_BELOW * sum(channels) / len(channels) ** 2:
            return int(powers[:-1].argmax())
        return None

    def peak_without_mean(self, mixing: Mixing) -> float:
        """Return how far the waveform of this mixing reaches from its mean."""
        column = -1 if mixing.channel is None else mixing.channel
        mean = float(self.sums[column]) / self.num_frames
        return max(float(self.highest[column]) - mean, mean - float(self.lowest[column]))

    def _powers(self) -> Features:
        """Return the power of each column without its mean."""
        powers: Features = self.squares / self.num_frames - (self.sums / self.num_frames) ** 2
        return np.maximum(powers, 0.0)


def is_silent(waveform: npt.NDArray[np.floating], silence_peak: float | None) -> bool:
    """Return whether a piece never gets further from its mean than ``silence_peak``.

    The mean is removed since an offset makes no sound.

    Args:
        waveform: Full scale = 1. float [N], N > 0
        silence_peak: None: nothing is silent.
    """
    if silence_peak is None:
        return False
    mean = float(waveform.mean(dtype=np.float64))
    return max(float(waveform.max()) - mean, mean - float(waveform.min())) <= silence_peak


def _mean(frames: Floats) -> Floats:
    # Samples that are not finite are refused a little later.
    with np.errstate(over="ignore", invalid="ignore"):
        if frames.shape[1] == 2:
            # The same bits, several times as fast.
            mixed: Floats = (frames[:, 0] + frames[:, 1]) / np.float32(2)
        else:
            mixed = frames.mean(axis=1, dtype=np.float32)
    return mixed


def _check_range(peak: float, is_whole_numbers: bool) -> None:
    if peak <= 1.0 or (peak <= _HIGHEST_PEAK and not is_whole_numbers):
        return
    problem = f"samples reach {peak:.6g}, expected -1 to 1"
    if is_whole_numbers or peak >= _LEAST_PEAK_OF_INTEGERS:
        bits = next((bits for bits in _SIZES_OF_INTEGERS if peak <= 2 ** (bits - 1)), None)
        if bits is not None:
            problem += f"; they look like {bits}-bit integers stored as floats"
    raise AudioError(problem)
