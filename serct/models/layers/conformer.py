"""Conformer blocks and attentive pooling, over frames of which some are padding.

Shapes: B batch, T frames, D width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from serct.models.layers.dropout import Dropout
from serct.models.layers.full_attention import FullAttention

_MIN_VARIANCE = 1e-5
# Where a frame of padding must get no weight in a softmax.
_NEVER = -1e4


class ConformerBlock(nn.Module):
    """Half a feed-forward part, attention, a depthwise convolution, the other half."""

    def __init__(self, width: int, num_heads: int, kernel_frames: int, dropout: float) -> None:
        """Build a block for frames of D values; the kernel covers this many of them."""
        super().__init__()
        self.first_half = _feed_forward(width, dropout)
        self.attention_norm = nn.LayerNorm(width)
        self.attention = FullAttention(width, num_heads, bias=True, dropout=dropout)
        self.convolution_norm = nn.LayerNorm(width)
        self.gate = nn.Linear(width, 2 * width)
        self.depthwise = nn.Conv1d(width, width, kernel_frames, padding="same", groups=width)
        self.depthwise_norm = nn.LayerNorm(width)
        self.mix = nn.Linear(width, width)
        self.second_half = _feed_forward(width, dropout)
        self.norm = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)

    def forward(self, frames: Tensor, num_frames: Tensor) -> Tensor:
        """Refine the frames. [B, T, D], [B] -> [B, T, D]."""
        frames = frames + 0.5 * self.first_half(frames)
        attended = self.attention(self.attention_norm(frames), num_frames)
        frames = frames + self.dropout(attended)
        gated = functional.glu(self.gate(self.convolution_norm(frames)), dim=-1)
        gated = gated * valid_frames(frames.shape[1], num_frames)[..., None]
        near = self.depthwise(gated.transpose(1, 2)).transpose(1, 2)
        frames = frames + self.dropout(self.mix(functional.silu(self.depthwise_norm(near))))
        frames = frames + 0.5 * self.second_half(frames)
        refined: Tensor = self.norm(frames)
        return refined


class AttentivePooling(nn.Module):
    """Mean and standard deviation over the frames, weighted by a learned score."""

    def __init__(self, width: int) -> None:
        """Build it for frames of D values."""
        super().__init__()
        self.score = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))

    def forward(self, frames: Tensor, num_frames: Tensor) -> Tensor:
        """Compute one vector of each clip. [B, T, D], [B] -> [B, 2 D]."""
        frames = frames.float()
        is_valid = valid_frames(frames.shape[1], num_frames)[..., None]
        weights = self.score(frames).float().masked_fill(~is_valid, _NEVER).softmax(dim=1)
        mean = (frames * weights).sum(dim=1)
        variance = (frames.square() * weights).sum(dim=1) - mean.square()
        return torch.cat((mean, variance.clamp(min=_MIN_VARIANCE).sqrt()), dim=1)


def _feed_forward(width: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, 2 * width),
        nn.SiLU(),
        Dropout(dropout),
        nn.Linear(2 * width, width),
        Dropout(dropout),
    )


def valid_frames(num_frames: int, num_valid: Tensor) -> Tensor:
    """Return where frames are not padding. bool [B, T]."""
    return torch.arange(num_frames, device=num_valid.device) < num_valid[:, None]
