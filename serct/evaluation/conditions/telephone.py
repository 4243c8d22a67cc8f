"""Telephone: 8 kHz, the band from 300 to 3,400 Hz, and 8 bits by the mu-law."""

import numpy as np

from serct.config.section import Section
from serct.data.preparing import resample
from serct.evaluation.conditions import Scene, fit_length
from serct.runtime.arrays import Floats

_RATE_HZ = 8000
_BAND_HZ = (300.0, 3400.0)
_MU = 255.0


class TelephoneParams(Section):
    """A telephone has no strength."""


PARAMS = TelephoneParams


def describe(params: TelephoneParams) -> str:
    """See `Condition`."""
    return "telephone, 300 to 3,400 Hz, mu-law"


def apply(waveform: Floats, params: TelephoneParams, sample_rate_hz: int, scene: Scene) -> Floats:
    """See `Condition`.

    Source:
        ITU-T G.711 (mu-law) and G.712 (band).
    """
    narrow = _in_band(resample(waveform, sample_rate_hz, _RATE_HZ, "soxr"))
    decoded = resample(_through_mu_law(narrow), _RATE_HZ, sample_rate_hz, "soxr")
    return fit_length(decoded, len(waveform))


def _in_band(waveform: Floats) -> Floats:
    """Remove what is outside the band, at 8 kHz. [M] -> [M]."""
    if not len(waveform):
        return waveform
    spectrum = np.fft.rfft(waveform)
    frequencies = np.fft.rfftfreq(len(waveform), 1 / _RATE_HZ)
    low, high = _BAND_HZ
    spectrum[(frequencies < low) | (frequencies > high)] = 0
    return np.fft.irfft(spectrum, len(waveform)).astype(np.float32)


def _through_mu_law(waveform: Floats) -> Floats:
    """Round to 8 bits, finer where it is soft. [M] -> [M]."""
    clipped = np.clip(waveform, -1, 1)
    coded = np.log1p(_MU * np.abs(clipped)) / np.log1p(_MU)
    rounded = np.rint(coded * 127) / 127
    return np.asarray(np.sign(clipped) * np.expm1(rounded * np.log1p(_MU)) / _MU, np.float32)
