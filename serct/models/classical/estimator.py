"""The interface of the models that scikit-learn fits; importing it does not import scikit-learn.

Shapes: n rows, N samples of a whole one, M of one cut behind its clip, F features = N / pool
rounded up, K emotions.
"""

import sys
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from serct.errors import CheckpointError, TrainingError
from serct.models.records import ESTIMATOR
from serct.runtime.arrays import Floats, Integers, Probabilities

if TYPE_CHECKING:
    from torch import nn

# A package of scikit-learn that imports torch; it holds no estimator.
_TORCH_ADAPTER = "sklearn.externals.array_api_compat.torch"

Array: TypeAlias = npt.NDArray[Any]
Progress: TypeAlias = Callable[[int, int], object]


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """What a model is fitted to.

    Attributes:
        rows: From `ClassicalModel.extract_features`. [n, F]
        labels: 0..K-1. int64 [n]
        speakers: Of each row, "" if unknown, for models that adapt to the speaker.
        clips: Number of the clip that each row is a version of: those of one clip must not be
            divided between folds. Each row is a clip of its own if None. int64 [n]
    """

    rows: Array
    labels: Integers
    speakers: Sequence[str] = ()
    clips: Integers | None = None

    def take(self, positions: Integers) -> "LabelledRows":
        """Return the rows at these positions, which may name one several times."""
        clips = np.arange(len(self.rows)) if self.clips is None else self.clips
        speakers = [self.speakers[place] for place in positions] if self.speakers else ()
        return LabelledRows(
            self.rows[positions], self.labels[positions], speakers, clips[positions]
        )

    def count_emotions(self) -> int:
        """Check that each label 0..K-1 occurs at least twice, and return K.

        Raises:
            TrainingError: If one does not.
        """
        counts = np.bincount(self.labels)
        if len(counts) < 2 or counts.min() < 2:
            raise TrainingError(
                f"training labels: found {counts.tolist()} rows of labels 0, 1, ..., "
                "expected at least two labels and two rows of each"
            )
        return len(counts)


@dataclass(frozen=True, eq=False)
class ClassicalState:
    """All that a fitted model consists of, in forms that need no pickle.

    Attributes:
        estimator: A scikit-learn estimator of types that skops trusts unasked.
        tensors: Arrays beside it, for safetensors.
    """

    estimator: Any
    tensors: Mapping[str, Array]


class ClassicalModel(ABC):
    """A model that is fitted as a whole."""

    @abstractmethod
    def extract_features(self, waveforms: Floats, on_progress: Progress | None = None) -> Array:
        """Compute the rows that the model is fitted to and predicts from.

        Args:
            waveforms: In [-1, 1], padded with zeros, cut anywhere there. float32 [n, M]
            on_progress: Called with (parts done, parts in all), where it takes long.

        Returns:
            Zeros after a clip are zeros at the end of a row, or nowhere in it. [n, F]
        """

    @abstractmethod
    def fit(self, clips: LabelledRows, on_progress: Progress | None = None) -> None:
        """Fit to clips; an earlier fit is forgotten.

        Args:
            clips: Each label at least twice.
            on_progress: Called with (parts done, parts in all), where it takes long.

        Raises:
            TrainingError: If a label is missing or single, or training diverges.
        """

    @abstractmethod
    def predict(self, rows: Array) -> Probabilities:
        """Compute probabilities, for speakers without recordings. [n, F] -> float64 [n, K]."""

    def predict_by_speaker(self, rows: Array, speakers: Sequence[str]) -> Probabilities:
        """Compute the same; a model that adapts to a speaker first does so on all rows of it."""
        return self.predict(rows)

    def predict_proba(self, waveforms: Floats) -> Probabilities:
        """Compute probabilities. float32 [n, M] -> float64 [n, K]."""
        return self.predict(self.extract_features(waveforms))

    @property
    @abstractmethod
    def num_parameters(self) -> int:
        """How many numbers fitting chose."""

    @abstractmethod
    def state(self) -> ClassicalState:
        """Return all that a fitted model consists of."""

    @abstractmethod
    def load_state(self, state: ClassicalState) -> None:
        """Load what `state` returned, into a model built from the same params."""

    def as_module(self, num_samples: int) -> "nn.Module":
        """Return the fitted model as a module that `torch.export` can trace.

        It takes what `serct.models.interface.TorchParams.build` says, and returns logits, float32
        [B, K], whose softmax are the probabilities; or these and the features, [B, F].

        Args:
            num_samples: Of the longest row.

        Raises:
            CheckpointError: If there is no such module, with the reason.
        """
        raise CheckpointError(
            f"{type(self).__name__} cannot be exported: it has no as_module, which computes its "
            "logits in torch"
        )

    def save(self, folder: Path) -> dict[str, Array]:
        """Write the estimator into an existing folder, as model.skops.

        Returns:
            The arrays beside it, which the caller stores.
        """
        state = self.state()
        _import_skops().dump(state.estimator, folder / ESTIMATOR)
        return dict(state.tensors)

    def load(self, folder: Path, tensors: Mapping[str, Array]) -> None:
        """Load what `save` wrote and returned, into a model built from the same params.

        Raises:
            CheckpointError: If the file or an array is missing, or the file is damaged or holds
                a type that is not scikit-learn's own.
        """
        skops_io = _import_skops()
        from skops.io.exceptions import UntrustedTypesFoundException

        path = folder / ESTIMATOR
        try:
            estimator = skops_io.load(path)
            self.load_state(ClassicalState(estimator, tensors))
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read: {error}") from error
        except UntrustedTypesFoundException as error:
            raise CheckpointError(f"{path}: not a model of serct: {error}") from error
        except (zipfile.BadZipFile, KeyError, ValueError) as error:
            raise CheckpointError(f"{path}: damaged or incomplete: {error}") from error


def _import_skops() -> Any:
    """Import `skops.io` without torch.

    To know the types that it trusts, skops imports every package of scikit-learn, and skips one
    that cannot be imported: for that while, the adapter for torch.
    """
    if _TORCH_ADAPTER not in sys.modules and "torch" not in sys.modules:
        # How Python marks a module as missing.
        sys.modules[_TORCH_ADAPTER] = None  # type: ignore[assignment]
    try:
        import skops.io
    finally:
        if sys.modules.get(_TORCH_ADAPTER, 0) is None:
            del sys.modules[_TORCH_ADAPTER]
    return skops.io


def average_samples(waveforms: Floats, pool: int) -> Floats:
    """Average each ``pool`` neighbouring samples into one; zeros fill up the last.

    Args:
        waveforms: float32 [n, N]
        pool: At least 1; 1 returns ``waveforms`` itself.

    Returns:
        float32 [n, F]

    Example:
        >>> average_samples(np.array([[1.0, 3.0, 4.0]], dtype=np.float32), 2).tolist()
        [[2.0, 2.0]]
    """
    if pool == 1:
        return waveforms
    missing = -waveforms.shape[1] % pool
    if missing:
        waveforms = np.pad(waveforms, ((0, 0), (0, missing)))
    pooled: Floats = waveforms.reshape(len(waveforms), -1, pool).mean(axis=2, dtype=np.float32)
    return pooled


def fill_up(rows: Array, num_columns: int) -> Array:
    """Append zeros to rows that are shorter. [n, F] -> [n, num_columns or more]."""
    missing = num_columns - rows.shape[1]
    return np.pad(rows, ((0, 0), (0, missing))) if missing > 0 else rows
