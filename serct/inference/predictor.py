"""The one way from audio to emotions, for the command line, a service and an app alike."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt

from serct.data.audio import Limits, open_recording, usable_waveform
from serct.data.preparing import prepare, prepare_blocks
from serct.data.windows import cut_windows
from serct.errors import SpeakerError
from serct.evaluation.classifiers import Classifier, as_classifier
from serct.inference.enrolment import Speaker
from serct.inference.onnx_model import MODEL_FILE, load_exported
from serct.inference.recording import EmotionProbabilities, RecordingPrediction, conclude
from serct.inference.window_model import ARRAYS, WindowModel
from serct.models.checkpoint import load_model
from serct.models.records import Card
from serct.runtime.arrays import Pcm
from serct.runtime.devices import pick_device, pick_precision
from serct.tracking import find_model

T = TypeVar("T")

# What a user's file may be; silence is refused since it holds no emotion.
CHECKS = Limits(silence_peak=1e-4, max_duration_s=86_400.0)
# A longer file is decoded anew for each pass, so that memory does not depend on its length.
_IN_MEMORY_S = 300.0


class Predictor(WindowModel):
    """A trained model with the audio form it expects.

    It predicts for whole recordings of any length, see `serct.data.windows`.

    Attributes:
        classify: The model, before calibration.
        card: What it is and expects.

    Example:
        >>> predictor = Predictor.load("data/models/tess-serct")  # doctest: +SKIP
        >>> predictor.predict_file("hello.wav")  # doctest: +SKIP
        {'angry': 0.02, 'happy': 0.91, ...}
        >>> predictor.analyse_file("call.m4a").segments  # doctest: +SKIP
        (TimedPrediction(start_s=0.0, end_s=2.0, speech_s=1.6, emotion='neutral', ...), ...)
    """

    @classmethod
    def load(
        cls, source: str | Path, device: str = "cpu", precision: str = "float32"
    ) -> "Predictor":
        """Load a model.

        Args:
            source: A model's folder, a registry address such as "models:/serct@challenger", or
                the folder of an export, which ONNX Runtime or OpenVINO runs.
            device: "auto", "cpu", "cuda" or "mps"; an export always computes on the CPU.
            precision: "float32"; "bfloat16", faster where the processor computes it, with
                probabilities that differ in the third digit, and for an export by OpenVINO; or
                "auto".

        Raises:
            CheckpointError: If the folder holds no usable model.
            TrackingError: If the registry does not hold the address.
        """
        return cls(*load_classifier(source, device, precision))

    def predict(self, waveform: npt.ArrayLike, sample_rate: int) -> EmotionProbabilities:
        """Compute the probability of each emotion in one waveform, all of it.

        Where nobody speaks, the model still gives probabilities; `analyse` says so.

        Args:
            waveform: Mono samples in [-1, 1]. float [N], N > 0
            sample_rate: In Hz.

        Raises:
            AudioError: If the waveform is empty, not one-dimensional, not finite, or far out of
                range, or the rate beyond 4 to 192 kHz.
        """
        return self.predict_batch([waveform], sample_rate)[0]

    def predict_batch(
        self, waveforms: Sequence[npt.ArrayLike], sample_rate: int
    ) -> list[EmotionProbabilities]:
        """Compute the probability of each emotion in each waveform; as `predict` one by one."""
        recordings = [self.prepare(each, sample_rate) for each in waveforms]
        plans = [self.plan_all(each, sample_rate) for each in recordings]
        windows = (
            recording[start:end]
            for recording, plan in zip(recordings, plans, strict=True)
            for start, end in plan.windows
        )
        found = iter(self.predict_windows(windows))
        return [
            self.by_emotion(plan.combine(np.array([next(found) for _ in plan.windows]))[0])
            for plan in plans
        ]

    def predict_file(
        self, source: str | Path | BinaryIO, name: str | None = None
    ) -> EmotionProbabilities:
        """Compute the probability of each emotion in an audio file of any usual format, all of it.

        Where nobody speaks, the model still gives probabilities; `analyse_file` says so.

        Args:
            source: A path, or an open binary file that can seek.
            name: Of the source in error messages.

        Raises:
            AudioError: If the file is not usable audio.
        """
        found = self._analyse_file(source, name, None, needs_speech=False).probabilities
        assert found is not None  # noqa: S101  since no speech is needed
        return found

    def analyse(
        self, waveform: npt.ArrayLike, sample_rate: int, timing_s: tuple[float, float] | None = None
    ) -> RecordingPrediction:
        """Predict the emotion of one waveform and along it, where somebody speaks.

        Args:
            waveform: As for `predict`.
            sample_rate: In Hz.
            timing_s: Length of windows, at most `row_s`, and from one to the next, at most that,
                in seconds. That of the model's rows and a third of it if None.

        Raises:
            AudioError: As `predict`.
            ValueError: If ``timing_s`` is longer than that, or not above 0.
        """
        checked, notes = usable_waveform(waveform, sample_rate, ARRAYS)
        pcm = prepare(checked, sample_rate, self.card.audio)
        return self._analyse(lambda: iter([pcm]), sample_rate, timing_s, notes)

    def analyse_file(
        self,
        source: str | Path | BinaryIO,
        name: str | None = None,
        timing_s: tuple[float, float] | None = None,
    ) -> RecordingPrediction:
        """Predict the emotion of an audio file and along it, where somebody speaks.

        Memory does not depend on the file's length.

        Args:
            source: As for `predict_file`.
            name: Of the source in error messages.
            timing_s: As for `analyse`.

        Raises:
            AudioError: If the file is not usable audio.
            ValueError: As `analyse`.
        """
        return self._analyse_file(source, name, timing_s, needs_speech=True)

    def enrol(self, recordings: Sequence[str | Path | BinaryIO]) -> "Predictor":
        """Return a predictor for one speaker, adapted to recordings of that speaker.

        What it adapted to already stays: it may be enrolled with more and more recordings. All
        windows of speech count. Look at its `adaptation` for how many that are, and for a warning
        if they sound like one mood.

        Args:
            recordings: Audio files of the speaker, without labels. Ten or more in several emotions
                help most (docs/how-to/enrolment.md).

        Raises:
            SpeakerError: If the model makes no use of them, or there are none.
            AudioError: If one is not usable audio, or has no speech.
        """
        return self._enrol(recordings, self._enrol_file)

    def adapt_to_speaker(self, recordings: Sequence[str | Path]) -> "Predictor":
        """Do what `enrol` does, whose name this was in version 0.2; the next version removes it."""
        return self.enrol(recordings)

    def enrol_waveforms(self, waveforms: Sequence[npt.ArrayLike], sample_rate: int) -> "Predictor":
        """Return a predictor for the speaker of some waveforms; see `enrol` and `predict`."""
        return self._enrol(waveforms, lambda each: self._enrol_waveform(each, sample_rate))

    def _enrol(self, recordings: Sequence[T], enrol_one: Callable[[T], Speaker]) -> "Predictor":
        self.check_adapts()
        if not recordings:
            raise SpeakerError("found no recording of the speaker, expected at least one")
        speaker = self.speaker
        for recording in recordings:
            found = enrol_one(recording)
            speaker = found if speaker is None else speaker + found
        assert speaker is not None  # noqa: S101  since there is a recording
        return self.for_speaker(speaker)

    def _enrol_file(self, source: str | Path | BinaryIO) -> Speaker:
        source = Path(source) if isinstance(source, str) else source
        with open_recording(source, CHECKS) as recording:
            rate = recording.sample_rate
            pieces = prepare_blocks(recording.blocks(), rate, self.card.audio)
            pcm = np.concatenate(list(pieces))
        return self._enrol_pcm(pcm, rate, str(getattr(source, "name", source)))

    def _enrol_waveform(self, waveform: npt.ArrayLike, sample_rate: int) -> Speaker:
        checked, _ = usable_waveform(waveform, sample_rate, CHECKS)
        return self._enrol_pcm(
            prepare(checked, sample_rate, self.card.audio), sample_rate, "waveform"
        )

    def _enrol_pcm(self, pcm: Pcm, sample_rate: int, name: str) -> Speaker:
        plan = self.plan_speech(pcm, sample_rate, name)
        windows = [pcm[start:end] for start, end in plan.windows]
        return self.as_speaker(self.enrol_windows(windows), 1, plan.speech_s)

    def _analyse_file(
        self,
        source: str | Path | BinaryIO,
        name: str | None,
        timing_s: tuple[float, float] | None,
        *,
        needs_speech: bool,
    ) -> RecordingPrediction:
        source = Path(source) if isinstance(source, str) else source
        with open_recording(source, CHECKS, name) as recording:
            rate = recording.sample_rate

            def pieces() -> Iterator[Pcm]:
                return prepare_blocks(recording.blocks(), rate, self.card.audio)

            kept = list(pieces()) if recording.duration_s <= _IN_MEMORY_S else None
            return self._analyse(
                pieces if kept is None else kept.__iter__,
                rate, timing_s, recording.notes, needs_speech=needs_speech,
            )  # fmt: skip

    def _analyse(
        self,
        pieces: Callable[[], Iterator[Pcm]],
        sample_rate: int,
        timing_s: tuple[float, float] | None,
        notes: Sequence[str],
        *,
        needs_speech: bool = True,
    ) -> RecordingPrediction:
        """Analyse a recording that ``pieces`` gives from its start, as often as it is called."""
        num_samples = 0

        def counted() -> Iterator[Pcm]:
            nonlocal num_samples
            for piece in pieces():
                num_samples += len(piece)
                yield piece

        frames = self.find_speech(counted(), sample_rate)
        plan = self.plan(num_samples, sample_rate, frames, timing_s)
        if not plan.windows and needs_speech is False:
            plan = self.plan(num_samples, sample_rate, None, timing_s)
        probabilities = self.predict_windows(cut_windows(pieces(), plan.windows))
        return conclude(plan, probabilities, self.card.emotions, self.decide, notes)


def load_classifier(
    source: str | Path, device: str = "cpu", precision: str = "float32"
) -> tuple[Classifier, Card]:
    """Load a classifier and its card; see `Predictor.load`."""
    folder = find_model(source)
    if (folder / MODEL_FILE).exists():
        return load_exported(folder, precision)
    model, card = load_model(folder)
    chosen = pick_device(device)
    return as_classifier(model, chosen, pick_precision(precision, chosen)), card
