"""Shift: silence before each clip."""

import torch
from torch import Tensor
from torch.nn import functional

from serct.config.section import Positive
from serct.training.effects import Clips, Stage

STAGE = Stage.POSITION
PARAMS = Positive


def apply(waveforms: Tensor, num_valid: Tensor, params: float, sample_rate_hz: int) -> Clips:
    """Start clips by up to ``params`` ms later."""
    largest = round(params * sample_rate_hz / 1000)
    shifts = (torch.rand(len(waveforms), device=waveforms.device) * largest).long()
    return delay(waveforms, num_valid, shifts, largest)


def delay(waveforms: Tensor, num_valid: Tensor, shifts: Tensor, largest: int) -> Clips:
    """Put silence before clips.

    Args:
        waveforms: [B, M]
        num_valid: [B]
        shifts: Samples, 0..``largest``. int64 [B]
        largest: By how much M grows.

    Returns:
        Waveforms of M + ``largest`` samples, and their valid lengths.
    """
    places = torch.arange(waveforms.shape[1] + largest, device=waveforms.device) - shifts[:, None]
    moved = functional.pad(waveforms, (0, largest)).gather(1, places.clamp(min=0))
    return moved * (places >= 0), num_valid + shifts
