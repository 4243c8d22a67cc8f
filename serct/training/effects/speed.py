"""Speed: tempo, pitch and formants changed together."""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from serct.training.effects import Clips, Stage, cut, draw_within, interpolate

STAGE = Stage.SPEECH
PARAMS = Annotated[float, Field(gt=0, lt=1)]


def apply(waveforms: Tensor, num_valid: Tensor, params: float, sample_rate_hz: int) -> Clips:
    """Play clips by up to the share ``params`` faster or slower."""
    factors = draw_within(waveforms, math.log1p(params)).exp()
    return change_speed(waveforms, num_valid, factors, 1 + params)


def change_speed(waveforms: Tensor, num_valid: Tensor, factors: Tensor, largest: float) -> Clips:
    """Play faster or slower.

    Args:
        waveforms: [B, M]
        num_valid: [B]
        factors: Above 1 is faster; at least 1 / ``largest``. [B]
        largest: How much longer the result may be than M.

    Returns:
        Waveforms of ``ceil(M * largest)`` samples and their valid lengths, at least 1.

    Source:
        Ko et al., Audio augmentation for speech recognition, Interspeech 2015.
    """
    num_samples = math.ceil(waveforms.shape[1] * largest)
    num_valid = (num_valid / factors).long().clamp(1, num_samples)
    places = torch.arange(num_samples, device=waveforms.device) * factors[:, None]
    return cut(interpolate(waveforms, places), num_valid), num_valid
