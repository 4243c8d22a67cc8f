"""Gain: each clip louder or softer."""

from torch import Tensor

from serct.config.section import Positive
from serct.training.effects import Clips, Stage, draw_within

STAGE = Stage.LEVEL
PARAMS = Positive


def apply(waveforms: Tensor, num_valid: Tensor, params: float, sample_rate_hz: int) -> Clips:
    """Amplify by up to ``params`` dB, up or down; the result may exceed [-1, 1]."""
    return waveforms * 10 ** (draw_within(waveforms, params) / 20)[:, None], num_valid
