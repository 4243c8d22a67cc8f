"""One row of features for a clip, from the hidden states of an encoder.

Shapes: B batch, M samples of a cut row, S hidden states in use, T frames, D width.
"""

import torch
from torch import Tensor
from torch.nn import functional

_SILENCE = 1e-10


def speech_frames(
    waveforms: Tensor, num_frames: Tensor, length: int, hop_samples: int, range_db: float | None
) -> Tensor:
    """Return the weight of each frame: equal ones for speech, zero for silence and padding.

    A frame is silence if its energy is more than ``range_db`` below the clip's loudest frame.

    Args:
        waveforms: float32 [B, M]
        num_frames: Frames of each clip that are not padding. int64 [B]
        length: T.
        hop_samples: From one frame to the next.
        range_db: None keeps all frames of a clip.

    Returns:
        Each clip's sum is 1. float32 [B, T]
    """
    is_kept = torch.arange(length, device=num_frames.device) < num_frames[:, None]
    if range_db is not None:
        # Cut instead where a frame needs samples behind its own.
        missing = length * hop_samples - waveforms.shape[1]
        padded = functional.pad(waveforms, (0, missing))
        energies = padded.reshape(-1, length, hop_samples).square().mean(dim=2)
        loudest = (energies * is_kept).amax(dim=1, keepdim=True)
        is_kept = is_kept & (energies >= loudest * 10 ** (-range_db / 10))
    weights = is_kept.to(waveforms.dtype)
    return weights / weights.sum(dim=1, keepdim=True)


def mean_and_deviation(states: Tensor, weights: Tensor) -> Tensor:
    """Compute the mean and the standard deviation over frames.

    Args:
        states: [S, B, T, D]
        weights: Of the frames, each clip's sum is 1. [B, T]

    Returns:
        The means of all hidden states, then the deviations. [B, 2 * S * D]
    """
    weights = weights[..., None]
    means = (states * weights).sum(dim=2)  # [S, B, D]
    variances = ((states - means[:, :, None]).square() * weights).sum(dim=2)
    # A clip of one frame has none; the gradient of a root at zero has no bound.
    deviations = variances.clamp(min=_SILENCE).sqrt()
    return torch.cat((means, deviations)).transpose(0, 1).flatten(1)
