"""`functionals_lda`: linear discriminants of timbre, pitch, energy and rhythm over a clip.

Shapes: N samples, T frames, C mel bands, F features.
"""

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from serct.config.params import TrainParams
from serct.config.section import Positive
from serct.models.classical.decisions import linear_discriminants
from serct.models.classical.estimator import Array, ClassicalModel
from serct.models.classical.feature_classifier import FeatureClassifier, FeatureName
from serct.models.classical.neutral import neutral_clip
from serct.models.classical.pitch import yin
from serct.models.classical.speaker_normalization import SpeakerNormalization
from serct.models.classical.spectra import (
    centroid,
    decibels,
    flatness,
    mel_power,
    power_spectrum,
    rolloff,
)
from serct.models.interface import ClassicalParams
from serct.runtime.arrays import Floats

if TYPE_CHECKING:
    from torch import nn

_WINDOW_S, _HOP_S = 0.032, 0.01
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# Its place among the functionals, see `_functionals`.
_MEDIAN = 2 + _QUANTILES.index(0.5)
# Pitches of speech, from a creaking man to a shouting child. An estimate at the border is none.
_PITCH_WINDOW_S = 0.064
_LOWEST_PITCH_HZ, _HIGHEST_PITCH_HZ = 65.0, 600.0
_PITCH_MARGIN_HZ = (5.0, 10.0)
_FEWEST_VOICED = 6
# Frames that are softer than the loudest by more are taken for voiceless.
_VOICED_RANGE_DB = 25.0
# How far up and down a contour goes, its slope, arch and wave.
_COURSE_DEGREE = 3
# Modulations slower than words, of words, of syllables, of phones and of roughness.
_MODULATION_HZ = (0.5, 2.0, 4.0, 8.0, 16.0, 32.0)
_NUM_MODULATED = 8
_TINY = 1e-8
# What the features are, in their order: see `FunctionalsLda.feature_names`.
_FUNCTIONALS = (
    "mean", "deviation", *(f"quantile {q}" for q in _QUANTILES), "range", "mean step",
    "deviation of steps",
)  # fmt: skip
_CONTOURS = (
    ("pitch", "pitch"), ("energy", "energy"), ("spectrum", "flux"), ("spectrum", "centroid"),
    ("spectrum", "roll-off"), ("spectrum", "flatness"),
)  # fmt: skip
_COURSE = ("slope", "arch", "wave", "rise", "fall")
_RHYTHM = ("voiced share", "voiced stretches a second", "their length", "its deviation")


class FunctionalsLdaParams(ClassicalParams):
    """Linear discriminant analysis of functionals of timbre, pitch, energy and rhythm."""

    architecture: Literal["functionals_lda"]
    num_mels: Annotated[int, Field(ge=8)]
    noise_floor_db: Annotated[float, Field(lt=0)]
    relevance_factor: Positive | None

    masks_padding: ClassVar[bool] = True

    @property
    def adapts_to_speaker(self) -> bool:
        """See `ClassicalParams`."""
        return self.relevance_factor is not None

    def build(self, train: TrainParams, seed: int, sample_rate_hz: int) -> ClassicalModel:
        """See `ClassicalParams.build`."""
        return FunctionalsLda(self, seed, sample_rate_hz)


class FunctionalsLda(FeatureClassifier):
    """Functionals of low-level descriptors, and linear discriminant analysis.

    Descriptors: log-mel energies, pitch, energy, spectral flux, centroid, roll-off and flatness, of
    the `neutral_clip`. Functionals: mean, spread, quantiles, range, and how they change from frame
    to frame; the courses of pitch and energy; voiced stretches and silences; the modulation of the
    bands. Pitch is relative to the clip's own median, energy to its loudest frame: how high a
    speaker speaks depends on the speaker more than on the emotion.

    Linear discriminants give little weight to directions in which an emotion varies, in training
    above all from speaker to speaker; therefore they carry over to other speakers. Their covariance
    is drawn towards a multiple of the identity by an amount that follows from the number of clips,
    so there is nothing to tune.

    Source:
        Schuller et al., The INTERSPEECH 2009 emotion challenge, 2009 (functionals of descriptors);
        Wu et al., Automatic speech emotion recognition using modulation spectral features, 2011;
        de Cheveigné & Kawahara, YIN, 2002 (pitch); Ledoit & Wolf, A well-conditioned estimator for
        large-dimensional covariance matrices, 2004.
    """

    _decides_by = ("coef_", "intercept_")

    def __init__(self, params: FunctionalsLdaParams, seed: int, sample_rate_hz: int) -> None:
        """Build the model, not yet fitted."""
        factor = params.relevance_factor
        super().__init__(seed, SpeakerNormalization(factor) if factor is not None else None)
        self._params = params
        self._rate_hz = sample_rate_hz

    def _machine(self, num_emotions: int) -> Any:
        return linear_discriminants(num_emotions, "auto")

    def _feature_params(self) -> dict[str, float]:
        return {
            "num_mels": self._params.num_mels,
            "noise_floor_db": self._params.noise_floor_db,
            "sample_rate_hz": self._rate_hz,
        }

    def feature_names(self) -> tuple[FeatureName, ...]:
        """See `FeatureClassifier.feature_names`."""
        bands = range(self._params.num_mels)
        names = [
            FeatureName("spectrum", f"band {c}, {what}") for what in _FUNCTIONALS for c in bands
        ]
        for group, contour in _CONTOURS:
            names += [FeatureName(group, f"{contour}, {what}") for what in _FUNCTIONALS]
        names += [
            FeatureName(each, f"{each}, {what}") for each in ("pitch", "energy") for what in _COURSE
        ]
        names += [FeatureName("rhythm", what) for what in _RHYTHM]
        names += [
            FeatureName("modulation", f"bands {group}, {low:g} to {high:g} Hz")
            for low, high in pairwise(_MODULATION_HZ)
            for group in range(_NUM_MODULATED)
        ]
        return tuple(names)

    def feature_module(self, num_samples: int) -> "nn.Module":
        """See `FeatureClassifier.feature_module`."""
        from serct.models.graphs.clips import MelDecibels, NeutralClip, PowerSpectrum
        from serct.models.graphs.functionals import Functionals, Measures
        from serct.models.graphs.pitch import Yin

        rate, hop = self._rate_hz, round(_HOP_S * self._rate_hz)
        window = round(_WINDOW_S * rate)
        fft_size = window // 2 * 2
        bounds = (_LOWEST_PITCH_HZ, _HIGHEST_PITCH_HZ)
        above, below = _PITCH_MARGIN_HZ
        return Functionals(
            NeutralClip(num_samples, self._params.noise_floor_db, window),
            PowerSpectrum(window, hop),
            MelDecibels(self._params.num_mels, fft_size, rate),
            Yin(2 * round(_PITCH_WINDOW_S * rate / 2), hop, bounds, rate),
            np.fft.rfftfreq(fft_size, 1 / rate),
            Measures(
                hop_s=_HOP_S,
                quantiles=_QUANTILES,
                pitches_hz=(_LOWEST_PITCH_HZ + above, _HIGHEST_PITCH_HZ - below),
                fewest_voiced=_FEWEST_VOICED,
                voiced_range_db=_VOICED_RANGE_DB,
                course_degree=_COURSE_DEGREE,
                modulation_hz=_MODULATION_HZ,
                num_modulated=_NUM_MODULATED,
                tiny=_TINY,
            ),
        )

    def _features(self, waveform: Floats) -> Array:
        rate, hop = self._rate_hz, round(_HOP_S * self._rate_hz)
        window = round(_WINDOW_S * rate)
        clip = neutral_clip(waveform, self._params.noise_floor_db, window)
        power = power_spectrum(clip, window, hop)  # [T, bins]
        magnitudes = np.sqrt(power)
        # Of a window of odd length as of the even one below it.
        fft_size = 2 * (power.shape[1] - 1)
        hertz: Array = np.fft.rfftfreq(fft_size, 1 / rate)
        bands = decibels(mel_power(power, self._params.num_mels, fft_size, rate))  # [C, T]
        energies = decibels(power.mean(axis=1))  # [T]
        pitches, is_voiced = self._pitches(clip, energies, hop)
        energies = energies - energies.max()
        flux = np.sqrt((np.diff(bands, axis=1) ** 2).mean(axis=0))
        shapes = [
            centroid(magnitudes, hertz),
            rolloff(magnitudes, hertz),
            np.log(flatness(power) + _TINY),
        ]
        # All contours of T frames at once: the calls would cost more than their work.
        of_frames = _functionals(np.vstack([bands, energies, *shapes]))  # [10, C + 4]
        of_pitches = _functionals(pitches[None]).ravel()
        # They are relative to their median. What rounding leaves of it differs from machine to
        # machine, and once standardised it would count as much as any other feature.
        of_pitches[_MEDIAN] = 0.0
        num_mels = len(bands)
        parts = [
            of_frames[:, :num_mels].ravel(),
            of_pitches,
            of_frames[:, num_mels],
            _functionals(flux[None]).ravel(),
            *of_frames[:, num_mels + 1 :].T,
            _course(pitches),
            _course(energies),
        ]
        return np.concatenate([*parts, _rhythm(is_voiced), _modulation(bands)])

    def _pitches(self, clip: Array, energies: Array, hop: int) -> tuple[Array, Array]:
        """Compute the pitch in the voiced frames, and which of the T frames these are.

        In semitones above the clip's median. A clip with hardly any has a constant pitch.
        """
        energies = energies[: len(clip) // hop + 1]
        is_voiced = energies > energies.max() - _VOICED_RANGE_DB
        loud = np.flatnonzero(is_voiced)
        window = 2 * round(_PITCH_WINDOW_S * self._rate_hz / 2)
        bounds = (_LOWEST_PITCH_HZ, _HIGHEST_PITCH_HZ)
        hertz = yin(clip, loud, hop, window, bounds, self._rate_hz)
        above, below = _PITCH_MARGIN_HZ
        has_pitch = (hertz > _LOWEST_PITCH_HZ + above) & (hertz < _HIGHEST_PITCH_HZ - below)
        is_voiced[loud] = has_pitch
        if has_pitch.sum() < _FEWEST_VOICED:
            return np.zeros(_FEWEST_VOICED), is_voiced
        semitones = 12 * np.log2(hertz[has_pitch])
        return semitones - np.median(semitones), is_voiced


def _functionals(contours: Array) -> Array:
    """Summarise contours over time. [C, T], T >= 1 -> [10, C]."""
    quantiles = _quantiles(contours)
    steps = np.diff(contours, axis=1, append=contours[:, -1:])
    moments = (contours.mean(axis=1), contours.std(axis=1))
    changes = (np.abs(steps).mean(axis=1), steps.std(axis=1))
    return np.stack([*moments, *quantiles, quantiles[-1] - quantiles[0], *changes])


def _quantiles(contours: Array) -> Array:
    """Compute `np.quantile` of all `_QUANTILES`, which takes three times as long. [C, T] -> [5, C].

    Example:
        >>> _quantiles(np.array([[5.0, 1.0, 3.0, 2.0, 4.0]])).ravel().round(3).tolist()
        [1.2, 2.0, 3.0, 4.0, 4.8]
    """
    places = np.array(_QUANTILES) * (contours.shape[1] - 1)
    below = places.astype(int)
    above = np.minimum(below + 1, contours.shape[1] - 1)
    ordered = np.sort(contours, axis=1)
    low, high = ordered[:, below], ordered[:, above]
    found: Array = low + (high - low) * (places - below)
    return found.T


def _course(contour: Array) -> Array:
    """Compute slope, arch and wave of a contour, and how fast it rises and falls. [T] -> [5].

    Example:
        >>> (_course(np.linspace(-6, 6, 13)).round(2) + 0).tolist()
        [6.0, 0.0, 0.0, 1.0, 0.0]
    """
    time = np.linspace(-1, 1, len(contour))
    shape = np.polynomial.legendre.legfit(time, contour, _COURSE_DEGREE)[1:]
    steps = np.diff(contour)
    return np.array([*shape, np.maximum(steps, 0).mean(), np.maximum(-steps, 0).mean()])


def _rhythm(is_voiced: Array) -> Array:
    """Compute the voiced share, voiced stretches a second, their mean length and spread. [4]."""
    borders = np.flatnonzero(np.diff(is_voiced.astype(int), prepend=0, append=0))
    lengths = np.diff(borders)[::2] * _HOP_S
    seconds = len(is_voiced) * _HOP_S
    if not len(lengths):
        return np.zeros(4)
    return np.array([is_voiced.mean(), len(lengths) / seconds, lengths.mean(), lengths.std()])


def _modulation(bands: Array) -> Array:
    """Compute how strongly groups of bands swell and fade, by speed. [C, T] -> [8 * 5]."""
    groups = [group.mean(axis=0) for group in np.array_split(bands, _NUM_MODULATED)]
    swelling = np.stack(groups) - np.mean(groups, axis=1, keepdims=True)  # [8, T]
    num_frames = swelling.shape[1]
    # At least 5 s, so that each range of speeds holds several bins.
    size = 2 ** int(np.ceil(np.log2(max(num_frames, 512))))
    spectrum = np.abs(np.fft.rfft(swelling, n=size, axis=1)) ** 2 / num_frames
    speeds = np.fft.rfftfreq(size, _HOP_S)
    strengths = [
        spectrum[:, (speeds >= low) & (speeds < high)].mean(axis=1)
        for low, high in pairwise(_MODULATION_HZ)
    ]
    return np.log(np.concatenate(strengths) + _TINY)
