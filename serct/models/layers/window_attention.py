"""Attention within windows, computed only where a window is, and again for its gradient.

Shapes: H heads, B batch, T frames, E width of a head; within a slice h, b, Q queries, K keys.
Heads come first, so that a slice of one head's clips is read in place by matrix products.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from serct.models.layers.dropout import draw_kept
from serct.models.layers.windows import Windows, attention_weights, back_to_logits, bounds

# On a CPU these many queries are computed together, whose windows lie close together, and of as
# many clips and heads as make that number of pairs: enough that starting the kernels hardly
# counts, few enough that what they work on stays in the cache.
BLOCK_FRAMES = 64
SLICE_PAIRS = 2**18


class Slice(NamedTuple):
    """A part of all pairs of a query and a key."""

    heads: slice
    clips: slice
    queries: slice
    keys: slice


def attend(
    projected: Tensor,
    windows: Windows,
    num_valid_frames: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Let each query gather the values within its window.

    The logits become weights as the windows say (`attention_weights`), and these weigh the values.
    What is computed for all pairs of frames is not kept for the backward pass, which computes it
    again; and on a CPU it is computed in the windows' neighbourhood only.

    Args:
        projected: Queries, keys and values. [3, H, B, T, E]
        windows: 3 x [H, B, T]
        num_valid_frames: Frames of each clip that are not padding, 1..T, or None for all.
            int64 [B]
        dropout: Part of the weights that is set to zero, 0..1.

    Returns:
        [B, T, H, E]; padded queries' rows mean nothing.
    """
    if torch.compiler.is_exporting():
        queries, keys, values = projected.unbind()
        shares = attention_weights(_logits(queries, keys), windows, num_valid_frames)
        return (shares.to(values.dtype) @ values).permute(1, 2, 0, 3)
    slices = plan_slices(windows, num_valid_frames)
    attended: Tensor = _Attend.apply(  # type: ignore[no-untyped-call]
        projected, *windows, num_valid_frames, dropout, slices
    )
    return attended


def plan_slices(windows: Windows, num_valid_frames: Tensor | None) -> list[Slice]:
    """Cover all pairs of a query and a key in its window.

    On a CPU these are blocks of queries, each with the keys from the first to the last that any
    of its windows touches. Elsewhere it is one slice of everything.
    """
    num_heads, num_clips, num_frames = windows.start.shape
    if not takes_slices(windows.start.device):
        return [Slice(*(slice(0, size) for size in (num_heads, num_clips, num_frames, num_frames)))]
    counts = torch.full((num_clips,), num_frames) if num_valid_frames is None else num_valid_frames
    limits = counts[:, None]  # [B, 1]
    first, last = bounds(windows)
    # A query whose window misses the clip attends to all of it; so does one whose window is NaN.
    # A padded one needs any key that is not padded.
    meets = (last >= 0) & (first < limits)
    padded = torch.arange(num_frames) >= limits
    first = torch.where(meets, first, 0).clamp(min=0).where(~padded, limits - 1).int()
    last = torch.where(meets, last, limits - 1).minimum(limits - 1)
    last = last.where(~padded, limits - 1).int()
    block = num_frames if num_frames < 3 * BLOCK_FRAMES else BLOCK_FRAMES
    clips_at_once = max(1, SLICE_PAIRS // (block * min(2 * block, num_frames)))
    heads_at_once = max(1, clips_at_once // num_clips)
    slices = []
    for head in range(0, num_heads, heads_at_once):
        heads = slice(head, min(head + heads_at_once, num_heads))
        for clip in range(0, num_clips, clips_at_once):
            clips = slice(clip, min(clip + clips_at_once, num_clips))
            for start in range(0, int(counts[clips].max()), block):
                queries = slice(start, min(start + block, num_frames))
                low = int(first[heads, clips, queries].min())
                high = int(last[heads, clips, queries].max())
                slices.append(Slice(heads, clips, queries, slice(low, high + 1)))
    return slices


def takes_slices(device: torch.device) -> bool:
    """Whether to look where windows are: on a GPU that would mean to wait for it."""
    return device.type == "cpu"


class _Attend(torch.autograd.Function):
    """See `attend`. Slices lie side by side in the queries and may overlap in the keys."""

    @staticmethod
    def forward(
        ctx: Any,
        projected: Tensor,
        anchor: Tensor,
        start: Tensor,
        end: Tensor,
        num_valid_frames: Tensor | None,
        dropout: float,
        slices: Sequence[Slice],
    ) -> Tensor:
        """Attend slice by slice."""
        _, num_heads, num_clips, num_frames, width = projected.shape
        # Slices leave out padded queries.
        new = projected.new_empty if num_valid_frames is None else projected.new_zeros
        attended = new(num_clips, num_frames, num_heads, width)
        by_head = attended.permute(2, 0, 1, 3)  # [H, B, T, E]
        ctx.kept = []
        for at in slices:
            part = _Part(projected, Windows(anchor, start, end), num_valid_frames, at)
            shares = attention_weights(_logits(part.queries, part.keys), *part.reach)
            if dropout:
                ctx.kept.append(draw_kept(shares, dropout))
                shares *= ctx.kept[-1] / (1 - dropout)
            by_head[at.heads, at.clips, at.queries] = shares.to(projected.dtype) @ part.values
        ctx.save_for_backward(projected, anchor, start, end, num_valid_frames)
        ctx.dropout, ctx.slices = dropout, slices
        return attended

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_attended: Tensor) -> tuple[Tensor | None, ...]:
        """Carry the gradient back slice by slice."""
        projected, *places, num_valid_frames = ctx.saved_tensors
        by_head = grad_attended.permute(2, 0, 1, 3)  # [H, B, T, E]
        scale = projected.shape[-1] ** -0.5
        # Keys and values gather sums over slices, so in full precision.
        grad_projected = torch.zeros_like(projected, dtype=places[0].dtype)
        grad_queries, grad_keys, grad_values = grad_projected
        grad_windows = Windows(*(torch.zeros_like(place) for place in places))
        for index, at in enumerate(ctx.slices):
            part = _Part(projected, Windows(*places), num_valid_frames, at)
            rows, columns = at[:3], (*at[:2], at.keys)
            logits = _logits(part.queries, part.keys)
            shares = attention_weights(logits, *part.reach)
            grad_gathered = by_head[rows]  # [h, b, Q, E]
            grad_shares = (grad_gathered @ part.values.mT).to(shares.dtype)
            weights = shares
            if ctx.dropout:
                kept = ctx.kept[index] / (1 - ctx.dropout)
                weights = shares * kept
                grad_shares *= kept
            grad_values[columns] += weights.to(projected.dtype).mT @ grad_gathered
            grad_logits, grad_bounds = back_to_logits(grad_shares, shares, logits, *part.reach)
            for grad_window, grad_bound in zip(grad_windows, grad_bounds, strict=True):
                grad_window[rows] = grad_bound
            grad_logits = (grad_logits * scale).to(projected.dtype)
            grad_queries[rows] = (grad_logits @ part.keys).to(grad_queries.dtype)
            grad_keys[columns] += grad_logits.mT @ part.queries
        return grad_projected.to(projected.dtype), *grad_windows, None, None, None


class _Part:
    """What one slice sees of the inputs."""

    def __init__(
        self, projected: Tensor, windows: Windows, num_valid_frames: Tensor | None, at: Slice
    ) -> None:
        queries, keys, values = projected[:, at.heads, at.clips]
        self.queries = queries[:, :, at.queries]  # [h, b, Q, E]
        self.keys = keys[:, :, at.keys]  # [h, b, K, E]
        self.values = values[:, :, at.keys]  # [h, b, K, E]
        self.reach = (
            Windows(*(bound[at[:3]] for bound in windows)),
            None if num_valid_frames is None else num_valid_frames[at.clips],
            at.keys.start,
        )


def _logits(queries: Tensor, keys: Tensor) -> Tensor:
    """Compare all queries and keys of a slice; at least in float32. [h, b, Q, K]."""
    logits: Tensor = (queries * queries.shape[-1] ** -0.5) @ keys.mT
    return logits.float() if logits.dtype.itemsize < 4 else logits
