"""The thesis' model: a convolutional frontend, a deformable transformer, a per-frame classifier.

Shapes: B batch, N samples, T frames, D width, H heads, K emotions.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from serct.errors import ParamsError
from serct.model_params import SerctParams
from serct.models.deformable import DeformableAttention, spread_half_widths
from serct.models.frontend import Frontend


class Serct(nn.Module):
    """Waveforms in, one logit an emotion out.

    Frontend, projection, sinusoidal positions, `Block` after `Block`, then a classifier on every
    frame whose logits are averaged. As published, padding is treated as sound; with
    ``mask_padding`` it is kept out of every step, and zeros behind a clip change nothing.

    Source:
        Thesis 4 and 5.3; where its text and its scripts differ, the comments in params.yaml tell
        which one a value follows. One deliberate difference from the scripts: the positions are
        the sinusoid itself, which the scripts' initialisation overwrites with noise.
    """

    def __init__(
        self, params: SerctParams, num_samples: int, sample_rate_hz: int, num_emotions: int
    ) -> None:
        """Build the model with random weights.

        Args:
            params: The architecture.
            num_samples: N of the rows it will be trained on. Other lengths work too, but the
                windows' first half-widths are right, in ms, for this one.
            sample_rate_hz: Of those rows.
            num_emotions: K.

        Raises:
            ParamsError: If ``num_samples`` is too short for a single frame.
        """
        super().__init__()
        self.mask_padding = params.mask_padding
        self.frontend = Frontend(
            params.conv_layers, params.conv_norm, params.conv_bias, params.mask_padding
        )
        num_frames = self.frontend.num_frames(num_samples)
        if num_frames < 1:
            raise ParamsError(
                f"audio.num_samples is {num_samples}: too short for a frame of conv_layers, "
                f"expected at least about {self.frontend.receptive_field}"
            )
        channels = self.frontend.num_channels
        self.projection = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, params.width),
            nn.LayerNorm(params.width),
        )
        positions = sinusoidal_positions(num_frames, params.width)
        self.register_buffer("positions", positions, persistent=False)
        half_widths = spread_half_widths(
            params.num_heads,
            params.half_width_min_ms,
            params.half_width_max_ms,
            frame_ms=1000 * self.frontend.hop_samples / sample_rate_hz,
            num_frames=num_frames,
        )
        self.blocks = nn.ModuleList(Block(params, half_widths) for _ in range(params.num_layers))
        self.classifier = _classifier(
            params.width, params.classifier_widths, num_emotions, params.dropout
        )

    def forward(self, waveforms: Tensor, num_valid: Tensor) -> Tensor:
        """Score waveforms.

        Args:
            waveforms: In [-1, 1], zero-padded at the end. float32 [B, N]
            num_valid: Samples of each that are not padding, 1..N; read only with
                ``mask_padding``. int64 [B]

        Returns:
            Logits. [B, K]
        """
        frames = self.projection(self.frontend(waveforms, num_valid))  # [B, T, D]
        num_frames = frames.shape[1]
        frames = frames + self._positions(num_frames, frames)
        num_valid_frames = self.frontend.num_valid_frames(num_valid) if self.mask_padding else None
        for block in self.blocks:
            frames = block(frames, num_valid_frames)
        logits: Tensor = self.classifier(frames)  # [B, T, K]
        if num_valid_frames is None:
            return logits.mean(dim=1)
        valid = torch.arange(num_frames, device=logits.device) < num_valid_frames[:, None]
        return (logits * valid[..., None]).sum(dim=1) / num_valid_frames[:, None]

    def _positions(self, num_frames: int, like: Tensor) -> Tensor:
        positions = self.get_buffer("positions")
        if num_frames > len(positions):
            positions = sinusoidal_positions(num_frames, positions.shape[1]).to(like.device)
        return positions[:num_frames]


class Block(nn.Module):
    """Deformable attention, then a feed-forward part, each added to its input and normalised."""

    def __init__(self, params: SerctParams, half_width_fractions: Tensor) -> None:
        """Build one layer of the transformer.

        Args:
            params: The architecture; ``bias`` covers the attention's maps to queries, keys, values
                and output, nothing else.
            half_width_fractions: See `DeformableAttention`. [H]
        """
        super().__init__()
        self.attention = DeformableAttention(
            params.width, half_width_fractions, bias=params.bias, dropout=params.dropout
        )
        self.attention_dropout = nn.Dropout(params.dropout)
        self.attention_norm = nn.LayerNorm(params.width)
        self.feed_forward = nn.Sequential(
            nn.Linear(params.width, params.feed_forward),
            nn.ReLU(),
            nn.Dropout(params.dropout),
            nn.Linear(params.feed_forward, params.width),
            nn.Dropout(params.dropout),
        )
        self.feed_forward_norm = nn.LayerNorm(params.width)
        for layer in self.feed_forward:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)

    def forward(self, frames: Tensor, num_valid_frames: Tensor | None) -> Tensor:
        """Refine the frames. [B, T, D] -> [B, T, D]."""
        attended = self.attention(frames, num_valid_frames)
        frames = self.attention_norm(frames + self.attention_dropout(attended))
        refined: Tensor = self.feed_forward_norm(frames + self.feed_forward(frames))
        return refined


def sinusoidal_positions(num_frames: int, width: int) -> Tensor:
    """Encode positions 0..T-1: sines in even columns, cosines in odd ones. float32 [T, D].

    Args:
        num_frames: T.
        width: D, even.

    Source:
        Vaswani et al., Attention is all you need, 2017, section 3.5.

    Example:
        >>> (100 * sinusoidal_positions(2, 4)).round().tolist()
        [[0.0, 100.0, 0.0, 100.0], [84.0, 54.0, 1.0, 100.0]]
    """
    positions = torch.arange(num_frames, dtype=torch.float64)[:, None]
    exponents = torch.arange(0, width, 2, dtype=torch.float64) / width
    angles = positions * 10_000.0**-exponents  # [T, D / 2]
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1).float()


def _classifier(
    width: int, hidden: Sequence[int], num_emotions: int, dropout: float
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for units in hidden:
        layers += [nn.Linear(width, units), nn.ReLU(), nn.Dropout(dropout)]
        width = units
    return nn.Sequential(*layers, nn.Linear(width, num_emotions))
