"""The radial basis function kernel between long rows, fast and in little memory.

libsvm's own kernel runs on float64 rows one pair at a time: an hour and several GB for TESS.
One matrix product for all pairs gives the same kernel in seconds.

Shapes: n and m rows, F features.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from serct.runtime.arrays import Floats

Doubles: TypeAlias = npt.NDArray[np.float64]

# Columns multiplied at once: in float32, which is exact enough for so few, added up in float64.
_CHUNK = 8192


def inner_products(
    rows: Floats, others: Floats, on_progress: Callable[[int, int], object] | None = None
) -> Doubles:
    """Multiply all pairs of rows.

    Args:
        rows: [n, F]
        others: [m, F]; the same array as ``rows`` takes half the time.
        on_progress: Called with (chunks done, chunks in all).

    Returns:
        float64 [n, m]
    """
    products = np.zeros((len(rows), len(others)))
    starts = range(0, rows.shape[1], _CHUNK)
    for done, start in enumerate(starts, start=1):
        chunk = rows[:, start : start + _CHUNK]
        # The padding behind the longest clip costs nothing.
        if chunk.any():
            products += chunk @ others[:, start : start + _CHUNK].T
        if on_progress:
            on_progress(done, len(starts))
    return products


def squared_norms(rows: Floats) -> Doubles:
    """Sum each row's squares. [n, F] -> float64 [n]."""
    sums = np.zeros(len(rows))
    for start in range(0, rows.shape[1], _CHUNK):
        chunk = rows[:, start : start + _CHUNK]
        sums += np.einsum("nf,nf->n", chunk, chunk)
    return sums


def rbf(products: Doubles, norms: Doubles, other_norms: Doubles, gamma: float) -> Doubles:
    """Turn inner products into exp(-gamma |x - y|^2).

    Args:
        products: Inner products of all pairs. [n, m]
        norms: Squared norms of the rows. [n]
        other_norms: Squared norms of the other rows. [m]
        gamma: Inverse squared width, > 0.

    Returns:
        In [0, 1]. [n, m]

    Example:
        >>> rbf(np.array([[0.0]]), np.array([1.0]), np.array([1.0]), gamma=0.5).round(3).tolist()
        [[0.368]]
    """
    distances = norms[:, None] + other_norms - 2 * products
    kernel: Doubles = np.exp(-gamma * distances.clip(min=0))
    return kernel


def gamma_scale(rows: Floats) -> float:
    """Choose gamma as scikit-learn's ``gamma="scale"``: 1 / (F * variance of all values).

    Where nothing varies gamma is 1, as there.
    """
    sums = sum(
        float(rows[:, start : start + _CHUNK].sum(dtype=np.float64))
        for start in range(0, rows.shape[1], _CHUNK)
    )
    mean = sums / rows.size
    variance = float(squared_norms(rows).sum()) / rows.size - mean**2
    return 1 / (rows.shape[1] * variance) if variance > 0 else 1.0
