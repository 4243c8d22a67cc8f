"""Models of every kind as one thing: waveforms in, probabilities out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from serct.models.classical.enrolment import Enrolment
from serct.models.classical.estimator import ClassicalModel
from serct.models.classical.feature_classifier import FeatureClassifier
from serct.models.interface import Model
from serct.runtime import devices
from serct.runtime.arrays import Features, Floats, Integers, Probabilities

# Classical models are scored without torch, which takes over a second to import.
if TYPE_CHECKING:
    import torch


class Classifier(Protocol):
    """Anything that turns waveforms into probabilities."""

    def __call__(self, waveforms: Floats, num_valid: Integers) -> Probabilities:
        """Predict a batch.

        Args:
            waveforms: In [-1, 1), zero behind each clip, cut anywhere there. float32 [B, M]
            num_valid: Samples that are not padding. int64 [B]

        Returns:
            Rows sum to 1. float64 [B, K]
        """
        ...


class TorchClassifier:
    """A torch model in evaluation mode; in float32 by default, for equal scores everywhere."""

    def __init__(
        self,
        module: "torch.nn.Module",
        device: "torch.device",
        precision: "torch.dtype | None" = None,
    ) -> None:
        import torch

        self.module = module.to(device)
        self.device = device
        self.precision = precision or torch.float32

    def __call__(self, waveforms: Floats, num_valid: Integers) -> Probabilities:
        """See `Classifier`; dropout is off meanwhile, and the model's mode stays its own."""
        import torch

        # Threads of a service share a module; it is in evaluation mode, and not touched then.
        was_training = self.module.training
        if was_training:
            self.module.eval()
        is_mixed = self.precision != torch.float32
        with (
            torch.inference_mode(),
            devices.tensor_float32(is_allowed=False),
            torch.autocast(self.device.type, self.precision, enabled=is_mixed),
        ):
            logits = self.module(
                torch.from_numpy(waveforms).to(self.device),
                torch.from_numpy(num_valid).to(self.device),
            )
            probabilities = logits.double().softmax(dim=-1).cpu().numpy()
        if was_training:
            self.module.train()
        return np.asarray(probabilities)


class FeatureBased:
    """A model that predicts from features of a recording, which are computed once."""

    def __init__(self, model: FeatureClassifier) -> None:
        self.model = model

    def __call__(self, waveforms: Floats, num_valid: Integers) -> Probabilities:
        """See `Classifier`."""
        return self.model.predict_proba(waveforms)

    def predict_features(self, features: Features, speakers: Sequence[str]) -> Probabilities:
        """Predict from features and the speaker of each, "" if unknown. [n, F] -> [n, K]."""
        return self.model.predict(features)


class AdaptiveClassifier(FeatureBased):
    """A model that predicts better for a speaker with enrolled recordings, of any emotions.

    Called for a batch, it predicts as for speakers without recordings.
    """

    def predict_features(self, features: Features, speakers: Sequence[str]) -> Probabilities:
        """See `FeatureBased`; the features of a speaker are adapted to one another."""
        return self.model.predict_by_speaker(features, speakers)

    def enrol(self, waveforms: Floats, num_valid: Integers) -> list[Enrolment]:
        """Compute the enrolment of each window of a speaker's speech. [k, M], [k] -> k of them."""
        features = self.model.extract_features(waveforms)
        return [self.model.enrol(row) for row in features[:, None]]

    def for_speaker(self, enrolled: Enrolment) -> "EnrolledClassifier":
        """Return a classifier for the speaker of an enrolment by this model."""
        return EnrolledClassifier(self, enrolled)


class EnrolledClassifier:
    """A model that was enrolled with one speaker, and predicts for that speaker alone.

    Attributes:
        adaptive: The model for all speakers.
    """

    def __init__(self, adaptive: AdaptiveClassifier, enrolled: Enrolment) -> None:
        self.adaptive = adaptive
        self._enrolled = enrolled

    def __call__(self, waveforms: Floats, num_valid: Integers) -> Probabilities:
        """See `Classifier`."""
        model = self.adaptive.model
        return model.predict(model.extract_features(waveforms), self._enrolled)


def without_enrolment(classifier: Classifier) -> Classifier:
    """Return a classifier that adapts to no speaker, as a service predicts."""
    return FeatureBased(classifier.model) if isinstance(classifier, FeatureBased) else classifier


def as_classifier(
    model: Model, device: "torch.device | str", precision: "torch.dtype | None" = None
) -> Classifier:
    """Return a classifier for a model of any kind.

    Args:
        model: What predicts.
        device: Of a torch model, or its name as in params.yaml.
        precision: Of a torch model; float32 if None.

    Raises:
        TrainingError: If this machine has no device of that name.
    """
    if not isinstance(model, ClassicalModel):
        chosen = devices.pick_device(device) if isinstance(device, str) else device
        return TorchClassifier(model, chosen, precision)
    devices.check_device(device)
    if isinstance(model, FeatureClassifier):
        return AdaptiveClassifier(model) if model.adapts_to_speaker else FeatureBased(model)
    return lambda waveforms, num_valid: model.predict_proba(waveforms)
