"""Attention of every frame to every frame: what the deformable one is compared with.

Shapes: B batch, T frames, D width, H heads, E = D // H.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class FullAttention(nn.Module):
    """Plain multi-head attention, initialised as `DeformableAttention` is.

    Source:
        Vaswani et al., Attention is all you need, 2017, section 3.2.
    """

    def __init__(self, width: int, num_heads: int, *, bias: bool, dropout: float) -> None:
        """Build it.

        Args:
            width: D, a multiple of H.
            num_heads: H.
            bias: Of the maps to queries, keys and values and of the output map.
            dropout: Of the attention's weights, 0..1.
        """
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.queries_keys_values = nn.Linear(width, 3 * width, bias=bias)
        self.output = nn.Linear(width, width, bias=bias)
        for linear in (self.queries_keys_values, self.output):
            nn.init.xavier_uniform_(linear.weight)
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)

    def forward(self, frames: Tensor, num_valid_frames: Tensor | None = None) -> Tensor:
        """Let every frame gather from all; see `DeformableAttention.forward`. [B, T, D] twice."""
        batch, num_frames, width = frames.shape
        projected = self.queries_keys_values(frames).view(batch, num_frames, 3, self.num_heads, -1)
        queries, keys, values = projected.permute(2, 0, 3, 1, 4)  # [B, H, T, E] each
        mask = None
        if num_valid_frames is not None:
            positions = torch.arange(num_frames, device=frames.device)
            mask = (positions < num_valid_frames[:, None])[:, None, None]  # [B, 1, 1, T]
        gathered = functional.scaled_dot_product_attention(
            queries, keys, values, mask, self.dropout if self.training else 0.0
        )
        attended: Tensor = self.output(gathered.transpose(1, 2).reshape(batch, num_frames, width))
        return attended
