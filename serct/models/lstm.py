"""Baseline `lstm`, read over the steps that are not padding.

Shapes: B batch, M samples of a cut row, N of a whole one, T steps, U units, K emotions.
"""

from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional

from serct.config.section import PositiveInt, Probability
from serct.models.interface import TorchParams
from serct.models.layers.baselines import LevelNorm, silence_padding
from serct.models.layers.recurrent import read_steps


class LstmParams(TorchParams):
    """Baseline: an LSTM over frames of the waveform."""

    architecture: Literal["lstm"]
    frame_samples: PositiveInt
    hidden: PositiveInt
    num_layers: PositiveInt
    dropout: Probability

    masks_padding: ClassVar[bool] = True

    def build(self, num_samples: int, sample_rate_hz: int, num_emotions: int) -> nn.Module:
        """See `TorchParams.build`."""
        return Lstm(self, num_samples, sample_rate_hz, num_emotions)


class Lstm(nn.Module):
    """An LSTM that reads the waveform frame by frame, averaged over its steps.

    Source:
        Thesis 5.2. Its scripts hand the LSTM all samples as one single step; here a step is a
        frame of the waveform, and its samples are the step's inputs.
    """

    def __init__(
        self, params: LstmParams, num_samples: int, sample_rate_hz: int, num_emotions: int
    ) -> None:
        """See `TorchParams.build`; frames count samples."""
        super().__init__()
        self.num_samples = num_samples
        self.frame_samples = params.frame_samples
        self.level = LevelNorm(num_samples)
        self.lstm = nn.LSTM(
            params.frame_samples,
            params.hidden,
            params.num_layers,
            batch_first=True,
            # PyTorch warns of dropout between layers where there is only one.
            dropout=params.dropout if params.num_layers > 1 else 0.0,
        )
        self.head = nn.Linear(params.hidden, num_emotions)

    def forward(self, waveforms: Tensor, num_valid: Tensor) -> Tensor:
        """Score waveforms, see `TorchParams.build`."""
        samples = silence_padding(self.level(waveforms[:, None]), num_valid)[:, 0]
        missing = -samples.shape[1] % self.frame_samples
        frames = functional.pad(samples, (0, missing)).view(
            samples.shape[0], -1, self.frame_samples
        )
        num_steps = (num_valid + self.frame_samples - 1) // self.frame_samples
        states = read_steps(self.lstm, frames, num_steps)  # [B, T, U]
        logits: Tensor = self.head(states.sum(dim=1) / num_steps[:, None])
        return logits
