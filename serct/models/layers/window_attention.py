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
from serct.models.layers.windows import (
    Reach,
    Windows,
    attention_weights,
    back_to_logits,
    find_reach,
)

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
    reach = find_reach(windows, projected.shape[-2], num_valid_frames)
    if torch.compiler.is_exporting():
        queries, keys, values = projected.unbind()
        logits = _full_precision(queries * _scale(queries) @ keys.mT)
        at_points = logits.gather(-1, reach.points)
        weights, _ = attention_weights(logits, at_points, reach, num_valid_frames)
        return (weights.to(values.dtype) @ values).permute(1, 2, 0, 3)
    slices = plan_slices(reach, num_valid_frames)
    attended: Tensor = _Attend.apply(  # type: ignore[no-untyped-call]
        projected, num_valid_frames, dropout, slices, *reach
    )
    return attended


def plan_slices(reach: Reach, num_valid_frames: Tensor | None) -> list[Slice]:
    """Cover all pairs of a query and a key in its window.

    On a CPU these are blocks of queries, each with the keys from the first to the last that any
    of its windows touches. Elsewhere it is one slice of everything.
    """
    num_heads, num_clips, num_frames = reach.first.shape
    if not takes_slices(reach.first.device):
        return [everything(num_heads, num_clips, num_frames)]
    counts = torch.full((num_clips,), num_frames) if num_valid_frames is None else num_valid_frames
    limits = counts[:, None]  # [B, 1]
    first, last = reach.first, reach.last
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


def everything(num_heads: int, num_clips: int, num_frames: int) -> Slice:
    """Return the slice that leaves out nothing."""
    return Slice(*(slice(0, size) for size in (num_heads, num_clips, num_frames, num_frames)))


def takes_slices(device: torch.device) -> bool:
    """Whether to look where windows are: on a GPU that would mean to wait for it."""
    return device.type == "cpu"


class _Attend(torch.autograd.Function):
    """See `attend`. Slices lie side by side in the queries and may overlap in the keys."""

    @staticmethod
    def forward(
        ctx: Any,
        projected: Tensor,
        num_valid_frames: Tensor | None,
        dropout: float,
        slices: Sequence[Slice],
        *reach: Tensor,
    ) -> Tensor:
        """Attend slice by slice."""
        _, num_heads, num_clips, num_frames, width = projected.shape
        # Slices leave out padded queries.
        new = projected.new_empty if num_valid_frames is None else projected.new_zeros
        attended = new(num_clips, num_frames, num_heads, width)
        by_head = attended.permute(2, 0, 1, 3)  # [H, B, T, E]
        ctx.kept, ctx.at_points = [], []
        for at in slices:
            part = _Part(projected, num_valid_frames, Reach(*reach), at)
            kept = draw_kept(part.weights, dropout) if dropout else None
            gathered = _keep(part.weights, kept, projected.dtype) @ part.values
            torch.mul(gathered, 1 / (1 - dropout), out=by_head[at[:3]])
            ctx.kept.append(kept)
            ctx.at_points.append(part.at_points)
        ctx.save_for_backward(projected, num_valid_frames, *reach)
        ctx.dropout, ctx.slices = dropout, slices
        return attended

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_attended: Tensor) -> tuple[Tensor | None, ...]:
        """Carry the gradient back slice by slice."""
        projected, num_valid_frames, *reach = ctx.saved_tensors
        by_head = grad_attended.permute(2, 0, 1, 3)  # [H, B, T, E]
        grad_gathered = by_head.new_empty(by_head.shape)
        torch.mul(by_head, 1 / (1 - ctx.dropout), out=grad_gathered)

        def back(index: int) -> tuple[Tensor, ...]:
            at = ctx.slices[index]
            part = _Part(projected, num_valid_frames, Reach(*reach), at, ctx.at_points[index])
            return part.back(grad_gathered[at[:3]], ctx.kept[index])

        if ctx.slices == [everything(*projected.shape[1:4])]:
            *grads, grad_changes = back(0)
            # Side by side in memory, as the map that gave `projected` wrote them.
            by_clip = torch.cat([grad.permute(1, 2, 0, 3) for grad in grads], dim=2)
            by_clip = by_clip.view(*by_clip.shape[:2], 3, -1, by_clip.shape[-1])
            grad_projected = by_clip.permute(2, 3, 0, 1, 4)
        else:
            # Keys and values gather sums over slices, so in full precision.
            grad_changes = torch.zeros_like(reach[-1])
            sums = torch.zeros_like(projected, dtype=grad_changes.dtype)
            for index, at in enumerate(ctx.slices):
                rows, columns = at[:3], (*at[:2], at.keys)
                sums[0][rows], of_keys, of_values, grad_changes[rows] = back(index)
                sums[1][columns].add_(of_keys)
                sums[2][columns].add_(of_values)
            grad_projected = sums.to(projected.dtype)
        return grad_projected, None, None, None, None, None, None, None, grad_changes


class _Part:
    """What one slice sees of the inputs, and its attention's weights.

    The backward pass gives it the logits at the reach's points, which the forward pass has found.
    """

    def __init__(
        self,
        projected: Tensor,
        num_valid_frames: Tensor | None,
        reach: Reach,
        at: Slice,
        at_points: Tensor | None = None,
    ) -> None:
        queries, keys, values = projected[:, at.heads, at.clips]
        self.queries = queries[:, :, at.queries]  # [h, b, Q, E]
        self.keys = keys[:, :, at.keys]  # [h, b, K, E]
        self.values = values[:, :, at.keys]  # [h, b, K, E]
        self.reach = _reach_of(reach, at)
        logits = _full_precision(_product(self.queries, self.keys.mT, _scale(queries)))
        if at_points is None:
            at_points = logits.gather(-1, self.reach.points)
        self.at_points = at_points
        self.weights, self.outside = attention_weights(
            logits, self.at_points, self.reach,
            None if num_valid_frames is None else num_valid_frames[at.clips],
        )  # fmt: skip

    def back(self, grad_gathered: Tensor, kept: Tensor | None) -> tuple[Tensor, ...]:
        """Compute the gradient of queries, keys, values and changes.

        Args:
            grad_gathered: That of the slice's result, scaled up by dropout. [h, b, Q, E]
            kept: Which weights dropout kept; None for all. bool [h, b, Q, K]
        """
        dtype, scale = self.queries.dtype, _scale(self.queries)
        grad_values = _keep(self.weights, kept, dtype).mT @ grad_gathered
        grad_weights = _keep(grad_gathered @ self.values.mT, kept, self.weights.dtype)
        grad_logits, grad_changes = back_to_logits(
            grad_weights, self.weights, self.outside, self.at_points, self.reach
        )
        grad_logits = grad_logits.to(dtype)
        grad_queries = _product(grad_logits, self.keys, scale)
        grad_keys = _product(grad_logits.mT, self.queries, scale)
        return grad_queries, grad_keys, grad_values, grad_changes


def _reach_of(reach: Reach, at: Slice) -> Reach:
    """Cut out what a slice sees; points that it does not see become its first or last key."""
    keys, *by_query = reach
    part = Reach(keys[at.keys], *(each[at[:3]] for each in by_query))
    if len(part.keys) == len(keys):
        return part
    return part._replace(points=(part.points - at.keys.start).clamp(0, len(part.keys) - 1))


def _scale(queries: Tensor) -> float:
    """Return the factor of the logits, which keeps their variance that of a query's values."""
    return float(queries.shape[-1] ** -0.5)


def _product(left: Tensor, right: Tensor, scale: float) -> Tensor:
    """Compute scale * left @ right at once. [h, b, m, k], [h, b, k, n] -> [h, b, m, n]."""
    first, second = left.flatten(0, 1), right.flatten(0, 1)
    # With beta 0 nothing is added, whatever the first argument.
    product = torch.baddbmm(first[:1, :1, :1], first, second, beta=0, alpha=scale)
    return product.view(*left.shape[:2], *product.shape[1:])


def _keep(values: Tensor, kept: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Set what is not kept to zero and convert the type, in one pass. [h, b, Q, K]."""
    if kept is None:
        return values.to(dtype)
    return torch.mul(values, kept, out=torch.empty_like(values, dtype=dtype))


def _full_precision(logits: Tensor) -> Tensor:
    """Return them at least in float32."""
    return logits.float() if logits.dtype.itemsize < 4 else logits
