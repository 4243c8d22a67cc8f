"""Deformable attention: every head and query chooses where, and how widely, it looks.

Shapes: B batch, T frames, D width, H heads, E = D // H.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

# A sigmoid starts inside these bounds: beyond them its gradient all but vanishes.
_FRACTION_BOUNDS = (1e-4, 0.99)


class Windows(NamedTuple):
    """Where each query looks, in fractional frames that may lie outside the clip.

    Attributes:
        anchor: The point of most interest. [B, H, T]
        start: First point. [B, H, T]
        end: Last point, >= start. [B, H, T]
    """

    anchor: Tensor
    start: Tensor
    end: Tensor


class DeformableAttention(nn.Module):
    """Multi-head attention within a window that each query places itself.

    A linear map of the queries gives an offset and a half-width for each head; the window lies
    around the query's own frame plus the offset. Indices have no gradient, so the logits at the
    window's two bounds and at the anchor's two neighbours are weighted by how far the fractional
    points reach into them: through these four factors the map learns.

    A window that misses the clip attends evenly to all of it, as in the published code.

    Source:
        Chen et al., DST: Deformable Speech Transformer, ICASSP 2023. Thesis 4.4.3, eq. 7-8.
    """

    def __init__(
        self, width: int, half_width_fractions: Tensor, *, bias: bool, dropout: float
    ) -> None:
        """Build one attention with a head for each fraction.

        Args:
            width: D, a multiple of H.
            half_width_fractions: Each head's half-width at the start of training, as a part of
                the clip, in (0, 1). float [H]
            bias: Whether the maps to queries, keys and values and the output map have one. The
                map that places the windows always has: it holds the heads' own half-widths.
            dropout: Of the attention's weights, 0..1.
        """
        super().__init__()
        self.num_heads = len(half_width_fractions)
        self.dropout = dropout
        self.queries_keys_values = nn.Linear(width, 3 * width, bias=bias)
        self.output = nn.Linear(width, width, bias=bias)
        self.placement = nn.Linear(width, 2 * self.num_heads)
        self.register_buffer("half_width_fractions", half_width_fractions, persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the maps by Xavier's rule; start with windows centred on their own frame."""
        for linear in (self.queries_keys_values, self.output):
            nn.init.xavier_uniform_(linear.weight)
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)
        nn.init.zeros_(self.placement.weight)
        with torch.no_grad():
            self.placement.bias[: self.num_heads] = 0.0
            self.placement.bias[self.num_heads :] = torch.logit(
                self.get_buffer("half_width_fractions")
            )

    def forward(self, frames: Tensor, num_valid_frames: Tensor | None = None) -> Tensor:
        """Let every frame gather what it needs from its windows.

        Args:
            frames: [B, T, D], T >= 1
            num_valid_frames: Frames of each clip that are not padding, 1..T; the others are then
                invisible, and offsets and half-widths are parts of this number. None: all T.
                int64 [B]

        Returns:
            [B, T, D]; rows of padded frames mean nothing.
        """
        batch, num_frames, width = frames.shape
        queries, keys, values = self.queries_keys_values(frames).chunk(3, dim=-1)
        windows = self._place(queries, num_valid_frames)

        # [B, T, D] -> [B, H, T, E]
        shape = (batch, num_frames, self.num_heads, width // self.num_heads)
        q, k, v = (part.view(shape).transpose(1, 2) for part in (queries, keys, values))
        logits = (q * shape[-1] ** -0.5) @ k.transpose(2, 3)  # [B, H, T, T]
        logits = emphasise(logits, windows)
        logits = confine(logits, windows, num_valid_frames)
        weights = functional.dropout(logits.softmax(dim=-1), self.dropout, self.training)
        gathered = (weights.to(v.dtype) @ v).transpose(1, 2).reshape(batch, num_frames, width)
        attended: Tensor = self.output(gathered)
        return attended

    def _place(self, queries: Tensor, num_valid_frames: Tensor | None) -> Windows:
        """Let the queries choose their windows. [B, T, D] -> 3 x [B, H, T]."""
        num_frames = queries.shape[1]
        # In half precision positions beyond 256 are off by whole frames.
        with torch.autocast(queries.device.type, enabled=False):
            raw = self.placement(queries.to(self.placement.weight.dtype)).transpose(1, 2)
            offset, half_width = raw.chunk(2, dim=1)  # [B, H, T] each
            own = torch.arange(num_frames, device=raw.device, dtype=raw.dtype)
            reach: Tensor | int = num_frames
            if num_valid_frames is not None:
                reach = num_valid_frames[:, None, None].to(raw.dtype)
            anchor = own + offset.tanh() * reach
            half_width = half_width.sigmoid() * reach
            return Windows(anchor, anchor - half_width, anchor + half_width)


def emphasise(logits: Tensor, windows: Windows) -> Tensor:
    """Weight the logits at the windows' fractional points.

    A logit's factor is 1, less the part of its frame that a bound cuts off, plus the anchor's
    nearness; where points fall on one frame their changes add up. Points outside the clip have
    no effect.

        frames    3    4    5    6    7    8
        window       [--------.--------]         start 3.6, anchor 5.2, end 6.8
        factor   0.4   1  1.8  1.2  0.8          at 3: 1 - 0.6, at 5: 1 + 0.8, at 6: 1 + 0.2

    Args:
        logits: [B, H, T, T], queries by keys.
        windows: 3 x [B, H, T]

    Returns:
        [B, H, T, T]

    Source:
        Chen et al., DST, ICASSP 2023: the weighting that makes the window learnable.
    """
    num_frames = logits.shape[-1]
    first = windows.start.detach().floor()
    last = windows.end.detach().ceil()
    before = windows.anchor.detach().floor()
    points = torch.stack((first, last, before, before + 1), dim=-1)  # [B, H, T, 4]
    changes = torch.stack(
        (
            first - windows.start,
            windows.end - last,
            before + 1 - windows.anchor,
            windows.anchor - before,
        ),
        dim=-1,
    )
    inside = (points >= 0) & (points < num_frames)
    # A NaN is no index; it reaches the loss through the logits all the same, and is reported there.
    indices = points.nan_to_num().clamp(0, num_frames - 1).long()
    added = logits.gather(-1, indices) * (changes * inside)
    return logits.scatter_add(-1, indices, added.to(logits.dtype))


def confine(logits: Tensor, windows: Windows, num_valid_frames: Tensor | None) -> Tensor:
    """Rule out the keys beyond each query's window and beyond the clip; **overwrites** ``logits``.

    The window takes in every frame that it touches. Keys outside it get the lowest finite number,
    which softmax turns into exactly 0 beside any other logit, and into equal shares where the
    window misses the whole clip. Padding gets minus infinity: never a share.

    Args:
        logits: [B, H, T, T], queries by keys.
        windows: 3 x [B, H, T]
        num_valid_frames: Frames of each clip that are not padding, or None for all. int64 [B]
    """
    num_frames = logits.shape[-1]
    keys = torch.arange(num_frames, device=logits.device)
    first = windows.start.detach().floor()[..., None]  # [B, H, T, 1]
    last = windows.end.detach().ceil()[..., None]
    logits.masked_fill_((keys < first) | (keys > last), torch.finfo(logits.dtype).min)
    if num_valid_frames is not None:
        padded = keys >= num_valid_frames[:, None]  # [B, T]
        logits.masked_fill_(padded[:, None, None], -torch.inf)
    return logits


def spread_half_widths(
    num_heads: int, min_ms: float, max_ms: float, *, frame_ms: float, num_frames: int
) -> Tensor:
    """Spread the heads' first half-widths evenly, from short to long, as parts of a clip.

    A single head gets the middle. What exceeds a short clip is cut to almost all of it.

    Args:
        num_heads: H, at least 1.
        min_ms: The first head's half-width, in ms.
        max_ms: The last head's.
        frame_ms: Distance between frames, in ms.
        num_frames: T of a full row.

    Returns:
        float32 [H], each in (0, 1).

    Example:
        >>> parts = spread_half_widths(2, 25.0, 500.0, frame_ms=20.0, num_frames=450)
        >>> (parts * 450 * 20).round().tolist()
        [25.0, 500.0]
    """
    if num_heads == 1:
        min_ms = (min_ms + max_ms) / 2
    half_widths_ms = torch.linspace(min_ms, max_ms, num_heads)
    return (half_widths_ms / (frame_ms * num_frames)).clamp(*_FRACTION_BOUNDS)
