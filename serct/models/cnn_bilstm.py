"""Baseline `cnn_bilstm`, read over the steps that are not padding.

Shapes: B batch, M samples of a cut row, N of a whole one, C channels, T steps, K emotions.
"""

from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional

from serct.config.section import PositiveInt, Probability
from serct.models.interface import TorchParams
from serct.models.layers.baselines import LevelNorm, check_pooling, silence_padding
from serct.models.layers.recurrent import read_steps


class CnnBilstmParams(TorchParams):
    """Baseline: convolution and pooling stages, then a bidirectional LSTM."""

    architecture: Literal["cnn_bilstm"]
    channels: tuple[PositiveInt, ...]
    kernel_size: PositiveInt
    pool: PositiveInt
    hidden: PositiveInt
    dropout: Probability

    masks_padding: ClassVar[bool] = True

    def build(self, num_samples: int, sample_rate_hz: int, num_emotions: int) -> nn.Module:
        """See `TorchParams.build`."""
        return CnnBilstm(self, num_samples, sample_rate_hz, num_emotions)


class CnnBilstm(nn.Module):
    """Convolution and pooling stages, then an LSTM in both directions, averaged over its steps.

    Average and not last state: the states at the two ends carry little of a word hundreds of
    steps away, and gradients reach the steps between through the average directly.

    Source:
        Thesis 5.2; kernels and units as in its scripts, which read the last step, always padding.
    """

    def __init__(
        self, params: CnnBilstmParams, num_samples: int, sample_rate_hz: int, num_emotions: int
    ) -> None:
        """See `TorchParams.build`; the layers count samples."""
        super().__init__()
        check_pooling(num_samples, params.pool, len(params.channels))
        self.num_samples = num_samples
        self.level = LevelNorm(num_samples)
        inputs = (1, *params.channels)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(inputs[index], channels, params.kernel_size, padding="same")
            for index, channels in enumerate(params.channels)
        )
        self.pool = params.pool
        self.lstm = nn.LSTM(inputs[-1], params.hidden, batch_first=True, bidirectional=True)
        self.head = nn.Sequential(
            nn.Dropout(params.dropout), nn.Linear(2 * params.hidden, num_emotions)
        )

    def forward(self, waveforms: Tensor, num_valid: Tensor) -> Tensor:
        """Score waveforms, see `TorchParams.build`."""
        # What pooling leaves one step of.
        missing = self.pool ** len(self.convolutions) - waveforms.shape[1]
        waveforms = functional.pad(waveforms, (0, max(missing, 0)))
        features = silence_padding(self.level(waveforms[:, None]), num_valid)  # [B, 1, M]
        for convolution in self.convolutions:
            # ReLU and maximum may change places: the pooled tensor is the smaller one.
            features = functional.max_pool1d(convolution(features), self.pool).relu()
            num_valid = (num_valid // self.pool).clamp(min=1)
            features = silence_padding(features, num_valid)  # [B, C, T]
        states = read_steps(self.lstm, features.transpose(1, 2), num_valid)
        logits: Tensor = self.head(states.sum(dim=1) / num_valid[:, None])
        return logits
