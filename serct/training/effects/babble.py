"""Babble: other clips of the batch, all at once, behind the speaker.

Shapes: B batch, M samples.
"""

import torch
from torch import Tensor

from serct.config.section import PositiveInt, Section
from serct.training.effects import EPSILON, Clips, Range, Share, Stage, cut, draw_between, mix
from serct.training.effects.noise import level, mix_at_snr


class BabbleParams(Section):
    """So many clips together, at a signal-to-noise ratio."""

    probability: Share
    num_clips: PositiveInt
    snr_db: Range


STAGE = Stage.LINE
PARAMS = BabbleParams


def apply(waveforms: Tensor, num_valid: Tensor, params: BabbleParams, sample_rate_hz: int) -> Clips:
    """Put others behind some of the clips; a batch of one clip has none and stays as it is."""
    snr_db = draw_between(waveforms, *params.snr_db)
    babble = draw_babble(waveforms, num_valid, params.num_clips)
    noisy = mix_at_snr(waveforms, babble, num_valid, snr_db)
    return mix(waveforms, noisy, params.probability), num_valid


def draw_babble(waveforms: Tensor, num_valid: Tensor, num_clips: int) -> Tensor:
    """Add up other clips of the batch, each at one level, from a drawn place on and over again.

    Args:
        waveforms: [B, M]
        num_valid: [B]
        num_clips: How many others each clip gets; fewer if the batch has fewer.

    Returns:
        Zero behind each clip. [B, M]
    """
    size, device = len(waveforms), waveforms.device
    steps = torch.arange(waveforms.shape[1], device=device)
    scaled = waveforms / (level(waveforms, num_valid) + EPSILON)[:, None]
    babble = torch.zeros_like(waveforms)
    # The next ones of a drawn order: never the clip itself, and none twice.
    order = torch.randperm(size, device=device)
    places = order.argsort()
    for number in range(1, min(num_clips, size - 1) + 1):
        other = order[(places + number) % size]
        length = num_valid[other]
        begin = (torch.rand(size, device=device) * length).long()
        babble += scaled[other].gather(1, (begin[:, None] + steps) % length[:, None])
    return cut(babble, num_valid)
