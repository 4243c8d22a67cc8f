"""The level at which the baselines hear a corpus."""

import torch
from torch import Tensor, nn


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
