"""What the models that scikit-learn fits have in common; importing it does not import that.

Shapes: n rows, N samples of a whole one, M of one cut behind its clip, F features = N / pool
rounded up, K emotions.
"""

import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from serct.errors import CheckpointError, TrainingError
from serct.runtime.arrays import Floats, Integers, Probabilities

Array: TypeAlias = npt.NDArray[Any]
Progress: TypeAlias = Callable[[int, int], object]

_FILE = "model.skops"


@dataclass(frozen=True, eq=False)
class ClassicalState:
    """All that a fitted model knows, in forms that need no pickle.

    Attributes:
        estimator: A scikit-learn estimator of types that skops trusts unasked.
        tensors: Arrays beside it, for safetensors.
    """

    estimator: Any
    tensors: Mapping[str, Array]


class ClassicalModel(ABC):
    """A model that is fitted whole."""

    @abstractmethod
    def describe(self, waveforms: Floats, on_progress: Progress | None = None) -> Array:
        """Give the rows that the model is fitted to, and answers for.

        Args:
            waveforms: In [-1, 1], padded with zeros, cut anywhere there. float32 [n, M]
            on_progress: Called with (parts done, parts in all), where it takes long.

        Returns:
            Zeros behind a clip are zeros at the end of a row, or nowhere in it. [n, F]
        """

    @abstractmethod
    def fit(
        self,
        rows: Array,
        labels: Integers,
        on_progress: Progress | None = None,
        voices: Sequence[str] = (),
        num_copies: int = 1,
    ) -> None:
        """Fit to rows, all anew.

        Args:
            rows: What `describe` gave. [n, F]
            labels: 0..K-1, each at least twice. int64 [n]
            on_progress: Called with (parts done, parts in all), where it takes long.
            voices: Who speaks in each row, "" if unknown, for models that adapt to voices.
            num_copies: How often the clips stand in the rows, all once before any again: so many
                versions of each, which must not be told apart from one another.

        Raises:
            TrainingError: If a label is missing or single, or training diverges.
        """

    @abstractmethod
    def answer(self, rows: Array) -> Probabilities:
        """Give each emotion's probability, for voices never heard. [n, F] -> float64 [n, K]."""

    def answer_by_voice(self, rows: Array, voices: Sequence[str]) -> Probabilities:
        """Give the same after all rows of a voice were heard, by a model that makes use of it."""
        return self.answer(rows)

    def predict_proba(self, waveforms: Floats) -> Probabilities:
        """Give each emotion's probability. float32 [n, M] -> float64 [n, K]."""
        return self.answer(self.describe(waveforms))

    @property
    @abstractmethod
    def num_parameters(self) -> int:
        """How many numbers fitting chose."""

    @property
    @abstractmethod
    def loss_curve(self) -> tuple[float, ...]:
        """Training loss of each epoch; empty for a model without epochs."""

    @abstractmethod
    def state(self) -> ClassicalState:
        """Give all that a fitted model knows."""

    @abstractmethod
    def load_state(self, state: ClassicalState) -> None:
        """Take over what `state` gave, in a model built from the same params."""

    def save(self, folder: Path) -> dict[str, Array]:
        """Write the estimator into an existing folder, as model.skops.

        Returns:
            The arrays that belong beside it, for the caller to store.
        """
        import skops.io

        state = self.state()
        skops.io.dump(state.estimator, folder / _FILE)
        return dict(state.tensors)

    def load(self, folder: Path, tensors: Mapping[str, Array]) -> None:
        """Take over what `save` wrote and gave, in a model built from the same params.

        Raises:
            CheckpointError: If the file or an array is missing, or the file is damaged or holds
                a type that is not scikit-learn's own.
        """
        import skops.io
        from skops.io.exceptions import UntrustedTypesFoundException

        path = folder / _FILE
        try:
            estimator = skops.io.load(path)
            self.load_state(ClassicalState(estimator, tensors))
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read: {error}") from error
        except UntrustedTypesFoundException as error:
            raise CheckpointError(f"{path}: not a model of serct: {error}") from error
        except (zipfile.BadZipFile, KeyError, ValueError) as error:
            raise CheckpointError(f"{path}: damaged or incomplete: {error}") from error


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


def check_labels(labels: Integers) -> int:
    """Give K, after making sure that each label 0..K-1 occurs at least twice.

    Raises:
        TrainingError: If one does not.
    """
    counts = np.bincount(labels)
    if len(counts) < 2 or counts.min() < 2:
        raise TrainingError(
            f"training labels: found {counts.tolist()} rows of labels 0, 1, ..., "
            "expected at least two labels and two rows of each"
        )
    return len(counts)
