"""Telephone: its band and its code."""

import math

import torch
from torch import Tensor

from serct.config.section import Section
from serct.training.effects import EPSILON, Clips, Share, Stage, cut, fast_size, mix

_BAND_HZ = (300.0, 3400.0)
# 14-bit speech in 8 bits, as telephone networks send it.
_MU = 255.0


class TelephoneParams(Section):
    """How many of the clips."""

    probability: Share


STAGE = Stage.LINE
PARAMS = TelephoneParams


def apply(
    waveforms: Tensor, num_valid: Tensor, params: TelephoneParams, sample_rate_hz: int
) -> Clips:
    """Send some of the clips over a telephone."""
    narrow = send_by_telephone(waveforms, num_valid, sample_rate_hz)
    return mix(waveforms, narrow, params.probability), num_valid


def send_by_telephone(waveforms: Tensor, num_valid: Tensor, sample_rate_hz: int) -> Tensor:
    """Keep 300 to 3,400 Hz, in 8 bits by the mu-law. [B, M] -> [B, M].

    Source:
        ITU-T G.711 (mu-law) and G.712 (band).
    """
    size = fast_size(waveforms.shape[1])
    frequencies = torch.fft.rfftfreq(size, 1 / sample_rate_hz, device=waveforms.device)
    low, high = _BAND_HZ
    band = ((frequencies >= low) & (frequencies <= high)).float()
    narrow = torch.fft.irfft(torch.fft.rfft(waveforms, size) * band, size)
    narrow = narrow[:, : waveforms.shape[1]]
    # The line is driven as far as it goes, whatever the clip's own level.
    peak = narrow.abs().amax(dim=1, keepdim=True) + EPSILON
    scaled = narrow / peak
    coded = scaled.sign() * torch.log1p(_MU * scaled.abs()) / math.log1p(_MU)
    coded = (coded * 127).round() / 127
    decoded = coded.sign() * torch.expm1(coded.abs() * math.log1p(_MU)) / _MU
    return cut(decoded * peak, num_valid)
