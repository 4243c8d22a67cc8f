"""The one way from audio to emotions, for the command line, a service and an app alike."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from serct.data.audio import Limits, read_recording
from serct.data.dataset import stack_clips
from serct.data.preparing import prepare
from serct.errors import AudioError, SpeakerError
from serct.evaluation.evaluate import AdaptiveClassifier, Classifier, as_classifier
from serct.inference.onnx_model import MODEL_FILE, OnnxClassifier
from serct.models.checkpoint import load_card, load_model
from serct.models.records import Card
from serct.runtime.arrays import Floats, Pcm
from serct.runtime.devices import pick_device, pick_precision
from serct.tracking import find_model

# What a user's file may be; silence is refused since it holds no emotion.
CHECKS = Limits(silence_peak=1e-4, max_duration_s=600.0)

EmotionProbabilities = dict[str, float]
UNCERTAIN = "uncertain"


class Predictor:
    """A trained model with the audio form it expects.

    Attributes:
        classify: The model, before calibration.
        card: What it is and expects.

    Example:
        >>> predictor = Predictor.load("data/models/tess-serct")  # doctest: +SKIP
        >>> predictor.predict_file("hello.wav")  # doctest: +SKIP
        {'angry': 0.02, 'happy': 0.91, ...}
    """

    def __init__(self, classify: Classifier, card: Card) -> None:
        self.card = card
        self.classify = classify

    @classmethod
    def load(
        cls, source: str | Path, device: str = "cpu", precision: str = "float32"
    ) -> "Predictor":
        """Load a model.

        Args:
            source: A model's folder, a registry address such as "models:/serct@challenger", or
                the folder of an export, which ONNX Runtime runs.
            device: "auto", "cpu", "cuda" or "mps".
            precision: Of a torch model: "float32"; "bfloat16", faster where the processor
                computes it, with probabilities that differ in the third digit; or "auto".

        Raises:
            CheckpointError: If the folder holds no usable model.
            TrackingError: If the registry does not hold the address.
        """
        return cls(*load_classifier(source, device, precision))

    def predict(self, waveform: npt.ArrayLike, sample_rate: int) -> EmotionProbabilities:
        """Compute the probability of each emotion in one waveform.

        Args:
            waveform: Mono samples in [-1, 1]. float [N], N > 0
            sample_rate: In Hz.

        Raises:
            AudioError: If the waveform is empty, not one-dimensional or not finite.
        """
        return self.predict_batch([waveform], sample_rate)[0]

    def predict_batch(
        self, waveforms: Sequence[npt.ArrayLike], sample_rate: int
    ) -> list[EmotionProbabilities]:
        """Compute the probability of each emotion in each waveform; as `predict` one by one."""
        if not waveforms:
            return []
        return self.predict_prepared([self.prepare(each, sample_rate) for each in waveforms])

    def prepare(self, waveform: npt.ArrayLike, sample_rate: int) -> Pcm:
        """Convert a waveform into the model's input; what exceeds its rows is cut off.

        Raises:
            AudioError: As `predict`.
        """
        return prepare(_checked(waveform), sample_rate, self.card.audio)

    def predict_prepared(self, clips: Sequence[Pcm]) -> list[EmotionProbabilities]:
        """Compute the calibrated probabilities of one or more clips made by `prepare`."""
        probabilities = self.card.calibration.apply(self.classify(*stack_clips(clips)))
        return [dict(zip(self.card.emotions, row, strict=True)) for row in probabilities.tolist()]

    def adapt_to_speaker(self, recordings: Sequence[str | Path]) -> "Predictor":
        """Return a predictor for one speaker, adapted to recordings of that speaker.

        Args:
            recordings: Audio files of the speaker, without labels. Ten or more in several emotions
                help most; those of one emotion alone may do harm (docs/results/studies.md).

        Raises:
            SpeakerError: If the model makes no use of them, or there are none.
            AudioError: If one is not usable audio.
        """
        if not isinstance(self.classify, AdaptiveClassifier):
            raise SpeakerError(
                f"model {self.card.name} does not adapt to a speaker; one that does is a "
                "functionals_lda with a relevance_factor, such as functionals_lda_speaker"
            )
        if not recordings:
            raise SpeakerError("found no recording of the speaker, expected at least one")
        decoded = [read_recording(Path(path), CHECKS, mono=True) for path in recordings]
        clips = [self.prepare(each.waveform, each.sample_rate) for each in decoded]
        return Predictor(self.classify.adapt_to_speaker(*stack_clips(clips)), self.card)

    def decide(self, probabilities: EmotionProbabilities) -> str:
        """Return the most probable emotion, or `UNCERTAIN` if it is not probable enough."""
        emotion = max(probabilities, key=probabilities.__getitem__)
        is_certain = probabilities[emotion] >= self.card.calibration.uncertain_below
        return emotion if is_certain else UNCERTAIN

    def predict_file(
        self, source: str | Path | BinaryIO, name: str | None = None
    ) -> EmotionProbabilities:
        """Compute the probability of each emotion in an audio file of any usual format.

        Args:
            source: A path, or an open binary file that can seek.
            name: Of the source in error messages.

        Raises:
            AudioError: If the file is not usable audio.
        """
        source = Path(source) if isinstance(source, str) else source
        recording = read_recording(source, CHECKS, name, mono=True)
        return self.predict(recording.waveform, recording.sample_rate)


def load_classifier(
    source: str | Path, device: str = "cpu", precision: str = "float32"
) -> tuple[Classifier, Card]:
    """Load a classifier and its card; see `Predictor.load`."""
    folder = find_model(source)
    if (folder / MODEL_FILE).exists():
        card = load_card(folder)
        return OnnxClassifier.load(folder), card
    model, card = load_model(folder)
    chosen = pick_device(device)
    return as_classifier(model, chosen, pick_precision(precision, chosen)), card


def _checked(waveform: npt.ArrayLike) -> Floats:
    array: npt.NDArray[Any] = np.asarray(waveform)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind != "f":
        raise AudioError(
            f"waveform is {array.dtype} {array.shape}, expected floats in [-1, 1], shape [N], N > 0"
        )
    if not np.isfinite(array).all():
        raise AudioError("waveform holds NaN or infinite samples")
    return array.astype(np.float32)
