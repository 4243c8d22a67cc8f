"""The pitch of single frames by YIN, as librosa computes it, for the frames that need one.

Shapes: N samples, W samples of a window, n frames, L periods.
"""

import numpy as np
import numpy.typing as npt

from serct.runtime.arrays import Features

# A period is taken if its difference is this small a part of the mean difference; else the least.
TROUGH = 0.1
# Windows transformed at once: so many stay in a processor's cache.
_CHUNK = 32


def yin(
    samples: Features,
    frames: npt.NDArray[np.integer],
    hop: int,
    window: int,
    bounds_hz: tuple[float, float],
    sample_rate_hz: int,
) -> Features:
    """Estimate the pitch around some instants of a clip.

    Args:
        samples: float64 [N]; zeros are assumed around them.
        frames: Which frames; frame t is centred on sample t * hop. [n]
        hop: Samples from one frame to the next.
        window: W, of each frame; even, and longer than two periods of the lowest pitch.
        bounds_hz: Lowest and highest pitch.
        sample_rate_hz: Of the samples.

    Returns:
        In Hz. float64 [n]

    Source:
        de Cheveigné & Kawahara, YIN, 2002; its steps 2 to 5. The difference function sums only
        products within the frame, and subtracts the energy of the samples that have left it, as
        `librosa.yin`, which computes the same for all frames and takes several times as long.

    Example:
        >>> wave = np.sin(2 * np.pi * 200 * np.arange(4000) / 16000)
        >>> yin(wave, np.array([10, 12]), 160, 1024, (65.0, 600.0), 16000).round().tolist()
        [200.0, 200.0]
    """
    lowest, highest = bounds_hz
    shortest = int(sample_rate_hz / highest)
    longest = min(int(np.ceil(sample_rate_hz / lowest)), window - 1)
    padded = np.pad(samples, window // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    periods = [
        _periods(windows[frames[start : start + _CHUNK]], shortest, longest)
        for start in range(0, len(frames), _CHUNK)
    ]
    return sample_rate_hz / np.concatenate([*periods, np.empty(0)])


def _periods(windows: Features, shortest: int, longest: int) -> Features:
    """Find the period of each window, in samples. [n, W] -> [n]."""
    differences = _normalised_differences(windows, shortest, longest)  # [n, L]
    is_trough = np.empty(differences.shape, dtype=bool)
    is_lower = differences[:, 1:] < differences[:, :-1]
    is_trough[:, 0] = differences[:, 0] < differences[:, 1]
    is_trough[:, 1:] = is_lower
    is_trough[:, 1:-1] &= differences[:, 1:-1] <= differences[:, 2:]
    is_trough &= differences < TROUGH
    best = np.where(is_trough.any(axis=1), is_trough.argmax(axis=1), differences.argmin(axis=1))
    periods: Features = shortest + best + _shifts(differences, best)
    return periods


def _normalised_differences(windows: Features, shortest: int, longest: int) -> Features:
    """Compute the difference of each window from itself, by period. [n, W] -> [n, L].

    Relative to the mean difference over all shorter periods.
    """
    import scipy.fft  # half a second, of which reading a model needs nothing

    # So long that what is shifted out does not come in again on the other side.
    size = scipy.fft.next_fast_len(windows.shape[1] + longest, real=True)
    spectra = scipy.fft.rfft(windows, size)
    products = scipy.fft.irfft(spectra.real**2 + spectra.imag**2, size)[:, : longest + 1]
    left = np.cumsum(windows[:, :longest] ** 2, axis=1)
    left[:, 0] = 0  # so does librosa, and models were fitted to its pitches
    differences = 2 * (products[:, :1] - products[:, 1:]) - left
    means = np.cumsum(differences, axis=1) / np.arange(1, longest + 1)
    means = means[:, shortest - 1 :] + np.finfo(np.float64).tiny
    normalised: Features = differences[:, shortest - 1 :] / means
    return normalised


def _shifts(differences: Features, best: npt.NDArray[np.integer]) -> Features:
    """Compute how far a parabola's lowest point lies from the chosen period. [n, L], [n] -> [n].

    In samples, within one; 0 at the border.
    """
    rows, last = np.arange(len(best)), differences.shape[1] - 1
    before = differences[rows, np.maximum(best - 1, 0)]
    behind = differences[rows, np.minimum(best + 1, last)]
    curve = behind + before - 2 * differences[rows, best]
    slope = (behind - before) / 2
    is_inside = (best > 0) & (best < last) & (np.abs(slope) < np.abs(curve))
    shifts: Features = np.where(is_inside, -slope / np.where(is_inside, curve, 1), 0.0)
    return shifts
