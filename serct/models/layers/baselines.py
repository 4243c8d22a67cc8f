"""What the thesis' baselines on waveforms share: level, silent padding, and pooling's limit.

Shapes: B batch, M samples of a cut row, N of a whole one, C channels, T steps.
"""

import torch
from torch import Tensor, nn

from serct.errors import ParamsError


class LevelNorm(nn.Module):
    """Brings waveforms to about unit variance.

    Speech is quiet, 0.01 to 0.1 of full scale: too quiet for the gates of an LSTM, and so far
    from the 1 at which batch norm's running variance starts that evaluation would be off for a
    hundred steps. One factor serves all clips, so that loud stays louder than soft, within a clip
    and between clips. It is the plain average over all steps so far, right from the first one,
    since a corpus' level does not change as weights do.

    A batch norm of one channel over whole rows, of which only what is not padding is at hand.
    """

    # 80 dB below full scale; batch norm's usual 1e-5 would be as large as the variance of speech.
    epsilon = 1e-8

    def __init__(self, num_samples: int) -> None:
        """Build it for rows of N samples."""
        super().__init__()
        self.num_samples = num_samples
        self.register_buffer("running_mean", torch.zeros(1))
        self.register_buffer("running_var", torch.ones(1))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, waveforms: Tensor) -> Tensor:
        """Normalise rows that go on with zeros up to N. float32 [B, 1, M] -> [B, 1, M]."""
        mean, variance = self.get_buffer("running_mean"), self.get_buffer("running_var")
        if self.training:
            count = waveforms.shape[0] * max(waveforms.shape[-1], self.num_samples)
            now = waveforms.sum() / count
            # Not the mean square less the squared mean: of a soft clip beside a large offset
            # that would leave rounding errors only.
            num_missing = count - waveforms.numel()
            squares = (waveforms - now).square().sum() + num_missing * now.square()
            variance_now = squares / count
            with torch.no_grad():
                self.get_buffer("num_batches_tracked").add_(1)
                share = 1 / self.get_buffer("num_batches_tracked")
                mean.lerp_(now.expand(1), share)
                variance.lerp_((variance_now * (count / max(1, count - 1))).expand(1), share)
            mean, variance = now, variance_now
        return (waveforms - mean) * torch.rsqrt(variance + self.epsilon)


def silence_padding(features: Tensor, num_valid: Tensor) -> Tensor:
    """Set all steps behind the valid ones to zero. [B, C, T], [B] -> [B, C, T]."""
    steps = torch.arange(features.shape[-1], device=features.device)
    return features * (steps < num_valid[:, None])[:, None]


def check_pooling(num_samples: int, pool: int, num_stages: int) -> None:
    """Make sure that something is left after pooling.

    Raises:
        ParamsError: If fewer than one step remains.

    Example:
        >>> check_pooling(100, pool=16, num_stages=2)
        Traceback (most recent call last):
        ...
        serct.errors.ParamsError: 2 stages of pool 16 need at least 256 samples, found 100
    """
    needed = pool**num_stages
    if num_samples < needed:
        raise ParamsError(
            f"{num_stages} stages of pool {pool} need at least {needed} samples, "
            f"found {num_samples}"
        )
