"""What the models have in common that describe a clip by numbers and leave the rest to an SVM.

Shapes: n rows, M samples, F features, k recordings of a voice, K emotions.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from serct.arrays import Floats, Integers, Probabilities
from serct.models.classical import (
    Array,
    ClassicalModel,
    ClassicalState,
    Progress,
    calibrated,
    check_labels,
)
from serct.models.voice_norm import VoiceNorm

_LEVEL = 0.1


class FeatureSvm(ClassicalModel):
    """Features of a clip, standardised, and scikit-learn's SVM with an RBF kernel."""

    def __init__(self, regularisation: float, seed: int, voice_norm: VoiceNorm | None) -> None:
        """Build it unfitted.

        Args:
            regularisation: C.
            seed: Of the folds that calibrate it.
            voice_norm: Makes features relative to their voice; None leaves them as they are.
        """
        self._regularisation = regularisation
        self._seed = seed
        self._voice_norm = voice_norm
        self._estimator: Any = None

    @abstractmethod
    def _describe(self, waveform: Floats) -> Array:
        """Give the features of one clip, finite for any. float32 [M] -> float64 [F]."""

    @property
    def adapts_to_voices(self) -> bool:
        """Whether `answer` makes use of recordings of the same voice."""
        return self._voice_norm is not None

    def fit(
        self,
        waveforms: Floats,
        labels: Integers,
        on_progress: Progress | None = None,
        voices: Sequence[str] = (),
    ) -> None:
        """See `ClassicalModel.fit`; a part is a clip."""
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        check_labels(labels)
        features = self.describe(waveforms, on_progress)
        if self._voice_norm is not None:
            features = self._voice_norm.fit(features, voices or [""] * len(features))
        machine = SVC(C=self._regularisation, gamma="scale", class_weight="balanced")
        self._estimator = calibrated(
            make_pipeline(StandardScaler(), machine), labels, self._seed
        ).fit(features, labels)

    def predict_proba(self, waveforms: Floats) -> Probabilities:
        """See `ClassicalModel.predict_proba`; of voices never heard."""
        features = self.describe(waveforms)
        return self.answer(features, heard=features[:0])

    def describe(self, waveforms: Floats, on_progress: Progress | None = None) -> Array:
        """Give the features of clips, of which zeros at the end are none. [n, M] -> [n, F]."""
        rows = []
        for number, waveform in enumerate(waveforms, start=1):
            rows.append(self._describe(waveform))
            if on_progress:
                on_progress(number, len(waveforms))
        return np.stack(rows)

    def answer(self, features: Array, heard: Array) -> Probabilities:
        """Give the probabilities of clips of one voice.

        Args:
            features: What `describe` gives of the clips. float64 [n, F]
            heard: The same of recordings of that voice, ignored unless `adapts_to_voices`.
                float64 [k, F], k >= 0

        Returns:
            float64 [n, K]
        """
        if self._voice_norm is not None:
            features = self._voice_norm(features, heard)
        probabilities: Probabilities = self._estimator.predict_proba(features)
        return probabilities

    @property
    def num_features(self) -> int:
        """F, once fitted."""
        return int(self._estimator.n_features_in_)

    @property
    def num_parameters(self) -> int:
        """Support vectors, their coefficients, the intercepts, means and scales."""
        scaler, machine = self._estimator.calibrated_classifiers_[0].estimator
        arrays = [machine.support_vectors_, machine.dual_coef_, machine.intercept_, scaler.mean_]
        arrays += [scaler.scale_, *self.state().tensors.values()]
        return sum(int(array.size) for array in arrays)

    @property
    def loss_curve(self) -> tuple[float, ...]:
        """Empty: there are no epochs."""
        return ()

    def state(self) -> ClassicalState:
        """See `ClassicalModel.state`."""
        return ClassicalState(
            self._estimator, self._voice_norm.state() if self._voice_norm is not None else {}
        )

    def load_state(self, state: ClassicalState) -> None:
        """See `ClassicalModel.load_state`."""
        self._estimator = state.estimator
        if self._voice_norm is not None:
            self._voice_norm.load_state(state.tensors)


def neutral_clip(waveform: Floats, noise_floor_db: float, num_behind: int) -> Array:
    """Take from a row what tells an emotion without being heard.

    The zeros behind the clip are cut off, its mean is taken out, it is brought to one level, and
    gets a common noise floor: so neither padding, DC, loudness nor how quiet a studio was tells
    the emotion.

    Args:
        waveform: float32 [M]
        noise_floor_db: Of the noise, below the clip's level.
        num_behind: Samples of silence, but for the noise, to append.

    Returns:
        float64 [clip + num_behind]
    """
    spoken = np.flatnonzero(waveform)
    clip = waveform[: spoken[-1] + 1 if len(spoken) else 0].astype(np.float64)
    clip = clip - clip.mean() if len(clip) else clip
    loudness = np.sqrt((clip**2).mean()) if len(clip) else 0.0
    clip = np.pad(clip * (_LEVEL / loudness if loudness > 0 else 0.0), (0, num_behind))
    floor = _LEVEL * 10 ** (noise_floor_db / 20)
    # The same noise for every clip, so that a clip always has the same features.
    noisy: Array = clip + floor * np.random.default_rng(0).standard_normal(len(clip))
    return noisy
