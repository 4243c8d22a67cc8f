"""Baseline `svm`: scikit-learn's support vector machine on the padded series itself.

Shapes: n rows, N samples, F features, K emotions.
"""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from serct.config.params import TrainParams
from serct.config.section import Positive, PositiveInt
from serct.models.classical.decisions import cross_validated_temperature, probabilities
from serct.models.classical.estimator import (
    Array,
    ClassicalModel,
    ClassicalState,
    LabelledRows,
    Progress,
    average_samples,
    fill_up,
)
from serct.models.classical.kernel import gamma_scale, inner_products, rbf, squared_norms
from serct.models.interface import ClassicalParams
from serct.runtime.arrays import PCM_SCALE, Floats, Probabilities

if TYPE_CHECKING:
    from torch import nn

_TENSORS = ("support_rows", "columns", "gamma", "temperature")
_ROWS_AT_ONCE = 256


class SvmParams(ClassicalParams):
    """Baseline: scikit-learn's support vector machine with an RBF kernel on the padded series."""

    architecture: Literal["svm"]
    pool: PositiveInt
    regularisation: Positive

    def build(self, train: TrainParams, seed: int, sample_rate_hz: int) -> ClassicalModel:
        """See `ClassicalParams.build`."""
        return Svm(self, seed)


class Svm(ClassicalModel):
    """A support vector machine with the kernel exp(-gamma |x - y|^2), gamma "scale".

    Decisions are those of ``SVC(kernel="rbf", gamma="scale")``; only the kernel is computed
    elsewhere, see `serct.models.classical.kernel`. Probabilities are a softmax of its decision
    values over one temperature, chosen by cross-validation: that keeps the order of its decisions.

    Source:
        Thesis 5.2.
    """

    def __init__(self, params: SvmParams, seed: int) -> None:
        """Build the model, not yet fitted."""
        self._pool = params.pool
        self._regularisation = params.regularisation
        self._seed = seed
        self._machine: Any = None
        self._tensors: dict[str, Array] = {}

    def extract_features(self, waveforms: Floats, on_progress: Progress | None = None) -> Array:
        """See `ClassicalModel.extract_features`: the samples, averaged."""
        return average_samples(waveforms, self._pool)

    def fit(self, clips: LabelledRows, on_progress: Progress | None = None) -> None:
        """See `ClassicalModel.fit`; a part is a piece of the kernel's matrix, the longest step."""
        from sklearn.svm import SVC

        rows, labels = clips.rows, clips.labels
        clips.count_emotions()
        gamma = gamma_scale(rows)
        products = inner_products(rows, rows, on_progress)
        norms = products.diagonal()
        machine = SVC(C=self._regularisation, kernel="precomputed")
        kernel = rbf(products, norms, norms, gamma)
        temperature = cross_validated_temperature(machine, kernel, clips, self._seed)
        self._machine = machine.fit(kernel, labels)
        # Columns that are zero in all training rows add to a new row's norm, never to a product.
        columns = np.flatnonzero(rows.any(axis=0))
        self._tensors = {
            "support_rows": compact(rows[np.ix_(self._machine.support_, columns)]),
            "columns": columns.astype(np.int32),
            "gamma": np.asarray(gamma),
            "temperature": np.asarray(temperature),
        }

    def predict(self, rows: Array) -> Probabilities:
        """See `ClassicalModel.predict`."""
        support_rows = expand(self._tensors["support_rows"])
        support_norms = squared_norms(support_rows)
        gamma, temperature = (float(self._tensors[name]) for name in ("gamma", "temperature"))
        columns = self._tensors["columns"]
        parts = []
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            some = fill_up(rows[start : start + _ROWS_AT_ONCE], int(columns.max(initial=-1)) + 1)
            products = inner_products(some[:, columns], support_rows)
            # scikit-learn asks for a column a training row, and reads those of support rows.
            kernel = np.zeros((len(some), self._machine.shape_fit_[0]))
            kernel[:, self._machine.support_] = rbf(
                products, squared_norms(some), support_norms, gamma
            )
            parts.append(probabilities(self._machine, kernel, temperature))
        return np.concatenate(parts)

    def as_module(self, num_samples: int) -> "nn.Module":
        """See `ClassicalModel.as_module`."""
        from serct.models.graphs.heads import PairVotes
        from serct.models.graphs.series import SeriesMachine

        support_rows, columns = expand(self._tensors["support_rows"]), self._tensors["columns"]
        whole = np.zeros((len(support_rows), int(columns.max(initial=0)) + 1), np.float32)
        whole[:, columns] = support_rows
        votes = PairVotes(self._machine, float(self._tensors["temperature"]))
        return SeriesMachine(whole, self._pool, float(self._tensors["gamma"]), votes)

    @property
    def num_parameters(self) -> int:
        """Support rows, their coefficients, the intercepts and gamma."""
        machine = self._machine
        arrays = (machine.dual_coef_, machine.intercept_, *self._tensors.values())
        total = sum(int(array.size) for array in arrays)
        return total - self._tensors["columns"].size - 1

    def state(self) -> ClassicalState:
        """See `ClassicalModel.state`."""
        return ClassicalState(self._machine, self._tensors)

    def load_state(self, state: ClassicalState) -> None:
        """See `ClassicalModel.load_state`."""
        self._machine = state.estimator
        self._tensors = {name: state.tensors[name] for name in _TENSORS}


def compact(rows: Floats) -> Array:
    """Store rows as int16 where that loses nothing, as with 16-bit audio; else as they are."""
    scaled = rows * np.float32(PCM_SCALE)
    whole = np.rint(scaled).clip(-PCM_SCALE, PCM_SCALE - 1)
    return whole.astype(np.int16) if np.array_equal(whole, scaled) else rows


def expand(stored: Array) -> Floats:
    """Undo `compact`."""
    if stored.dtype == np.int16:
        return stored.astype(np.float32) / np.float32(PCM_SCALE)
    return stored.astype(np.float32, copy=False)
