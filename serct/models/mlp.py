"""Baseline `mlp`: scikit-learn's multi-layer perceptron on the padded series itself.

Shapes: n rows, N samples, K emotions.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from serct.config.params import TrainParams
from serct.config.section import PositiveInt
from serct.errors import TrainingError
from serct.models.classical.estimator import (
    Array,
    ClassicalModel,
    ClassicalState,
    LabelledRows,
    Progress,
    average_samples,
    fill_up,
)
from serct.models.classical.kernel import squared_norms
from serct.models.interface import ClassicalParams
from serct.runtime.arrays import Floats, Probabilities

if TYPE_CHECKING:
    from torch import nn


class MlpParams(ClassicalParams):
    """Baseline: scikit-learn's multi-layer perceptron on the padded series."""

    settings: ClassVar[tuple[str, ...]] = (
        *ClassicalParams.settings, "epochs", "batch_size", "learning_rate", "weight_decay",
    )  # fmt: skip
    architecture: Literal["mlp"]
    pool: PositiveInt
    hidden: tuple[PositiveInt, ...]

    def build(self, train: TrainParams, seed: int, sample_rate_hz: int) -> ClassicalModel:
        """See `ClassicalParams.build`."""
        return Mlp(self, train, seed)


class Mlp(ClassicalModel):
    """A multi-layer perceptron with one input for each (pooled) sample.

    The inputs are divided by one number, the root mean square of all training inputs: at speech's
    own 0.01 to 0.1 the first layer would hardly move. Not one number a column, since columns near
    the end of the longest clip are almost always zero and would be blown up.

    Source:
        Thesis 5.2. Epochs, batch size, learning rate and weight decay (alpha) are the other
        models', and no epoch is left out, so that they compare.
    """

    def __init__(self, params: MlpParams, train: TrainParams, seed: int) -> None:
        from sklearn.neural_network import MLPClassifier

        self._pool = params.pool
        self._epochs = train.epochs
        self._batch_size = train.batch_size
        self._estimator = MLPClassifier(
            hidden_layer_sizes=params.hidden, alpha=train.weight_decay, batch_size=train.batch_size,
            learning_rate_init=train.learning_rate, max_iter=train.epochs, random_state=seed,
        )  # fmt: skip
        self._scale = np.float32(1.0)

    def extract_features(self, waveforms: Floats, on_progress: Progress | None = None) -> Array:
        """See `ClassicalModel.extract_features`: the samples, averaged."""
        return average_samples(waveforms, self._pool)

    def fit(self, clips: LabelledRows, on_progress: Progress | None = None) -> None:
        """See `ClassicalModel.fit`; a part is an epoch."""
        from sklearn.base import clone

        rows, num_emotions = clips.rows, clips.count_emotions()
        power = float(squared_norms(rows).sum()) / rows.size
        self._scale = np.float32(1 / np.sqrt(power)) if power > 0 else np.float32(1)
        inputs = rows * self._scale
        self._estimator = clone(self._estimator)
        self._estimator.batch_size = min(self._batch_size, len(inputs))
        for epoch in range(1, self._epochs + 1):
            try:
                # Continues the last call, optimiser included; `fit` would report no progress.
                self._estimator.partial_fit(inputs, clips.labels, classes=np.arange(num_emotions))
            except ValueError as error:
                raise TrainingError(f"mlp, epoch {epoch} of {self._epochs}: {error}") from error
            if not np.isfinite(self._estimator.loss_):
                raise TrainingError(
                    f"mlp, epoch {epoch} of {self._epochs}: the loss is {self._estimator.loss_}, "
                    "expected a finite number: lower the learning rate"
                )
            if on_progress:
                on_progress(epoch, self._epochs)
        # Only training reads these, and they are twice as large as the weights.
        for name in ("_optimizer", "_best_coefs", "_best_intercepts"):
            vars(self._estimator).pop(name, None)

    def predict(self, rows: Array) -> Probabilities:
        """See `ClassicalModel.predict`."""
        inputs = fill_up(rows, self._estimator.n_features_in_) * self._scale
        return np.asarray(self._estimator.predict_proba(inputs), dtype=np.float64)

    def as_module(self, num_samples: int) -> "nn.Module":
        """See `ClassicalModel.as_module`."""
        from serct.models.graphs.series import Perceptron

        weights, biases = self._estimator.coefs_, self._estimator.intercepts_
        return Perceptron(self._pool, float(self._scale), weights, biases)

    @property
    def num_parameters(self) -> int:
        """Weights and biases."""
        arrays = (*self._estimator.coefs_, *self._estimator.intercepts_)
        return sum(array.size for array in arrays)

    def state(self) -> ClassicalState:
        """See `ClassicalModel.state`."""
        return ClassicalState(self._estimator, {"scale": np.asarray(self._scale)})

    def load_state(self, state: ClassicalState) -> None:
        """See `ClassicalModel.load_state`."""
        self._estimator = state.estimator
        self._scale = np.float32(state.tensors["scale"])
