"""Slow, obvious versions of what the package does fast."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from serct.models.layers.deformable import DeformableAttention


def deformable_row(
    logits: Tensor, anchor: Tensor, start: Tensor, end: Tensor, num_valid: int
) -> Tensor:
    """Attention weights of one query, point by point. [T], three scalars -> [T]."""
    num_frames = len(logits)
    first, last = math.floor(start.item()), math.ceil(end.item())
    nearest = math.floor(anchor.item())
    factors = [torch.ones_like(logits[0]) for _ in range(num_frames)]
    for point, change in (
        (first, -(start - first)),
        (last, -(last - end)),
        (nearest, 1 - (anchor - nearest)),
        (nearest + 1, anchor - nearest),
    ):
        if 0 <= point < num_frames:
            factors[point] = factors[point] + change
    window = [k for k in range(num_valid) if first <= k <= last]
    shares = [torch.zeros_like(logits[0]) for _ in range(num_frames)]
    if window:
        exponentials = {k: torch.exp(logits[k] * factors[k]) for k in window}
        total = sum(exponentials.values())
        for k in window:
            shares[k] = exponentials[k] / total
    else:
        for k in range(num_valid):
            shares[k] = shares[k] + 1 / num_valid
    return torch.stack(shares)


def deformable_attention(
    module: DeformableAttention, frames: Tensor, num_valid: Sequence[int]
) -> Tensor:
    """The whole module, clip by clip, head by head, query by query. [B, T, D] -> [B, T, D]."""
    num_heads = module.num_heads
    clips = []
    for clip, valid in zip(frames, num_valid, strict=True):
        queries, keys, values = module.queries_keys_values(clip).chunk(3, dim=1)  # [T, D]
        placed = module.placement(queries)  # [T, 2 H]
        heads = []
        for head in range(num_heads):
            q, k, v = (part.chunk(num_heads, dim=1)[head] for part in (queries, keys, values))
            rows = []
            for index in range(len(clip)):
                anchor = index + torch.tanh(placed[index, head]) * valid
                half_width = torch.sigmoid(placed[index, num_heads + head]) * valid
                logits = k @ q[index] / math.sqrt(q.shape[1])
                start, end = anchor - half_width, anchor + half_width
                rows.append(deformable_row(logits, anchor, start, end, valid) @ v)
            heads.append(torch.stack(rows))
        clips.append(module.output(torch.cat(heads, dim=1)))
    return torch.stack(clips)


def count_windows(num_samples: int, layers: Sequence[tuple[int, int, int, int]]) -> int:
    """Count how often each layer's window fits, by moving it."""
    count = num_samples
    for _, kernel, stride, padding in layers:
        steps, start = 0, -padding
        while start + kernel <= count + padding:
            steps += 1
            start += stride
        count = steps
        if count == 0:
            return 0
    return count


def conv_stack(
    waveform: Tensor,
    layers: Sequence[tuple[int, int, int, int]],
    weights: Sequence[Tensor],
    norm_weights: Sequence[Tensor],
    norm_biases: Sequence[Tensor],
    norm: str,
) -> Tensor:
    """Frames of one clip that has no padding. [N] -> [T, D]."""
    features = waveform[None]  # [1, N]
    for index, ((_, _, stride, padding), weight) in enumerate(zip(layers, weights, strict=True)):
        features = functional.conv1d(features[None], weight, None, stride, padding)[0]
        if norm == "layer" or index == 0:
            axis = 0 if norm == "layer" else 1
            mean = features.mean(dim=axis, keepdim=True)
            variance = (features - mean).square().mean(dim=axis, keepdim=True)
            features = (features - mean) / torch.sqrt(variance + 1e-5)
            features = features * norm_weights[index][:, None] + norm_biases[index][:, None]
        features = features * 0.5 * (1 + torch.erf(features / math.sqrt(2)))
    return features.T
