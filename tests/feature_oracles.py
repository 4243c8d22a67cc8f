"""Features of clips by librosa and NumPy, formula by formula, and clips to compute them of.

They are what the models of earlier releases were fitted to.
"""

from itertools import pairwise

import librosa
import numpy as np
from numpy.polynomial import legendre

SPEEDS_HZ = (0.5, 2, 4, 8, 16, 32)


def neutral(waveform: np.ndarray, window: int) -> np.ndarray:
    """One level, no DC, noise 45 dB below it, also in a window after the clip."""
    spoken = np.flatnonzero(waveform)
    clip = waveform[: spoken[-1] + 1 if len(spoken) else 1].astype(np.float64)
    clip -= clip.mean()
    level = np.sqrt((clip**2).mean())
    clip = np.append(clip * (0.1 / level if level else 0), np.zeros(window))
    return clip + 0.1 * 10 ** (-45 / 20) * np.random.default_rng(0).standard_normal(len(clip))


def summarised(contours: np.ndarray) -> np.ndarray:
    """Mean, spread, five quantiles, range and changes of each contour. [C, T] -> [10 C]."""
    steps = np.diff(contours, axis=1, append=contours[:, -1:])
    quantiles = np.quantile(contours, (0.05, 0.25, 0.5, 0.75, 0.95), axis=1)
    parts = (contours.mean(1), contours.std(1), *quantiles, quantiles[-1] - quantiles[0])
    return np.concatenate([*parts, np.abs(steps).mean(1), steps.std(1)])


def course(contour: np.ndarray) -> np.ndarray:
    shape = legendre.legfit(np.linspace(-1, 1, len(contour)), contour, 3)[1:]
    steps = np.diff(contour)
    return np.append(shape, (np.maximum(steps, 0).mean(), np.maximum(-steps, 0).mean()))


def rhythm(is_voiced: np.ndarray) -> np.ndarray:
    borders = np.flatnonzero(np.diff(is_voiced.astype(int), prepend=0, append=0))
    lengths = 0.01 * np.diff(borders)[::2]
    if not len(lengths):
        return np.zeros(4)
    a_second = len(lengths) / (0.01 * len(is_voiced))
    return np.array([is_voiced.mean(), a_second, lengths.mean(), lengths.std()])


def modulation(bands: np.ndarray) -> np.ndarray:
    groups = np.stack([group.mean(axis=0) for group in np.array_split(bands, 8)])
    size = 2 ** int(np.ceil(np.log2(max(groups.shape[1], 512))))
    spectrum = np.abs(np.fft.rfft(groups - groups.mean(axis=1, keepdims=True), size)) ** 2
    speeds = np.fft.rfftfreq(size, 0.01)
    parts = [
        spectrum[:, (low <= speeds) & (speeds < high)].mean(axis=1)
        for low, high in pairwise(SPEEDS_HZ)
    ]
    return np.log(np.concatenate(parts) / groups.shape[1] + 1e-8)


def functionals(waveform: np.ndarray, rate: int) -> np.ndarray:
    window, hop = round(0.032 * rate), round(0.01 * rate)
    clip = neutral(waveform, window)
    magnitudes = np.abs(librosa.stft(clip, n_fft=window, hop_length=hop))
    power = magnitudes**2
    bands = librosa.power_to_db(librosa.feature.melspectrogram(S=power, sr=rate, n_mels=40))
    energies = librosa.power_to_db(power.mean(axis=0))
    length = 2 * round(0.032 * rate)
    hertz = librosa.yin(clip, fmin=65, fmax=600, sr=rate, frame_length=length, hop_length=hop)
    count = min(len(hertz), len(energies))
    hertz, loud = hertz[:count], energies[:count] > energies[:count].max() - 25
    is_voiced = loud & (hertz > 70) & (hertz < 590)
    pitches = np.zeros(6)
    if is_voiced.sum() >= 6:
        pitches = 12 * np.log2(hertz[is_voiced] / np.median(hertz[is_voiced]))
        pitches -= np.median(pitches)
    energies = energies - energies.max()
    contours = [
        bands,
        pitches[None],
        energies[None],
        np.sqrt((np.diff(bands, axis=1) ** 2).mean(axis=0, keepdims=True)),
        librosa.feature.spectral_centroid(S=magnitudes, sr=rate),
        librosa.feature.spectral_rolloff(S=magnitudes, sr=rate),
        np.log(librosa.feature.spectral_flatness(S=magnitudes) + 1e-8),
    ]
    parts = [*map(summarised, contours), course(pitches), course(energies), rhythm(is_voiced)]
    return np.concatenate([*parts, modulation(bands)])


def cepstra(waveform: np.ndarray, rate: int) -> np.ndarray:
    window = round(0.032 * rate)
    coefficients = librosa.feature.mfcc(
        y=neutral(waveform, window), sr=rate, n_mfcc=30, n_mels=60, n_fft=window,
        hop_length=round(0.01 * rate),
    )  # fmt: skip
    parts = [coefficients]
    for order in (1, 2):
        parts.append(librosa.feature.delta(coefficients, width=9, order=order, mode="nearest"))
    moments = [each for part in parts for each in (part.mean(axis=1), part.std(axis=1))]
    return np.concatenate([*moments, *np.quantile(coefficients, (0.1, 0.5, 0.9), axis=1)])


def speech(seed: int, rate: int, num_samples: int) -> np.ndarray:
    """Syllables: harmonics of a gliding pitch below two formants, breath, and pauses."""
    rng = np.random.default_rng(seed)
    seconds = np.arange(num_samples) / rate
    hertz = rng.uniform(90, 260) * 2 ** (0.4 * np.sin(2 * np.pi * rng.uniform(0.5, 2) * seconds))
    phase = 2 * np.pi * np.cumsum(hertz) / rate
    formants = rng.uniform((300, 900), (800, 2500))
    clip = 0.05 * rng.standard_normal(num_samples)
    for number in range(1, int(0.45 * rate / hertz.max())):
        away = np.abs(number * hertz.mean() - formants) / 200
        clip += (1 / (1 + away**2)).sum() * np.sin(number * phase)
    syllables = np.maximum(np.sin(2 * np.pi * rng.uniform(2, 5) * seconds), 0) ** 2
    return (0.1 * clip * syllables + 0.001 * rng.standard_normal(num_samples)).astype(np.float32)
