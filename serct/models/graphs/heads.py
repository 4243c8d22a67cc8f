"""What scikit-learn fitted, as modules of torch that give logits.

The probabilities of a classical model are a softmax of decision values over one temperature; logits
are these values over that temperature. skl2onnx, which begins at features, agrees to 1e-6 for an
SVC and for linear discriminants; it cannot convert an SVC with a precomputed kernel, as `svm` has,
and its graph would have to be joined to one of the features.

Shapes: B batch, M samples of a cut row, F features, S support rows, P pairs of emotions, K
emotions.
"""

from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

Floats64 = npt.NDArray[np.float64]


class FeatureHead(nn.Module):
    """Logits of features that scikit-learn standardised, and perhaps scaled to length 1."""

    def __init__(
        self,
        features: nn.Module,
        centre: Floats64,
        scale: Floats64,
        head: nn.Module,
        normalize_length: bool = False,
    ) -> None:
        """Take over what scikit-learn fitted.

        Args:
            features: Computes features of waveforms, [B, F], in the type that the head computes in.
            centre: Is subtracted from them. float64 [F]
            scale: What is left is divided by it. float64 [F]
            head: Logits of what is left. [B, F] -> [B, K]
            normalize_length: Whether each clip's features are scaled to length 1 before the head.
        """
        super().__init__()
        self.features, self.head, self.normalize_length = features, head, normalize_length
        kind = next(iter([*head.parameters(), *head.buffers()])).dtype
        self.register_buffer("centre", torch.from_numpy(centre).to(kind))
        self.register_buffer("scale", torch.from_numpy(scale).to(kind))

    def forward(self, waveforms: Tensor, num_valid: Tensor) -> tuple[Tensor, Tensor]:
        """Score waveforms, see `serct.models.interface.TorchParams.build`.

        Returns:
            Logits, float32 [B, K], and the features that they are computed from, [B, F].
        """
        features = self.features(waveforms, num_valid)
        rows = (features - self.get_buffer("centre")) / self.get_buffer("scale")
        if self.normalize_length:
            rows = functional.normalize(rows, dim=1)
        return self.head(rows).float(), features


def fitted_head(machine: Any, temperature: float) -> nn.Module:
    """Return the logits of a fitted SVC, or of an estimator that is linear. [B, F] -> [B, K]."""
    if hasattr(machine, "support_vectors_"):
        votes = PairVotes(machine, temperature)
        return RadialMachine(machine.support_vectors_, machine._gamma, votes)
    return linear_head(machine.coef_ / temperature, machine.intercept_ / temperature)


def linear_head(weight: Floats64, bias: Floats64) -> nn.Linear:
    """Return a linear estimator's logits. [K, F] or, of two emotions, [1, F], and [K] or [1]."""
    if len(weight) == 1:
        # Of two emotions scikit-learn keeps the second's values alone.
        weight, bias = (np.concatenate((-each, each)) / 2 for each in (weight, bias))
    head = nn.Linear(weight.shape[1], len(weight), dtype=torch.float64)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weight))
        head.bias.copy_(torch.from_numpy(bias))
    return head


class PairVotes(nn.Module):
    """Decision values of scikit-learn's SVC from its kernel, over a temperature.

    Two emotions each are told apart by a sum over support rows; an emotion's value is how many of
    these it wins, and less than one half more by how clearly.
    """

    def __init__(self, machine: Any, temperature: float) -> None:
        """Take over a fitted SVC with ``decision_function_shape="ovr"``, its default."""
        super().__init__()
        num_emotions = len(machine.classes_)
        self.temperature, self.is_binary = temperature, num_emotions == 2
        ends = np.cumsum(machine.n_support_)
        owners = [
            slice(end - count, end) for end, count in zip(ends, machine.n_support_, strict=True)
        ]
        pairs = list(combinations(range(num_emotions), 2))
        weight = np.zeros((ends[-1], len(pairs)))
        winners = np.zeros((2, len(pairs), num_emotions))
        for place, (first, second) in enumerate(pairs):
            weight[owners[first], place] = machine.dual_coef_[second - 1, owners[first]]
            weight[owners[second], place] = machine.dual_coef_[first, owners[second]]
            winners[0, place, first] = winners[1, place, second] = 1
        self.register_buffer("weight", torch.from_numpy(weight))
        self.register_buffer("bias", torch.from_numpy(np.asarray(machine.intercept_, np.float64)))
        self.register_buffer("winners", torch.from_numpy(winners))

    def forward(self, kernel: Tensor) -> Tensor:
        """Compute logits. float64 [B, S] -> float64 [B, K]."""
        values = kernel @ self.get_buffer("weight") + self.get_buffer("bias")  # [B, P]
        if self.is_binary:
            return torch.cat((-values, values), dim=1) / (2 * self.temperature)
        first, second = self.get_buffer("winners").unbind()
        is_second = (values < 0).to(values.dtype)
        votes = (1 - is_second) @ first + is_second @ second
        sums = values @ (first - second)
        logits: Tensor = (votes + sums / (3 * (sums.abs() + 1))) / self.temperature
        return logits


class RadialMachine(nn.Module):
    """An SVC with the kernel exp(-gamma |x - y|^2) of features."""

    def __init__(self, support_rows: Floats64, gamma: float, votes: PairVotes) -> None:
        """Take over support rows, [S, F], and what decides by the kernel."""
        super().__init__()
        self.gamma, self.votes = gamma, votes
        self.register_buffer("support_rows", torch.from_numpy(support_rows.T.copy()))
        self.register_buffer("norms", torch.from_numpy((support_rows**2).sum(axis=1)))

    def forward(self, rows: Tensor) -> Tensor:
        """Compute logits. float64 [B, F] -> float64 [B, K]."""
        norms = rows.square().sum(dim=1, keepdim=True)
        logits: Tensor = self.votes(
            radial_kernel(
                rows @ self.get_buffer("support_rows"), norms, self.get_buffer("norms"), self.gamma
            )
        )
        return logits


def radial_kernel(products: Tensor, norms: Tensor, other_norms: Tensor, gamma: float) -> Tensor:
    """Compute `serct.models.classical.kernel.rbf`. [B, S], [B, 1], [S] -> [B, S]."""
    return (-gamma * (norms + other_norms - 2 * products).clamp(min=0)).exp()
