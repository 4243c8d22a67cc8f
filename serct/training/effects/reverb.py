"""Reverberation: a room around the speaker."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from serct.config.section import Section
from serct.training.effects import (
    Clips,
    PositiveRange,
    Range,
    Share,
    Stage,
    cut,
    draw_between,
    fast_size,
    mix,
)


class ReverbParams(Section):
    """Decay by 60 dB in so many seconds; the direct sound's energy over the rest's, in dB."""

    probability: Share
    decay_s: PositiveRange
    direct_db: Range


STAGE = Stage.ROOM
PARAMS = ReverbParams


def apply(waveforms: Tensor, num_valid: Tensor, params: ReverbParams, sample_rate_hz: int) -> Clips:
    """Put some of the clips into a room, each into its own."""
    decay_s = draw_between(waveforms, *params.decay_s)
    direct_db = draw_between(waveforms, *params.direct_db)
    num_taps = math.ceil(params.decay_s[1] * sample_rate_hz)
    echoed = reverberate(waveforms, num_valid, decay_s, direct_db, num_taps, sample_rate_hz)
    return mix(waveforms, echoed, params.probability), num_valid


def reverberate(
    waveforms: Tensor,
    num_valid: Tensor,
    decay_s: Tensor,
    direct_db: Tensor,
    num_taps: int,
    sample_rate_hz: int,
) -> Tensor:
    """Add a room: exponentially decaying noise behind the direct sound.

    Args:
        waveforms: [B, M]
        num_valid: [B]
        decay_s: Until the room is 60 dB softer. [B]
        direct_db: The direct sound's energy over all the rest's. [B]
        num_taps: Samples of the room that are kept.
        sample_rate_hz: Of the waveforms.

    Returns:
        The sound while the speaker speaks. [B, M]

    Source:
        Polack, La transmission de l'énergie sonore dans les salles, 1988: the statistical model.
    """
    seconds = torch.arange(1, num_taps + 1, device=waveforms.device) / sample_rate_hz
    room = torch.randn(len(waveforms), num_taps, device=waveforms.device)
    room = room * 10 ** (-3 * seconds / decay_s[:, None])
    room = room / room.norm(dim=1, keepdim=True) * 10 ** (-direct_db / 20)[:, None]
    size = fast_size(waveforms.shape[1] + num_taps + 1)
    response = functional.pad(room, (1, 0))
    echoes = torch.fft.irfft(torch.fft.rfft(waveforms, size) * torch.fft.rfft(response, size), size)
    return cut(waveforms + echoes[:, : waveforms.shape[1]], num_valid)
