"""What a window does to attention's logits, and the way back for their gradient.

Shapes: h heads, b clips, Q queries, K keys: of a whole attention, or of a slice of it.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Windows(NamedTuple):
    """Where each query looks, in fractional frames that may lie outside the clip.

    Attributes:
        anchor: The point of most interest, between start and end. [h, b, Q]
        start: First point. [h, b, Q]
        end: Last point, >= start. [h, b, Q]
    """

    anchor: Tensor
    start: Tensor
    end: Tensor


class Reach(NamedTuple):
    """What windows come to in whole frames: found once, read in both directions.

    Attributes:
        keys: The frames that are keys. int64 [K]
        first: The first frame that each window touches, maybe outside the clip. [h, b, Q]
        last: The last one. [h, b, Q]
        points: Four keys of each query, whose logits are weighted: the first and the last frame,
            those before and after the anchor; the nearest one for a frame outside the clip.
            int64 [h, b, Q, 4]
        changes: Of the factors of these logits; 0 for a frame outside. [h, b, Q, 4]
    """

    keys: Tensor
    first: Tensor
    last: Tensor
    points: Tensor
    changes: Tensor


def find_reach(windows: Windows, num_frames: int, num_valid_frames: Tensor | None) -> Reach:
    """Find what windows come to; the windows' gradient is that of the changes.

    Args:
        windows: 3 x [h, b, Q]
        num_frames: Of a row; all of them are keys.
        num_valid_frames: Frames of each clip that are not padding, or None for all. int64 [b]
    """
    first, last = windows.start.detach().floor(), windows.end.detach().ceil()
    before = windows.anchor.detach().floor()
    frames = torch.stack((first, last, before, before + 1), dim=-1)
    # Whatever integer a NaN becomes, here it is a key. It reaches the loss by the changes.
    points = frames.long().clamp(0, num_frames - 1)
    if num_valid_frames is not None:
        points = points.minimum(num_valid_frames[:, None, None] - 1)
    nearness = windows.anchor - before  # of the frame after the anchor
    changes = torch.stack(
        (first - windows.start, windows.end - last, 1 - nearness, nearness), dim=-1
    )
    # Of integers: OpenVINO compares a range of floats twenty times more slowly.
    keys = torch.arange(num_frames, device=first.device)
    return Reach(keys, first, last, points, changes * (points == frames))


def attention_weights(
    logits: Tensor, at_points: Tensor, reach: Reach, num_valid_frames: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Compute weights whose sum is 1 from logits; **overwrites** the logits.

    Args:
        logits: [h, b, Q, K], queries by keys.
        at_points: The logits at the reach's points. [h, b, Q, 4]
        reach: Of the queries' windows.
        num_valid_frames: Frames of each clip that are not padding, or None for all. int64 [b]

    Returns:
        The weights, and which keys lie outside a query's window. [h, b, Q, K], bool [h, b, Q, K]
    """
    emphasise(logits, at_points, reach)
    outside = mask_outside(logits, reach, num_valid_frames)
    return logits.softmax(dim=-1), outside


def emphasise(logits: Tensor, at_points: Tensor, reach: Reach) -> None:
    """Weight the logits at the windows' fractional points; **overwrites** the logits.

    A logit's factor is 1, less the part of its frame that a bound cuts off, plus the anchor's
    nearness; where points fall on one frame their changes add up. Points outside the clip have
    no effect.

        frames    3    4    5    6    7    8
        window       [--------.--------]         start 3.6, anchor 5.2, end 6.8
        factor   0.4   1  1.8  1.2  0.8          at 3: 1 - 0.6, at 5: 1 + 0.8, at 6: 1 + 0.2

    Args:
        logits: [h, b, Q, K], queries by keys.
        at_points: The logits at the reach's points. [h, b, Q, 4]
        reach: Of the queries' windows.

    Source:
        Chen et al., DST, ICASSP 2023: the weighting that makes the window learnable.
    """
    logits.scatter_add_(-1, reach.points, (at_points * reach.changes).to(logits.dtype))


def mask_outside(logits: Tensor, reach: Reach, num_valid_frames: Tensor | None) -> Tensor:
    """Mask the keys beyond each query's window and beyond the clip; **overwrites** the logits.

    The window takes in every frame that it touches. Keys outside it get the lowest finite number,
    which softmax turns into exactly 0 beside any other logit, and into equal shares where the
    window misses the whole clip. Padding gets minus infinity: never a share.

    Args:
        logits: [h, b, Q, K], queries by keys.
        reach: Of the queries' windows.
        num_valid_frames: Frames of each clip that are not padding, or None for all. int64 [b]

    Returns:
        Which keys lie outside a window. bool [h, b, Q, K]
    """
    outside = (reach.keys < reach.first[..., None]) | (reach.keys > reach.last[..., None])
    logits.masked_fill_(outside, torch.finfo(logits.dtype).min)
    if num_valid_frames is not None:
        padded = reach.keys >= num_valid_frames[:, None]  # [b, K]
        logits.masked_fill_(padded[:, None], -torch.inf)
    return outside


def back_to_logits(
    grad_weights: Tensor, weights: Tensor, outside: Tensor, at_points: Tensor, reach: Reach
) -> tuple[Tensor, Tensor]:
    """Compute the gradient of `attention_weights`; see there for what it is given.

    Returns:
        That of the logits and of the reach's changes. [h, b, Q, K], [h, b, Q, 4]
    """
    # What the gradient of PyTorch's softmax calls: one pass over all pairs instead of four.
    grad_logits = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
    # Only where a window misses the whole clip is a weight outside it more than 0.
    grad_logits.masked_fill_(outside, 0.0)
    grad_at_points = grad_logits.gather(-1, reach.points)
    grad_logits.scatter_add_(-1, reach.points, grad_at_points * reach.changes)
    return grad_logits, grad_at_points * at_points
