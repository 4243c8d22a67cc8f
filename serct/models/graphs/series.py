"""The baselines on the padded series itself, as modules of torch.

Shapes: B batch, M samples of a cut row, F pooled samples, S support rows, K emotions.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from serct.models.graphs.heads import PairVotes, radial_kernel

# Columns multiplied at once in float32, as `serct.models.classical.kernel` does, and added up in
# float64.
_CHUNK = 8192


class PooledSeries(nn.Module):
    """Averages neighbouring samples of rows, cut or filled up with zeros to one length."""

    def __init__(self, num_columns: int, pool: int) -> None:
        """Give so many columns, each the average of ``pool`` samples."""
        super().__init__()
        self.num_columns, self.pool = num_columns, pool

    def forward(self, waveforms: Tensor) -> Tensor:
        """Pool. [B, M] -> [B, F]."""
        num_samples = self.num_columns * self.pool
        filled = torch.cat(
            (waveforms, waveforms.new_zeros(1, num_samples).expand(waveforms.shape[0], -1)), dim=1
        )
        rows = filled[:, :num_samples]
        return rows if self.pool == 1 else rows.reshape(rows.shape[0], -1, self.pool).mean(dim=2)


class Perceptron(nn.Module):
    """A multi-layer perceptron with ReLU on pooled samples."""

    def __init__(
        self,
        pool: int,
        scale: float,
        weights: Sequence[npt.NDArray[np.floating]],
        biases: Sequence[npt.NDArray[np.floating]],
    ) -> None:
        """Take over scikit-learn's ``coefs_``, of inputs times ``scale``, and ``intercepts_``."""
        super().__init__()
        self.pooled = PooledSeries(len(weights[0]), pool)
        self.scale = scale
        layers: list[nn.Module] = []
        for weight, bias in zip(weights, biases, strict=True):
            layers += [nn.ReLU(), nn.Linear(*weight.shape)]
            layers[-1].load_state_dict(
                {"weight": torch.from_numpy(weight.T.copy()), "bias": torch.from_numpy(bias)}
            )
        self.layers = nn.Sequential(*layers[1:])

    def forward(self, waveforms: Tensor, num_valid: Tensor) -> Tensor:
        """Score waveforms, see `serct.models.interface.TorchParams.build`; padding is sound."""
        logits: Tensor = self.layers(self.pooled(waveforms) * self.scale)
        # Of two emotions scikit-learn computes the second's logit alone.
        return torch.cat((-logits, logits), dim=1) / 2 if logits.shape[1] == 1 else logits


class SeriesMachine(nn.Module):
    """A support vector machine with a radial kernel between pooled samples."""

    def __init__(
        self, support_rows: npt.NDArray[np.float32], pool: int, gamma: float, votes: PairVotes
    ) -> None:
        """Take over support rows, [S, F], and what decides by the kernel."""
        super().__init__()
        self.gamma, self.votes, self.pool = gamma, votes, pool
        self.pooled = PooledSeries(support_rows.shape[1], pool)
        starts = range(0, support_rows.shape[1], _CHUNK)
        self.chunks = nn.ParameterList(
            torch.from_numpy(support_rows[:, start : start + _CHUNK].T.copy()) for start in starts
        )
        squares = (support_rows.astype(np.float64) ** 2).sum(axis=1)
        self.register_buffer("norms", torch.from_numpy(squares))

    def forward(self, waveforms: Tensor, num_valid: Tensor) -> Tensor:
        """Score waveforms, see `serct.models.interface.TorchParams.build`; padding is sound."""
        rows = self.pooled(waveforms)
        products = torch.stack(
            [
                (part @ chunk).double()
                for part, chunk in zip(rows.split(_CHUNK, dim=1), self.chunks, strict=True)
            ]
        ).sum(dim=0)
        norms = self._norms(waveforms)
        kernel = radial_kernel(products, norms, self.get_buffer("norms"), self.gamma)
        logits: Tensor = self.votes(kernel)
        return logits.float()

    def _norms(self, waveforms: Tensor) -> Tensor:
        """Sum the squares of all pooled samples, those too that no training row has. [B, 1]."""
        last = waveforms.new_zeros(1, self.pool - 1).expand(waveforms.shape[0], -1)
        rows = torch.cat((waveforms, last), dim=1)
        rows = rows[:, : rows.shape[1] // self.pool * self.pool]
        if self.pool > 1:
            rows = rows.reshape(rows.shape[0], -1, self.pool).mean(dim=2)
        return rows.double().square().sum(dim=1, keepdim=True)
