"""Models that extract features of a clip and classify them with scikit-learn.

Shapes: n rows, M samples, F features, K emotions.
"""

import hashlib
import json
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from serct.errors import CheckpointError
from serct.models.classical.decisions import (
    cross_validated_temperature,
    decision_values,
    probabilities,
)
from serct.models.classical.enrolment import Enrolment, Variety
from serct.models.classical.estimator import (
    Array,
    ClassicalModel,
    ClassicalState,
    LabelledRows,
    Progress,
)
from serct.models.classical.speaker_normalization import SpeakerNormalization, rows_by_speaker
from serct.runtime.arrays import Floats, Probabilities
from serct.runtime.source import code_digests

if TYPE_CHECKING:
    from torch import nn

_TEMPERATURE = "temperature"
# The two numbers of `Variety`; models of older versions have none.
_VARIETY = "variety"
# Of what a model imports: reading params and files decides no feature, nor does a form for export.
_NOT_COMPUTING = (
    "serct.config", "serct.errors", "serct.models.graphs", "serct.models.records", "serct.runtime",
)  # fmt: skip


class FeatureName(NamedTuple):
    """What one feature is: a group, such as pitch, and its name in it."""

    group: str
    name: str


class FeatureClassifier(ClassicalModel):
    """Features of a clip, standardised, and an estimator of scikit-learn that classifies them."""

    # Names of the fitted estimator's arrays that its decisions are computed from.
    _decides_by: ClassVar[tuple[str, ...]]
    # Packages whose versions decide the last digits of features.
    _libraries: ClassVar[tuple[str, ...]] = ("numpy", "scipy")
    # Modules with the code that decides features; none if it is in the model's own.
    _computed_by: ClassVar[tuple[str, ...]] = ()

    def __init__(self, seed: int, normalization: SpeakerNormalization | None = None) -> None:
        """Build the model, not yet fitted.

        Args:
            seed: Of the folds that calibrate it.
            normalization: Makes features relative to their speaker; None leaves them as they are.
        """
        self._seed = seed
        self._normalization = normalization
        self._estimator: Any = None
        self._temperature = 1.0
        self._variety: Variety | None = None
        # In place of `_features`, where an export computes them.
        self._extract: Callable[[Floats], Array] | None = None

    @abstractmethod
    def _features(self, waveform: Floats) -> Array:
        """Compute the features of one clip, finite for any. float32 [M] -> float64 [F]."""

    @abstractmethod
    def _feature_params(self) -> dict[str, Any]:
        """Return all params that decide the features of a clip, its rate among them."""

    @abstractmethod
    def _machine(self, num_emotions: int) -> Any:
        """Return an estimator for standardised features, not yet fitted."""

    def feature_names(self) -> tuple[FeatureName, ...]:
        """Return what each of the F features is; none for a model that does not say."""
        return ()

    def feature_module(self, num_samples: int) -> "nn.Module":
        """Return what `_features` computes as a module of torch, for export.

        It takes what `ClassicalModel.as_module` does and returns features, [B, F].

        Args:
            num_samples: Of the longest row.

        Raises:
            CheckpointError: If there is no such module, with the reason.
        """
        raise CheckpointError(
            f"{type(self).__name__} cannot be exported: it has no feature_module, which computes "
            "its features in torch"
        )

    def as_module(self, num_samples: int) -> "nn.Module":
        """See `ClassicalModel.as_module`; it returns the features beside the logits.

        A model that adapts to speakers predicts as for one without recordings.
        """
        from serct.models.graphs.heads import FeatureHead, fitted_head

        scaler, machine = self._estimator
        centre = scaler.mean_
        if self._normalization is not None:
            centre = centre + self._normalization.average
        head = fitted_head(last_step(machine), self._temperature)
        is_normalized = last_step(machine) is not machine
        return FeatureHead(
            self.feature_module(num_samples), centre, scaler.scale_, head, is_normalized
        )

    def load_head(
        self, folder: Path, tensors: Mapping[str, Array], extract: Callable[[Floats], Array]
    ) -> None:
        """Load what `save_head` wrote; ``extract`` computes the features."""
        self._extract = extract
        FeatureClassifier.load(self, folder, tensors)

    def save_head(self, folder: Path) -> dict[str, Array]:
        """See `ClassicalModel.save`, without what computes features."""
        return ClassicalModel.save(self, folder)

    @property
    def adapts_to_speaker(self) -> bool:
        """Whether `predict` uses other recordings of the speaker."""
        return self._normalization is not None

    def feature_key(self) -> str:
        """Return a digest of all that decides features, but the clip: params and code.

        Models with equal keys have equal features, whatever else they do with them.
        """
        libraries = {name: version(name) for name in self._libraries}
        code = code_digests(self._computed_by or [type(self).__module__], _NOT_COMPUTING)
        content = [type(self).__qualname__, self._feature_params(), libraries, code]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def extract_features(self, waveforms: Floats, on_progress: Progress | None = None) -> Array:
        """See `ClassicalModel.extract_features`; zeros at the end change nothing."""
        if self._extract is not None:
            return self._extract(waveforms)
        rows = []
        for number, waveform in enumerate(waveforms, start=1):
            rows.append(self._features(waveform))
            if on_progress:
                on_progress(number, len(waveforms))
        return np.stack(rows)

    def fit(self, clips: LabelledRows, on_progress: Progress | None = None) -> None:
        """See `ClassicalModel.fit`; it takes seconds."""
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        rows, num_emotions = clips.rows, clips.count_emotions()
        if self._normalization is not None:
            rows = self._normalization.fit(rows, clips.speakers or [""] * len(rows))
        machine = make_pipeline(StandardScaler(), self._machine(num_emotions))
        self._temperature = cross_validated_temperature(machine, rows, clips, self._seed)
        self._estimator = machine.fit(rows, clips.labels)
        self._variety = None
        # Only of a linear estimator the spread does not depend on where a speaker's mean lies.
        if self._normalization is not None and hasattr(last_step(self._estimator[-1]), "coef_"):
            decisions = decision_values(self._estimator, rows)
            speakers = clips.speakers or [""] * len(rows)
            self._variety = Variety.measure(decisions, clips.labels, speakers)

    def enrol(self, rows: Array) -> Enrolment:
        """Sum up what is kept of recordings of one speaker, for `predict`.

        Args:
            rows: Features of windows of these recordings. float64 [k, F], k >= 0

        Raises:
            ValueError: If the model does not adapt to a speaker.
        """
        if self._normalization is None:
            raise ValueError(f"{type(self).__name__} does not adapt to a speaker")
        if not len(rows):
            nothing = np.zeros((0, len(self._estimator.classes_)))
            return Enrolment.of(rows, nothing, nothing)
        relative = self._normalization(rows, rows[0], count=0)
        return Enrolment.of(
            rows,
            decision_values(self._estimator, relative),
            probabilities(self._estimator, relative, self._temperature),
        )

    def variety(self, enrolled: Enrolment) -> float:
        """Return how varied recordings are, from 0 (as of one emotion) to 1 (varied enough).

        Without a measure for it, as in models of older versions, it is 1.
        """
        return 1.0 if self._variety is None else self._variety.share(enrolled)

    def num_counted(self, enrolled: Enrolment) -> float:
        """Return for how many recordings an enrolment counts against the relevance factor.

        For all of its windows if they are varied, and for one if they are as of one emotion: these
        say as little about the speaker as one of them.
        """
        if enrolled.count < 2:
            return float(enrolled.count)
        return 1 + (enrolled.count - 1) * self.variety(enrolled)

    def predict(self, rows: Array, enrolled: Enrolment | None = None) -> Probabilities:
        """Compute the probabilities of clips of one speaker.

        Args:
            rows: Features of the clips. float64 [n, F]
            enrolled: From `enrol`, of recordings of that speaker; None without any. Ignored unless
                `adapts_to_speaker`.

        Returns:
            float64 [n, K]
        """
        if self._normalization is not None:
            if enrolled is None or not enrolled.count:
                rows = self._normalization(rows, np.zeros(rows.shape[1]), count=0)
            else:
                mean = enrolled.features / enrolled.count
                rows = self._normalization(rows, mean, self.num_counted(enrolled))
        return probabilities(self._estimator, rows, self._temperature)

    def predict_by_speaker(self, rows: Array, speakers: Sequence[str]) -> Probabilities:
        """See `ClassicalModel.predict_by_speaker`; an unknown speaker, "", has no recordings."""
        if not self.adapts_to_speaker:
            return self.predict(rows)
        predictions = np.empty((len(rows), len(self._estimator.classes_)))
        for speaker, own in rows_by_speaker(speakers).items():
            enrolled = self.enrol(rows[own]) if speaker else None
            predictions[own] = self.predict(rows[own], enrolled)
        return predictions

    @property
    def num_features(self) -> int:
        """F, once fitted."""
        return int(self._estimator.n_features_in_)

    @property
    def num_parameters(self) -> int:
        """What the estimator decides by, and the means and scales of the features."""
        scaler, machine = self._estimator
        arrays = [getattr(last_step(machine), name) for name in self._decides_by]
        arrays += [scaler.mean_, scaler.scale_, *self.state().tensors.values()]
        return sum(int(array.size) for array in arrays)

    def state(self) -> ClassicalState:
        """See `ClassicalModel.state`."""
        tensors = {_TEMPERATURE: np.asarray(self._temperature)}
        if self._normalization is not None:
            tensors |= self._normalization.state()
        if self._variety is not None:
            tensors[_VARIETY] = np.array([self._variety.one_emotion, self._variety.all_emotions])
        return ClassicalState(self._estimator, tensors)

    def load_state(self, state: ClassicalState) -> None:
        """See `ClassicalModel.load_state`."""
        self._estimator = state.estimator
        self._temperature = float(state.tensors[_TEMPERATURE])
        if self._normalization is not None:
            self._normalization.load_state(state.tensors)
        if _VARIETY in state.tensors:
            self._variety = Variety(*state.tensors[_VARIETY].tolist())


def last_step(machine: Any) -> Any:
    """Return what classifies: the last step of a pipeline, or the machine itself."""
    return machine.steps[-1][1] if hasattr(machine, "steps") else machine
