"""`opensmile_svm`: the field's reference, functionals by openSMILE and a support vector machine.

Shapes: M samples, F features.
"""

import re
from functools import cached_property
from typing import Any, ClassVar, Literal, NoReturn

import numpy as np

from serct.config.params import TrainParams
from serct.config.section import Positive
from serct.errors import BackendUnavailableError, CheckpointError
from serct.models.classical.estimator import Array, ClassicalModel
from serct.models.classical.feature_classifier import FeatureClassifier, FeatureName
from serct.models.interface import ClassicalParams
from serct.runtime.arrays import Floats

# Of shorter clips not every set has functionals; zeros fill them up.
_SHORTEST_S = 0.2
# Groups of features, each with how its descriptors begin in openSMILE; the first that fits counts.
_GROUPS = {
    "phonation": "jitter|shimmer|hnr|loghnr|voic(ing|eprob)|logrelf0",
    "rhythm": r"(mean|stddev)(un)?voicedsegment|voicedsegmentspersec|loudnesspeaks|\w+__turn",
    "pitch": "f0",
    "formants": "f[123](frequency|bandwidth|amplitude)|lspfreq",
    "energy": "loudness|equivalentsoundlevel|pcm_(rmsenergy|intensity|loudness)|audspec.*lengthl1",
    "cepstrum": "(pcm_fftmag_)?mfcc",
    "spectrum": "",
}


class OpensmileSvmParams(ClassicalParams):
    """An SVM on functionals of descriptors that openSMILE computes.

    Attributes:
        feature_set: A member of `opensmile.FeatureSet` with functionals.
        class_weight: "balanced" counts every emotion alike; None every clip.
    """

    architecture: Literal["opensmile_svm"]
    feature_set: Literal[
        "GeMAPSv01b",
        "eGeMAPSv02",
        "ComParE_2016",
        "emobase",
        "IS09",
        "IS10",
        "IS11",
        "IS12",
        "IS13",
    ]
    kernel: Literal["rbf", "linear"]
    gamma: Literal["auto", "scale"]
    regularisation: Positive
    class_weight: Literal["balanced"] | None

    masks_padding: ClassVar[bool] = True
    licence: ClassVar[str] = "openSMILE: audEERING Research License, no commercial use"

    def build(self, train: TrainParams, seed: int, sample_rate_hz: int) -> ClassicalModel:
        """See `ClassicalParams.build`.

        Raises:
            BackendUnavailableError: If the package opensmile is not installed.
        """
        _import_opensmile()
        return OpensmileSvm(self, seed, sample_rate_hz)


class OpensmileSvm(FeatureClassifier):
    """Functionals of a clip as it is, with its level and its noise floor, and an SVM.

    With ComParE_2016, ``rbf``, ``auto``, 1 and no class weight it is the estimator that published
    results are compared with.

    Source:
        Eyben et al., openSMILE, 2010; Eyben et al., The Geneva minimalistic acoustic parameter set,
        2016 (eGeMAPS); Schuller et al., The INTERSPEECH 2016 computational paralinguistics
        challenge, 2016 (ComParE).
    """

    _decides_by = ("support_vectors_", "dual_coef_", "intercept_")
    _libraries = ("numpy", "opensmile")

    def __init__(self, params: OpensmileSvmParams, seed: int, sample_rate_hz: int) -> None:
        """Build the model, not yet fitted."""
        super().__init__(seed)
        self._params = params
        self._rate_hz = sample_rate_hz

    @cached_property
    def _extractor(self) -> Any:
        """What computes the features of one clip."""
        opensmile = _import_opensmile()
        feature_set = opensmile.FeatureSet[self._params.feature_set]
        return opensmile.Smile(feature_set, opensmile.FeatureLevel.Functionals)

    def _machine(self, num_emotions: int) -> Any:
        from sklearn.svm import SVC

        params = self._params
        return SVC(
            C=params.regularisation,
            kernel=params.kernel,
            gamma=params.gamma,
            class_weight=params.class_weight,
        )

    def _feature_params(self) -> dict[str, Any]:
        return {"feature_set": self._params.feature_set, "sample_rate_hz": self._rate_hz}

    def feature_names(self) -> tuple[FeatureName, ...]:
        """See `FeatureClassifier.feature_names`; these are openSMILE's."""
        return tuple(
            FeatureName(
                next(g for g, start in _GROUPS.items() if re.match(start, name, re.I)), name
            )
            for name in self._extractor.feature_names
        )

    def feature_module(self, num_samples: int) -> NoReturn:
        """Refuse an export: see `FeatureClassifier.feature_module`."""
        raise CheckpointError(
            "OpensmileSvm cannot be exported: the library openSMILE computes its features, and no "
            "graph can call it"
        )

    def _features(self, waveform: Floats) -> Array:
        clip = np.trim_zeros(waveform, "b")
        shortest = round(_SHORTEST_S * self._rate_hz)
        if len(clip) < shortest:
            clip = np.pad(clip, (0, shortest - len(clip)))
        features: Array = self._extractor(clip, self._rate_hz).ravel().astype(np.float64)
        # What openSMILE cannot compute of a clip must not spoil the rest.
        return np.nan_to_num(features, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def _import_opensmile() -> Any:
    """Import the package opensmile, which loads a library of its own.

    Raises:
        BackendUnavailableError: If that fails.
    """
    try:
        import opensmile
    except (ImportError, OSError) as error:
        raise BackendUnavailableError(
            "the architecture opensmile_svm needs the package opensmile, which is free for "
            f"research alone: pip install 'serct[opensmile]' ({error})"
        ) from error
    return opensmile
