"""The thesis' model: a convolutional frontend, a deformable transformer, a per-frame classifier.

Shapes: B batch, M samples of a cut row, N of a whole one, T frames, D width, H heads, K emotions.
"""

from collections.abc import Sequence
from operator import itemgetter
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from serct.config.section import Positive, PositiveInt, Probability
from serct.errors import ParamsError
from serct.models.interface import TorchParams
from serct.models.layers.deformable import DeformableAttention, spread_half_widths
from serct.models.layers.dropout import Dropout
from serct.models.layers.frontend import Frontend, larger
from serct.models.layers.full_attention import FullAttention
from serct.models.layers.neutral import NeutralInput, without_zeros_behind

# Channels, kernel, stride, padding.
ConvLayer = tuple[PositiveInt, PositiveInt, PositiveInt, Annotated[int, Field(ge=0)]]
# Values of the first layer that a CPU computes together: 20 MB, which a large cache holds.
VALUES_AT_ONCE = 5_000_000


class SerctParams(TorchParams):
    """The thesis' model: strided convolutions, then a deformable transformer."""

    architecture: Literal["serct"]
    conv_layers: tuple[ConvLayer, ...]
    conv_norm: Literal["group_first", "layer"]
    conv_bias: bool
    width: PositiveInt
    num_layers: Annotated[int, Field(ge=0)]
    num_heads: PositiveInt
    attention: Literal["deformable", "full"]
    feed_forward: PositiveInt
    bias: bool
    dropout: Probability
    half_width_min_ms: Positive
    half_width_max_ms: Positive
    classifier_widths: tuple[PositiveInt, ...]
    mask_padding: bool
    neutral_input: bool
    noise_floor_db: Annotated[float, Field(lt=0)]

    @property
    def masks_padding(self) -> bool:
        """See `TorchParams`; the published form takes padding for sound."""
        return self.mask_padding

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.width % self.num_heads:
            raise ValueError(f"width {self.width} must be a multiple of num_heads {self.num_heads}")
        if self.width % 2:
            raise ValueError(f"width {self.width} must be even (sine and cosine positions)")
        if self.half_width_min_ms > self.half_width_max_ms:
            raise ValueError("half_width_min_ms must not exceed half_width_max_ms")
        return self

    def build(self, num_samples: int, sample_rate_hz: int, num_emotions: int) -> nn.Module:
        """See `TorchParams.build`."""
        return Serct(self, num_samples, sample_rate_hz, num_emotions)


class Serct(nn.Module):
    """Waveforms in, one logit an emotion out.

    Frontend, projection, sinusoidal positions, `Block` after `Block`, then a classifier on every
    frame whose logits are averaged. As published, padding is treated as sound: every row goes on
    with zeros up to N, whose frames are copies of one. With ``mask_padding`` it is kept out of
    every step, and zeros behind a clip change nothing.

    Source:
        Thesis 4 and 5.3; where its text and its scripts differ, the comments in params.yaml say
        which one a value follows. One deliberate difference from the scripts: the positions are
        the sinusoid itself, which the scripts' initialisation overwrites with noise.
    """

    def __init__(
        self, params: SerctParams, num_samples: int, sample_rate_hz: int, num_emotions: int
    ) -> None:
        """See `TorchParams.build`; the first half-widths are right, in ms, for rows of N."""
        super().__init__()
        self.mask_padding = params.mask_padding
        self.neutral = (
            NeutralInput(num_samples, params.noise_floor_db) if params.neutral_input else None
        )
        self.num_samples = num_samples
        self.frontend = Frontend(params.conv_layers, params.conv_norm, params.conv_bias)
        if num_samples < self.frontend.shortest:
            raise ParamsError(
                f"audio.num_samples is {num_samples}: too short for a frame of conv_layers, "
                f"expected at least {self.frontend.shortest}"
            )
        num_frames = self.frontend.num_frames(num_samples)
        channels = self.frontend.num_channels
        self.projection = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, params.width), nn.LayerNorm(params.width)
        )
        positions = sinusoidal_positions(num_frames, params.width)
        self.register_buffer("positions", positions, persistent=False)
        half_widths = spread_half_widths(
            params.num_heads, params.half_width_min_ms, params.half_width_max_ms,
            frame_ms=1000 * self.frontend.hop_samples / sample_rate_hz, num_frames=num_frames,
        )  # fmt: skip
        self.blocks = nn.ModuleList(Block(params, half_widths) for _ in range(params.num_layers))
        self.classifier = _classifier(
            params.width, params.classifier_widths, num_emotions, params.dropout
        )

    def forward(self, waveforms: Tensor, num_valid: Tensor) -> Tensor:
        """Score waveforms, see `TorchParams.build`."""
        if self.neutral is not None:
            num_valid = without_zeros_behind(waveforms, num_valid)
            waveforms = self.neutral(waveforms, num_valid)
        # A clip too short for a frame gets one all the same, from the zeros behind it.
        num_valid = num_valid.clamp(min=self.frontend.shortest)
        frames = self._encode(waveforms, num_valid)  # [B, T, D]
        num_frames = frames.shape[1]
        frames = frames + self._positions(num_frames, frames)
        num_valid_frames = self.frontend.num_frames(num_valid) if self.mask_padding else None
        for block in self.blocks:
            frames = block(frames, num_valid_frames)
        logits: Tensor = self.classifier(frames)  # [B, T, K]
        if num_valid_frames is None:
            return logits.mean(dim=1)
        valid = torch.arange(num_frames, device=logits.device) < num_valid_frames[:, None]
        return (logits * valid[..., None]).sum(dim=1) / num_valid_frames[:, None]

    def _encode(self, waveforms: Tensor, num_valid: Tensor) -> Tensor:
        """Turn rows into projected frames; with ``mask_padding`` up to the last valid one.

        Args:
            waveforms: [B, M]
            num_valid: At least what makes a frame. int64 [B]

        Returns:
            [B, T, D]
        """
        num_samples = larger(waveforms.shape[1], self.num_samples)
        if not takes_groups(waveforms.device):
            return self._encode_rows(waveforms, num_samples, num_valid)
        # Clips of like length go together, as many as are work enough for a CPU: none waits for a
        # longer one, and the many small steps of a small model do not wait for each other.
        lengths = num_valid.tolist()
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        values = self.frontend.layers[0][0] * max(lengths) // self.frontend.layers[0][2]
        group = max(1, VALUES_AT_ONCE // values)
        clips: list[Tensor] = []
        for first in range(0, len(order), group):
            rows = order[first : first + group]
            encoded = self._encode_rows(
                waveforms[rows, : lengths[rows[-1]]], num_samples, num_valid[rows]
            )
            clips += encoded.unbind()
        placed = sorted(zip(order, clips, strict=True), key=itemgetter(0))
        return pad_sequence([clip for _, clip in placed], batch_first=True)

    def _encode_rows(self, waveforms: Tensor, num_samples: int, num_valid: Tensor) -> Tensor:
        """Turn rows into projected frames together.

        Args:
            waveforms: [B, M]
            num_samples: How far the rows go on with zeros; read only without ``mask_padding``.
            num_valid: Read only with ``mask_padding``. int64 [B]

        Returns:
            [B, T, D]
        """
        if self.mask_padding:
            missing = self.frontend.shortest - waveforms.shape[1]
            rows = functional.pad(waveforms, (0, max(missing, 0)))
            projected: Tensor = self.projection(self.frontend(rows, num_valid))
            return projected
        cut = self.frontend.cut(num_samples, waveforms.shape[1])
        rows = functional.pad(waveforms, (0, cut.num_samples - waveforms.shape[1]))
        num_left_out = cut.num_frames * self.frontend.hop_samples
        projected = self.projection(self.frontend(rows, num_left_out=num_left_out))
        return self.frontend.restore(projected, cut)

    def _positions(self, num_frames: int, like: Tensor) -> Tensor:
        positions = self.get_buffer("positions")
        if num_frames > len(positions):
            positions = sinusoidal_positions(num_frames, positions.shape[1]).to(like.device)
        return positions[:num_frames]


class Block(nn.Module):
    """Attention, then a feed-forward part, each added to its input and normalised."""

    def __init__(self, params: SerctParams, half_width_fractions: Tensor) -> None:
        """Build one layer of the transformer.

        Args:
            params: The architecture; ``bias`` covers the attention's maps to queries, keys, values
                and output, nothing else.
            half_width_fractions: See `DeformableAttention`. [H]
        """
        super().__init__()
        bias, dropout = params.bias, params.dropout
        self.attention: nn.Module
        if params.attention == "deformable":
            self.attention = DeformableAttention(
                params.width, half_width_fractions, bias=bias, dropout=dropout
            )
        else:
            self.attention = FullAttention(
                params.width, params.num_heads, bias=bias, dropout=dropout
            )
        self.attention_dropout = Dropout(params.dropout)
        self.attention_norm = nn.LayerNorm(params.width)
        self.feed_forward = nn.Sequential(
            nn.Linear(params.width, params.feed_forward),
            nn.ReLU(),
            Dropout(params.dropout),
            nn.Linear(params.feed_forward, params.width),
            Dropout(params.dropout),
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


def takes_groups(device: torch.device) -> bool:
    """Whether a batch is convolved group by group: on a CPU, but not in an exported model."""
    return device.type == "cpu" and not torch.compiler.is_exporting()


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
        layers += [nn.Linear(width, units), nn.ReLU(), Dropout(dropout)]
        width = units
    return nn.Sequential(*layers, nn.Linear(width, num_emotions))
