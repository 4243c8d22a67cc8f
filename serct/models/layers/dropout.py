"""Dropout at the cost that it has on a GPU, on a CPU too.

PyTorch draws one random number a value, one after the other, and keeps a float of each for the
backward pass: five times the time and four times the memory of what is needed.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

_STEPS = 2**16


class Dropout(nn.Module):
    """Sets a part of the values to zero in training and scales up the others, as `nn.Dropout`."""

    def __init__(self, probability: float) -> None:
        """Build it; ``probability`` is the part, at least 0 and less than 1."""
        super().__init__()
        self.probability = probability

    def forward(self, values: Tensor) -> Tensor:
        """Drop values. [...] -> [...]."""
        if not self.training or not self.probability:
            return values
        if values.device.type != "cpu":
            return functional.dropout(values, self.probability)
        kept = draw_kept(values, self.probability)
        return torch.mul(values, kept).mul_(1 / (1 - self.probability))


def draw_kept(values: Tensor, probability: float) -> Tensor:
    """Draw which values survive dropout.

    Args:
        values: What they are drawn for; only its shape and device are read. [...]
        probability: Of being dropped, at least 0 and less than 1; on a CPU to 1/65,536.

    Returns:
        bool [...]
    """
    if values.device.type != "cpu":
        return torch.empty_like(values, dtype=torch.bool).bernoulli_(1 - probability)
    count = values.numel()
    # Each draw of 64 bits serves four values.
    draws = torch.empty(math.ceil(count / 4), dtype=torch.int64).random_(-(2**63), None)
    bits = draws.view(torch.int16)[:count].view(values.shape)
    num_dropped = min(round(probability * _STEPS), _STEPS - 1)
    return bits >= num_dropped - _STEPS // 2
