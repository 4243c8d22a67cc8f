"""Noise: steady, of one colour."""

from typing import Literal

import numpy as np

from serct.config.section import Section
from serct.evaluation.conditions import Scene, add_noise, fast_size
from serct.runtime.arrays import Floats

# Power falls with frequency to this power.
_SLOPES = {"white": 0.0, "pink": 1.0}


class NoiseParams(Section):
    """White noise has equal power in each Hz, pink noise in each octave."""

    colour: Literal["white", "pink"]
    snr_db: float


PARAMS = NoiseParams


def describe(params: NoiseParams) -> str:
    """See `Condition`."""
    return f"{params.colour} noise, SNR {params.snr_db:g} dB"


def apply(waveform: Floats, params: NoiseParams, sample_rate_hz: int, scene: Scene) -> Floats:
    """See `Condition`."""
    size = fast_size(len(waveform))
    spectrum = np.fft.rfft(scene.random.standard_normal(size))
    numbers = np.maximum(np.arange(len(spectrum)), 1)
    shaped = spectrum * numbers ** (-_SLOPES[params.colour] / 2)
    noise = np.fft.irfft(shaped, size)[: len(waveform)].astype(np.float32)
    return add_noise(waveform, noise, params.snr_db)
