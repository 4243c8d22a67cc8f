"""Spectra of a clip in NumPy, and what describes them frame by frame, as librosa defines it.

librosa builds its filters and windows anew for each clip, and importing it takes two seconds.

Shapes: N samples, T frames, F frequencies, C mel bands.
"""

import math
from functools import cache

import numpy as np

from serct.runtime.arrays import Features

# Below it power is silence; so much below the loudest it is cut.
SILENCE = 1e-10
RANGE_DB = 80.0
ROLLOFF = 0.85
# Slaney's mel scale.
_HERTZ_A_MEL = 200 / 3
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _HERTZ_A_MEL
_LOG_STEP = math.log(6.4) / 27


def power_spectrum(samples: Features, window: int, hop: int) -> Features:
    """Compute the power of each frame, under Hann windows centred on multiples of ``hop``.

    Args:
        samples: float64 [N]; zeros are assumed around them.
        window: Samples of a frame.
        hop: Samples from one frame to the next.

    Returns:
        float64 [T, F], T = N // hop + 1 for an even window, F = window // 2 + 1
    """
    import scipy.fft  # half a second, of which reading a model needs nothing

    padded = np.pad(samples, window // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    spectra = scipy.fft.rfft(frames * hann(window))
    power: Features = spectra.real**2 + spectra.imag**2
    return power


def mel_power(power: Features, num_mels: int, fft_size: int, sample_rate_hz: int) -> Features:
    """Sum power in mel bands. [T, F] -> [C, T]."""
    bands: Features = mel_filters(num_mels, fft_size, sample_rate_hz) @ power.T
    return bands


def decibels(power: Features) -> Features:
    """Convert power to decibels, at most 80 dB below the loudest; any shape."""
    found = 10 * np.log10(np.maximum(power, SILENCE))
    cut: Features = np.maximum(found, found.max() - RANGE_DB)
    return cut


def centroid(magnitudes: Features, hertz: Features) -> Features:
    """Compute the mean frequency of each frame, in Hz. [T, F], [F] -> [T]."""
    totals = magnitudes.sum(axis=1)
    silent = totals < np.finfo(np.float64).tiny
    found: Features = magnitudes @ hertz / np.where(silent, 1.0, totals)
    return found


def rolloff(magnitudes: Features, hertz: Features) -> Features:
    """Compute the frequency below which 85 % of each frame lie, in Hz. [T, F], [F] -> [T]."""
    sums = np.cumsum(magnitudes, axis=1)
    found: Features = hertz[(sums >= ROLLOFF * sums[:, -1:]).argmax(axis=1)]
    return found


def flatness(power: Features) -> Features:
    """Compute the ratio of each frame's geometric and arithmetic mean power. [T, F] -> [T]."""
    power = np.maximum(power, SILENCE)
    found: Features = np.exp(np.log(power).mean(axis=1)) / power.mean(axis=1)
    return found


@cache
def hann(size: int) -> Features:
    """Return a periodic Hann window. [size]."""
    return np.hanning(size + 1)[:-1]


@cache
def mel_filters(num_mels: int, fft_size: int, sample_rate_hz: int) -> Features:
    """Return what each mel band takes of each frequency, as librosa does. [C, F]."""
    triangles, widths = mel_triangles(num_mels, fft_size, sample_rate_hz, lowest_hz=0.0)
    # Rounded twice, as librosa's, from which models learned.
    filters = (triangles.astype(np.float32) * (2 / widths)).astype(np.float32)
    return filters.astype(np.float64)


def mel_triangles(
    num_bands: int, fft_size: int, sample_rate_hz: int, lowest_hz: float
) -> tuple[Features, Features]:
    """Return triangles of height 1 from ``lowest_hz`` to half the rate, and their widths in Hz.

    Returns:
        float64 [C, F], float64 [C, 1]
    """
    mels = np.linspace(_mel(lowest_hz), _mel(sample_rate_hz / 2), num_bands + 2)
    corners = np.where(
        mels < _BREAK_MEL, mels * _HERTZ_A_MEL, _BREAK_HZ * np.exp(_LOG_STEP * (mels - _BREAK_MEL))
    )
    hertz = np.arange(fft_size // 2 + 1) * (sample_rate_hz / fft_size)
    rising = (hertz - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    falling = (corners[2:, None] - hertz) / (corners[2:] - corners[1:-1])[:, None]
    triangles = np.minimum(rising, falling).clip(min=0)
    return triangles, (corners[2:] - corners[:-2])[:, None]


def _mel(hertz: float) -> float:
    if hertz < _BREAK_HZ:
        return hertz / _HERTZ_A_MEL
    return _BREAK_MEL + math.log(hertz / _BREAK_HZ) / _LOG_STEP
