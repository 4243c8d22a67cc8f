"""What a window does to attention's logits, and the way back for their gradient.

Shapes: h heads, b clips, Q queries, K keys: of a whole attention, or of a slice of it.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Windows(NamedTuple):
    """Where each query looks, in fractional frames that may lie outside the clip.

    Attributes:
        anchor: The point of most interest. [h, b, Q]
        start: First point. [h, b, Q]
        end: Last point, >= start. [h, b, Q]
    """

    anchor: Tensor
    start: Tensor
    end: Tensor


def attention_weights(
    logits: Tensor, windows: Windows, num_valid_frames: Tensor | None, first_key: int = 0
) -> Tensor:
    """Compute weights whose sum is 1 from logits. [h, b, Q, K] -> [h, b, Q, K]."""
    emphasised = emphasise(logits, windows, first_key)
    return mask_outside(emphasised, windows, num_valid_frames, first_key).softmax(dim=-1)


def emphasise(logits: Tensor, windows: Windows, first_key: int = 0) -> Tensor:
    """Weight the logits at the windows' fractional points.

    A logit's factor is 1, less the part of its frame that a bound cuts off, plus the anchor's
    nearness; where points fall on one frame their changes add up. Points outside the clip have
    no effect.

        frames    3    4    5    6    7    8
        window       [--------.--------]         start 3.6, anchor 5.2, end 6.8
        factor   0.4   1  1.8  1.2  0.8          at 3: 1 - 0.6, at 5: 1 + 0.8, at 6: 1 + 0.2

    Args:
        logits: [h, b, Q, K], queries by keys.
        windows: 3 x [h, b, Q]
        first_key: The frame that the first of the keys is.

    Returns:
        [h, b, Q, K]

    Source:
        Chen et al., DST, ICASSP 2023: the weighting that makes the window learnable.
    """
    found = _points(windows, logits.shape[-1], first_key)
    added = logits.gather(-1, found.keys) * found.changes
    return logits.scatter_add(-1, found.keys, added.to(logits.dtype))


def mask_outside(
    logits: Tensor, windows: Windows, num_valid_frames: Tensor | None, first_key: int = 0
) -> Tensor:
    """Mask the keys beyond each query's window and beyond the clip; **overwrites** ``logits``.

    The window takes in every frame that it touches. Keys outside it get the lowest finite number,
    which softmax turns into exactly 0 beside any other logit, and into equal shares where the
    window misses the whole clip. Padding gets minus infinity: never a share.

    Args:
        logits: [h, b, Q, K], queries by keys.
        windows: 3 x [h, b, Q]
        num_valid_frames: Frames of each clip that are not padding, or None for all. int64 [b]
        first_key: The frame that the first of the keys is.
    """
    keys = torch.arange(first_key, first_key + logits.shape[-1], device=logits.device)
    first, last = (bound[..., None] for bound in bounds(windows))  # [h, b, Q, 1]
    logits.masked_fill_((keys < first) | (keys > last), torch.finfo(logits.dtype).min)
    if num_valid_frames is not None:
        padded = keys >= num_valid_frames[:, None]  # [b, K]
        logits.masked_fill_(padded[:, None], -torch.inf)
    return logits


def back_to_logits(
    grad_shares: Tensor,
    shares: Tensor,
    logits: Tensor,
    windows: Windows,
    num_valid_frames: Tensor | None,
    first_key: int,
) -> tuple[Tensor, Windows]:
    """Compute the gradient of `attention_weights`; **overwrites** the one it is given.

    Returns:
        That of the logits and of the windows. [h, b, Q, K], 3 x [h, b, Q]
    """
    grad_shares -= (grad_shares * shares).sum(dim=-1, keepdim=True)
    grad_emphasised = grad_shares.mul_(shares)
    # Where a window misses the whole clip the shares are even, whatever the logits.
    first, last = bounds(windows)
    limit = logits.shape[-1] + first_key
    limits = limit if num_valid_frames is None else num_valid_frames[:, None]
    grad_emphasised *= ((last >= 0) & (first < limits))[..., None]
    found = _points(windows, logits.shape[-1], first_key)
    at_points = grad_emphasised.gather(-1, found.keys)
    grad_changes = at_points * logits.gather(-1, found.keys) * found.inside
    grad_logits = grad_emphasised.scatter_add_(-1, found.keys, at_points * found.changes)
    start, end, before, after = (-grad_changes).unbind(-1)
    return grad_logits, Windows(before - after, start, -end)


class _Points(NamedTuple):
    """The four frames of each query whose logits are weighted, and by how much.

    Attributes:
        keys: Their places among the keys of a slice; 0 or the last for those outside. [h, b, Q, 4]
        changes: Of the factor of the logit there; 0 outside. [h, b, Q, 4]
        inside: Whether they lie in the slice. [h, b, Q, 4]
    """

    keys: Tensor
    changes: Tensor
    inside: Tensor


def _points(windows: Windows, num_keys: int, first_key: int) -> _Points:
    """Find the points of `emphasise`, in the order first, last, before and after the anchor."""
    first, last = bounds(windows)
    before = windows.anchor.detach().floor()
    changes = (
        first - windows.start,
        windows.end - last,
        before + 1 - windows.anchor,
        windows.anchor - before,
    )
    keys = torch.stack((first, last, before, before + 1), dim=-1) - first_key
    inside = (keys >= 0) & (keys < num_keys)
    # A NaN is no index; it reaches the loss through the logits all the same, and is reported there.
    indices = keys.nan_to_num().clamp(0, num_keys - 1).long()
    return _Points(indices, torch.stack(changes, dim=-1) * inside, inside)


def bounds(windows: Windows) -> tuple[Tensor, Tensor]:
    """Find the first and the last frame that each window touches. 2 x [h, b, Q]."""
    return windows.start.detach().floor(), windows.end.detach().ceil()
