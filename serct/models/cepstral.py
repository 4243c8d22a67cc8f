"""`mfcc_svm`: what a deep model must beat: statistics of cepstral coefficients, and an SVM.

Shapes: n rows, M samples, F features, K emotions.
"""

from typing import Any

import numpy as np

from serct.arrays import Floats, Integers, Probabilities
from serct.model_params import MfccSvmParams
from serct.models.classical import (
    Array,
    ClassicalModel,
    ClassicalState,
    Progress,
    calibrated,
    check_labels,
)

_WINDOW_S, _HOP_S = 0.032, 0.01
_DELTA_FRAMES = 9
_QUANTILES = (0.1, 0.5, 0.9)
_LEVEL = 0.1


class MfccSvm(ClassicalModel):
    """MFCC statistics, standardised, and scikit-learn's SVM with an RBF kernel.

    Each clip is brought to one level, freed of its mean, cut behind its last sample that is not
    zero, and given a common noise floor: so neither loudness nor padding, DC or how quiet a studio
    was tells the emotion.

    Source:
        Davis & Mermelstein, Comparison of parametric representations, 1980 (MFCC).
    """

    def __init__(self, params: MfccSvmParams, seed: int, sample_rate_hz: int) -> None:
        """Build it unfitted."""
        self._params = params
        self._seed = seed
        self._rate_hz = sample_rate_hz
        self._estimator: Any = None

    def fit(self, waveforms: Floats, labels: Integers, on_progress: Progress | None = None) -> None:
        """See `ClassicalModel.fit`; a part is a clip."""
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        check_labels(labels)
        machine = SVC(C=self._params.regularisation, gamma="scale", class_weight="balanced")
        features = self._features(waveforms, on_progress)
        self._estimator = calibrated(
            make_pipeline(StandardScaler(), machine), labels, self._seed
        ).fit(features, labels)

    def predict_proba(self, waveforms: Floats) -> Probabilities:
        """See `ClassicalModel.predict_proba`."""
        probabilities: Probabilities = self._estimator.predict_proba(self._features(waveforms))
        return probabilities

    @property
    def num_parameters(self) -> int:
        """Support vectors, their coefficients, the intercepts, means and scales."""
        scaler, machine = self._estimator.calibrated_classifiers_[0].estimator
        arrays = (machine.support_vectors_, machine.dual_coef_, machine.intercept_, scaler.mean_)
        return sum(int(array.size) for array in arrays) + int(scaler.scale_.size)

    @property
    def loss_curve(self) -> tuple[float, ...]:
        """Empty: there are no epochs."""
        return ()

    def state(self) -> ClassicalState:
        """See `ClassicalModel.state`."""
        return ClassicalState(self._estimator, {})

    def load_state(self, state: ClassicalState) -> None:
        """See `ClassicalModel.load_state`."""
        self._estimator = state.estimator

    def _features(self, waveforms: Floats, on_progress: Progress | None = None) -> Array:
        rows = []
        for number, waveform in enumerate(waveforms, start=1):
            rows.append(self._describe(waveform))
            if on_progress:
                on_progress(number, len(waveforms))
        return np.stack(rows)

    def _describe(self, waveform: Floats) -> Array:
        """Give the features of one clip. float32 [M] -> [F]."""
        import librosa

        spoken = np.flatnonzero(waveform)
        window = round(_WINDOW_S * self._rate_hz)
        clip = waveform[: spoken[-1] + 1 if len(spoken) else 0].astype(np.float64)
        clip = clip - clip.mean() if len(clip) else clip
        loudness = np.sqrt((clip**2).mean()) if len(clip) else 0.0
        clip = np.pad(clip * (_LEVEL / loudness if loudness > 0 else 0.0), (0, window))
        floor = _LEVEL * 10 ** (self._params.noise_floor_db / 20)
        # The same noise for every clip, so that a clip always has the same features.
        clip += floor * np.random.default_rng(0).standard_normal(len(clip))
        coefficients = librosa.feature.mfcc(
            y=clip,
            sr=self._rate_hz,
            n_mfcc=self._params.num_coefficients,
            n_mels=self._params.num_mels,
            n_fft=window,
            hop_length=round(_HOP_S * self._rate_hz),
        )  # [coefficients, T]
        changes = [
            librosa.feature.delta(coefficients, width=_DELTA_FRAMES, order=order, mode="nearest")
            for order in (1, 2)
        ]
        moments = [
            each for part in (coefficients, *changes) for each in (part.mean(1), part.std(1))
        ]
        quantiles = [np.quantile(coefficients, q, axis=1) for q in _QUANTILES]
        return np.concatenate([*moments, *quantiles])
