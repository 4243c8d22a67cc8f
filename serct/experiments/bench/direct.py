"""The direct formulation of the thesis' model: the computation of `Serct` without its shortcuts.

Shapes: B batch, M samples of a cut row, N of a whole one, T frames, D width, H heads, K emotions.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from serct.models.layers.deformable import DeformableAttention
from serct.models.serct import Block, Serct


class DirectSerct(nn.Module):
    """A `Serct` computed as its formulas read, with the same weights.

    Every row is convolved over all of its N samples, and attention weighs all pairs of frames:
    a mask for the window, and one for each of the four frames whose logits are weighted. The
    published code works the same way; this is plain PyTorch, written to be read. It shares no
    computation with `Serct`, so equal results are evidence.

    Source:
        Thesis 4.3 and 4.4; Chen et al., DST: Deformable Speech Transformer, ICASSP 2023.
    """

    def __init__(self, model: Serct) -> None:
        """Share the weights of a model.

        Raises:
            ValueError: If it masks padding, which the published form does not.
        """
        super().__init__()
        if model.mask_padding:
            raise ValueError("the direct formulation is that of a model without mask_padding")
        self.model = model

    def forward(self, waveforms: Tensor, num_valid: Tensor) -> Tensor:
        """Score waveforms, as `Serct.forward`; ``num_valid`` is not read. [B, M] -> [B, K]."""
        model = self.model
        rows = functional.pad(waveforms, (0, model.num_samples - waveforms.shape[1]))
        frames = model.projection(self._convolve(rows))  # [B, T, D]
        frames = frames + model.get_buffer("positions")
        for block in model.blocks:
            frames = self._refine(cast(Block, block), frames)
        logits: Tensor = model.classifier(frames).mean(dim=1)
        return logits

    def _convolve(self, rows: Tensor) -> Tensor:
        """Turn whole rows into frames. [B, N] -> [B, T, C]."""
        frontend = self.model.frontend
        features = rows[:, None]  # [B, 1, N]
        for index, convolution in enumerate(frontend.convolutions):
            features = convolution(features)  # [B, C, steps]
            if frontend.norm == "layer":
                features = frontend.norms[index](features.transpose(1, 2)).transpose(1, 2)
            elif index == 0:
                features = frontend.norms[0](features)
            features = functional.gelu(features)
        return features.transpose(1, 2)

    def _refine(self, block: Block, frames: Tensor) -> Tensor:
        """Apply one layer of the transformer. [B, T, D] -> [B, T, D]."""
        attended = self._attend(cast(DeformableAttention, block.attention), frames)
        frames = block.attention_norm(frames + block.attention_dropout(attended))
        refined: Tensor = block.feed_forward_norm(frames + block.feed_forward(frames))
        return refined

    def _attend(self, attention: DeformableAttention, frames: Tensor) -> Tensor:
        """Gather within deformable windows, over all pairs of frames. [B, T, D] -> [B, T, D]."""
        batch, num_frames, width = frames.shape
        heads = (batch, num_frames, attention.num_heads, -1)
        queries, keys, values = attention.queries_keys_values(frames).chunk(3, dim=-1)
        with torch.autocast(frames.device.type, enabled=False):
            placed = attention.placement(queries.to(attention.placement.weight.dtype))
        offset, half_width = placed.transpose(1, 2).chunk(2, dim=1)  # [B, H, T] each
        own = torch.arange(num_frames, device=frames.device)
        anchor = own + offset.tanh() * num_frames
        start = anchor - half_width.sigmoid() * num_frames
        end = anchor + half_width.sigmoid() * num_frames
        first, last, nearest = start.detach().floor(), end.detach().ceil(), anchor.detach().floor()

        # [B, T, D] -> [B, H, T, E]
        queries, keys, values = (
            part.view(heads).transpose(1, 2) for part in (queries, keys, values)
        )
        logits = queries @ keys.mT * queries.shape[-1] ** -0.5  # [B, H, T, T]
        factors = torch.ones((), device=frames.device, dtype=start.dtype)
        for point, change in (
            (first, first - start),
            (last, end - last),
            (nearest, nearest + 1 - anchor),
            (nearest + 1, anchor - nearest),
        ):
            factors = factors + (own == point[..., None]) * change[..., None]
        outside = (own < first[..., None]) | (own > last[..., None])
        logits = (logits * factors).masked_fill(outside, torch.finfo(logits.dtype).min)
        shares = functional.dropout(logits.softmax(dim=-1), attention.dropout, attention.training)
        gathered = (shares.to(values.dtype) @ values).transpose(1, 2)
        attended: Tensor = attention.output(gathered.reshape(batch, num_frames, width))
        return attended
