"""Deformable attention: every head and query chooses where, and how widely, it looks.

Shapes: B batch, T frames, D width, H heads, E = D // H.
"""

import torch
from torch import Tensor, nn

from serct.models.layers.window_attention import attend
from serct.models.layers.windows import Windows

# A sigmoid starts inside these bounds: beyond them its gradient all but vanishes.
_FRACTION_BOUNDS = (1e-4, 0.99)


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
        batch, num_frames, _ = frames.shape
        windows = self._place(frames, num_valid_frames)
        projected = self.queries_keys_values(frames).view(batch, num_frames, 3, self.num_heads, -1)
        projected = projected.permute(2, 3, 0, 1, 4).contiguous()  # [3, H, B, T, E]
        dropout = self.dropout if self.training else 0.0
        gathered = attend(projected, windows, num_valid_frames, dropout)  # [B, T, H, E]
        attended: Tensor = self.output(gathered.flatten(2))
        return attended

    def _place(self, frames: Tensor, num_valid_frames: Tensor | None) -> Windows:
        """Let the queries choose their windows. [B, T, D] -> 3 x [H, B, T].

        Two linear maps in a row are one: so the queries need not be at hand.
        """
        num_frames, width = frames.shape[1:]
        # In half precision positions beyond 256 are off by whole frames.
        with torch.autocast(frames.device.type, enabled=False):
            to_queries = self.queries_keys_values
            weight = self.placement.weight @ to_queries.weight[:width]
            bias: Tensor = self.placement.bias
            if to_queries.bias is not None:
                bias = bias.addmv(self.placement.weight, to_queries.bias[:width])
            columns = frames.flatten(0, 1).T.to(weight.dtype)  # [D, B T]
            raw = torch.addmm(bias[:, None], weight, columns)  # [2 H, B T]
            offset, half_width = raw.view(2, -1, *frames.shape[:2])  # [H, B, T] each
            own = torch.arange(num_frames, device=raw.device, dtype=raw.dtype)
            reach: Tensor | int = num_frames
            if num_valid_frames is not None:
                reach = num_valid_frames[:, None].to(raw.dtype)
            anchor = own + offset.tanh() * reach
            half_width = half_width.sigmoid() * reach
            return Windows(anchor, anchor - half_width, anchor + half_width)


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
