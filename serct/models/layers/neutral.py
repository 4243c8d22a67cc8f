"""Waveforms of one level, one mean and one noise floor, as `neutral_clip` makes one in NumPy.

Shapes: B batch, M samples of a row.
"""

import numpy as np
import torch
from torch import Tensor, nn

from serct.models.classical.neutral import LEVEL

_SILENCE = 1e-8


class NeutralInput(nn.Module):
    """Removes a clip's mean, scales it to one level and adds a common noise floor.

    The noise is the same for every clip, so that a clip always gets the same prediction. Corpora
    leak the emotion through all three: where files were scaled to one peak, the noise floor shows
    how loud the speaker was.
    """

    def __init__(self, num_samples: int, noise_floor_db: float) -> None:
        """Draw the noise.

        Args:
            num_samples: Length of a row; on longer ones the noise repeats.
            noise_floor_db: Of the noise, below the level of the clip.
        """
        super().__init__()
        drawn = np.random.default_rng(0).standard_normal(num_samples)
        noise = torch.from_numpy(drawn).float() * LEVEL * 10 ** (noise_floor_db / 20)
        self.register_buffer("noise", noise, persistent=False)

    def forward(self, waveforms: Tensor, num_valid: Tensor) -> Tensor:
        """Return neutral clips; padding stays zero. [B, M], [B] -> [B, M]."""
        samples = torch.arange(waveforms.shape[1], device=waveforms.device)
        is_spoken = samples < num_valid[:, None]
        lengths = num_valid.clamp(min=1)[:, None]
        waveforms = (waveforms - waveforms.sum(dim=1, keepdim=True) / lengths) * is_spoken
        level = (waveforms.square().sum(dim=1, keepdim=True) / lengths).sqrt()
        noise = self.get_buffer("noise")
        noise = noise[samples % len(noise)] * is_spoken
        # Not a sum: exporters to ONNX drop such a small term.
        return waveforms * (LEVEL / level.clamp(min=_SILENCE)) + noise


def without_zeros_behind(waveforms: Tensor, num_valid: Tensor) -> Tensor:
    """Count each clip's samples up to the last that is not zero: a recorder adds no such silence.

    Args:
        waveforms: Zero behind each clip. [B, M]
        num_valid: [B]

    Returns:
        At least 1. [B]
    """
    places = torch.arange(1, waveforms.shape[1] + 1, device=waveforms.device)
    return (places * (waveforms != 0)).amax(dim=1).clamp(min=1).minimum(num_valid)
