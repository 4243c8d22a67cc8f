"""Waveforms of one level, one mean and one noise floor, in torch and in NumPy.

Shapes: B batch, M samples of a row.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from serct.runtime.arrays import Features, Floats

# Root mean square of every clip afterwards: that of speech at a usual level.
_LEVEL = 0.1
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
        noise = torch.from_numpy(drawn).float() * _LEVEL * 10 ** (noise_floor_db / 20)
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
        return waveforms * (_LEVEL / (level + _SILENCE)) + noise


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


def neutral_clip(waveform: Floats, noise_floor_db: float, num_after: int) -> Features:
    """Compute one row as `NeutralInput` does, cut after its last sample that is not zero.

    So neither padding, DC, loudness nor how quiet the studio was gives away the emotion.

    Args:
        waveform: float32 [M]
        noise_floor_db: Of the noise, below the clip's level.
        num_after: Samples that hold only the noise, to append.

    Returns:
        float64 [clip + num_after]
    """
    spoken = np.flatnonzero(waveform)
    clip = waveform[: spoken[-1] + 1 if len(spoken) else 1].astype(np.float64)
    clip = clip - clip.mean()
    loudness = np.sqrt((clip**2).mean())
    clip = np.pad(clip * (_LEVEL / loudness if loudness > 0 else 0.0), (0, num_after))
    floor = _LEVEL * 10 ** (noise_floor_db / 20)
    clip += floor * _noise(1 << (len(clip) - 1).bit_length())[: len(clip)]
    return clip


@lru_cache(maxsize=4)
def _noise(num_samples: int) -> Features:
    """Draw the same noise for every clip, so that a clip always has the same features. [N].

    Shorter noise is the beginning of longer noise.
    """
    drawn = np.random.default_rng(0).standard_normal(num_samples)
    drawn.flags.writeable = False
    return drawn
