"""`mfcc_svm`: statistics of cepstral coefficients and an SVM, the reference for deep models.

Shapes: M samples, T frames, F features.
"""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from serct.config.params import TrainParams
from serct.config.section import Positive, PositiveInt
from serct.models.classical.estimator import Array, ClassicalModel
from serct.models.classical.feature_classifier import FeatureClassifier, FeatureName
from serct.models.classical.neutral import neutral_clip
from serct.models.classical.spectra import decibels, mel_power, power_spectrum
from serct.models.interface import ClassicalParams
from serct.runtime.arrays import Floats

if TYPE_CHECKING:
    from torch import nn

_WINDOW_S, _HOP_S = 0.032, 0.01
_DELTA_FRAMES = 9
_QUANTILES = (0.1, 0.5, 0.9)


class MfccSvmParams(ClassicalParams):
    """Reference: an SVM with an RBF kernel on statistics of cepstral coefficients."""

    architecture: Literal["mfcc_svm"]
    num_coefficients: PositiveInt
    num_mels: PositiveInt
    noise_floor_db: Annotated[float, Field(lt=0)]
    regularisation: Positive

    masks_padding: ClassVar[bool] = True

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.num_coefficients > self.num_mels:
            raise ValueError("num_coefficients must not exceed num_mels")
        return self

    def build(self, train: TrainParams, seed: int, sample_rate_hz: int) -> ClassicalModel:
        """See `ClassicalParams.build`."""
        return MfccSvm(self, seed, sample_rate_hz)


class MfccSvm(FeatureClassifier):
    """MFCC statistics of the clip without its level and noise floor (`neutral_clip`), and an SVM.

    Source:
        Davis & Mermelstein, Comparison of parametric representations, 1980 (MFCC).
    """

    _decides_by = ("support_vectors_", "dual_coef_", "intercept_")

    def __init__(self, params: MfccSvmParams, seed: int, sample_rate_hz: int) -> None:
        """Build the model, not yet fitted."""
        super().__init__(seed)
        self._params = params
        self._rate_hz = sample_rate_hz

    def _machine(self, num_emotions: int) -> Any:
        from sklearn.svm import SVC

        return SVC(C=self._params.regularisation, gamma="scale", class_weight="balanced")

    def _feature_params(self) -> dict[str, float]:
        return {
            "num_coefficients": self._params.num_coefficients,
            "num_mels": self._params.num_mels,
            "noise_floor_db": self._params.noise_floor_db,
            "sample_rate_hz": self._rate_hz,
        }

    def feature_names(self) -> tuple[FeatureName, ...]:
        """See `FeatureClassifier.feature_names`; the first coefficient is the frames' level."""
        parts = [("", "mean"), ("", "deviation")]
        parts += [(f"derivative {n}", what) for n in (1, 2) for what in ("mean", "deviation")]
        parts += [("", f"quantile {q}") for q in _QUANTILES]
        return tuple(
            FeatureName(
                f"{'changes of ' if change else ''}{'spectrum' if number else 'energy'}",
                f"coefficient {number}, {f'{change}, ' if change else ''}{what}",
            )
            for change, what in parts
            for number in range(self._params.num_coefficients)
        )

    def feature_module(self, num_samples: int) -> "nn.Module":
        """See `FeatureClassifier.feature_module`."""
        from scipy.fft import dct
        from scipy.signal import savgol_coeffs

        from serct.models.graphs.cepstra import CepstralStatistics
        from serct.models.graphs.clips import MelDecibels, NeutralClip, PowerSpectrum

        params, rate = self._params, self._rate_hz
        window = round(_WINDOW_S * rate)
        transform = dct(np.eye(params.num_mels), axis=0, norm="ortho")[: params.num_coefficients]
        slopes = [savgol_coeffs(_DELTA_FRAMES, k, deriv=k, use="dot") for k in (1, 2)]
        return CepstralStatistics(
            NeutralClip(num_samples, params.noise_floor_db, window),
            PowerSpectrum(window, round(_HOP_S * rate)),
            MelDecibels(params.num_mels, window, rate),
            transform,
            np.stack(slopes),
            _QUANTILES,
        )

    def _features(self, waveform: Floats) -> Array:
        from scipy.fft import dct
        from scipy.signal import savgol_filter

        rate, window = self._rate_hz, round(_WINDOW_S * self._rate_hz)
        clip = neutral_clip(waveform, self._params.noise_floor_db, window)
        power = power_spectrum(clip, window, round(_HOP_S * rate))
        bands = decibels(mel_power(power, self._params.num_mels, window, rate))
        coefficients = dct(bands, axis=0, norm="ortho")
        coefficients = coefficients[: self._params.num_coefficients]  # [coefficients, T]
        changes = [
            savgol_filter(coefficients, _DELTA_FRAMES, order, deriv=order, mode="nearest")
            for order in (1, 2)
        ]
        moments = [
            each for part in (coefficients, *changes) for each in (part.mean(1), part.std(1))
        ]
        quantiles = np.quantile(coefficients, _QUANTILES, axis=1)
        return np.concatenate([*moments, *quantiles])
