"""A model and the form of its input, for programs that share windows out themselves.

`serct.Predictor` does, and so does the service, whose requests share batches.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Self

import numpy as np
import numpy.typing as npt

from serct.data.audio import Limits, usable_waveform
from serct.data.dataset import stack_clips
from serct.data.preparing import prepare
from serct.data.voice_activity import find_speech, find_speech_in
from serct.data.windows import Frames, Plan, Timing, plan_recording
from serct.errors import AudioError
from serct.evaluation.classifiers import AdaptiveClassifier, Classifier, EnrolledClassifier
from serct.evaluation.probabilities import checked_probabilities
from serct.inference.enrolment import Adaptation, Speaker, adaptation, adaptive, check_speaker
from serct.inference.recording import NO_SPEECH, UNCERTAIN, EmotionProbabilities
from serct.models.classical.enrolment import Enrolment
from serct.models.records import Card
from serct.runtime.arrays import Pcm, Probabilities

# An array may be anything: what is silent or too long is for its program to say.
ARRAYS = Limits(silence_peak=None, max_duration_s=float("inf"))
_BATCH_SIZE = 16


class WindowModel:
    """A trained model that predicts windows of prepared recordings.

    Attributes:
        classify: The model, before calibration.
        card: What it is and expects.
        speaker: Who it adapts to; None for a speaker without recordings.
    """

    def __init__(self, classify: Classifier, card: Card, speaker: Speaker | None = None) -> None:
        self.card = card
        self.classify = classify
        self.speaker = speaker

    def for_speaker(self, speaker: Speaker) -> Self:
        """Return the same model for one speaker; it changes nothing here.

        Raises:
            SpeakerError: If the speaker was enrolled with another model.
        """
        check_speaker(speaker, self.card)
        model = adaptive(self.classify, self.card)
        return type(self)(model.for_speaker(speaker.sums), self.card, speaker)

    @property
    def adaptation(self) -> Adaptation | None:
        """How much it adapts to `speaker`; None without one."""
        if self.speaker is None:
            return None
        return adaptation(adaptive(self.classify, self.card), self.speaker, self.card)

    @property
    def adapts_to_speaker(self) -> bool:
        """Whether speakers can be enrolled."""
        return isinstance(self.classify, AdaptiveClassifier | EnrolledClassifier)

    def check_adapts(self) -> None:
        """Check that the model adapts to speakers.

        Raises:
            SpeakerError: If it does not.
        """
        adaptive(self.classify, self.card)

    def decide(self, probabilities: EmotionProbabilities | None) -> str:
        """Return the most probable emotion, or `UNCERTAIN` if it is not probable enough.

        Without probabilities, which are None where nobody speaks, it is `NO_SPEECH`.
        """
        if probabilities is None:
            return NO_SPEECH
        emotion = max(probabilities, key=probabilities.__getitem__)
        is_certain = probabilities[emotion] >= self.card.calibration.uncertain_below
        return emotion if is_certain else UNCERTAIN

    def prepare(self, waveform: npt.ArrayLike, sample_rate: int) -> Pcm:
        """Convert a whole waveform into the form of the model's input.

        Raises:
            AudioError: As `predict`.
        """
        usable, _ = usable_waveform(waveform, sample_rate, ARRAYS)
        return prepare(usable, sample_rate, self.card.audio)

    def row_s(self, sample_rate: int) -> float:
        """Return the length of a row, in seconds, for recordings of a rate in Hz."""
        return float(self.card.audio.num_samples / self.model_rate(sample_rate))

    def plan(
        self,
        num_samples: int,
        sample_rate: int,
        frames: Frames | None,
        timing_s: tuple[float, float] | None = None,
    ) -> Plan:
        """Plan the windows of a prepared recording.

        Args:
            num_samples: Of the prepared recording.
            sample_rate: Of the recording before, in Hz.
            frames: See `Plan`.
            timing_s: As for `analyse`.

        Raises:
            ValueError: As `timing`.
        """
        timing = self.timing(sample_rate, timing_s)
        return Plan(num_samples, self.model_rate(sample_rate), timing, frames)

    def timing(self, sample_rate: int, timing_s: tuple[float, float] | None = None) -> Timing:
        """Return the length of windows and from one to the next, in samples of the model's rate.

        Args:
            sample_rate: Of a recording, in Hz.
            timing_s: As for `analyse`.

        Raises:
            ValueError: If a window is longer than a row, or steps leave gaps or are no step.
        """
        row = self.card.audio.num_samples
        if timing_s is None:
            return Timing.of_rows(row)
        window_s, hop_s = timing_s
        rate = self.model_rate(sample_rate)
        for name, seconds in (("window_s", window_s), ("hop_s", hop_s)):
            if not seconds > 0:
                raise ValueError(f"{name} is {seconds:g}, expected above 0")
        if window_s * rate >= row + 0.5:
            raise ValueError(
                f"window_s is {window_s:g}, expected at most {row / rate:g}, a row of the model"
            )
        if hop_s > window_s:
            raise ValueError(f"hop_s is {hop_s:g}, expected at most window_s, {window_s:g}")
        return Timing(*(max(1, round(each * rate)) for each in timing_s))

    def find_speech(self, pieces: Iterable[Pcm], sample_rate: int) -> Frames:
        """Return where somebody speaks in a prepared recording; its rate before is in Hz."""
        return find_speech(pieces, self.model_rate(sample_rate))

    def find_speech_in(self, recordings: Sequence[Pcm], sample_rate: int) -> list[Frames]:
        """Return the same for several prepared recordings, at least one, of one rate before."""
        return find_speech_in(recordings, self.model_rate(sample_rate))

    def predict_prepared(self, clips: Sequence[Pcm]) -> Probabilities:
        """Compute the calibrated probabilities of one or more windows. float64 [B, K].

        Raises:
            PredictionError: If the model gives no probabilities.
        """
        found = checked_probabilities(self.classify(*stack_clips(clips)), f"model {self.card.name}")
        return self.card.calibration.apply(found)

    def predict_windows(self, windows: Iterable[Pcm]) -> Probabilities:
        """Compute the same for any number of windows, a few at once. float64 [W, K]."""
        found = [self.predict_prepared(batch) for batch in _batches(windows)]
        return np.concatenate(found) if found else np.empty((0, len(self.card.emotions)))

    def enrol_prepared(self, clips: Sequence[Pcm]) -> list[Enrolment]:
        """Compute the enrolment of each of one or more windows of a speaker's speech.

        Raises:
            SpeakerError: If the model does not adapt to a speaker.
        """
        return adaptive(self.classify, self.card).enrol(*stack_clips(clips))

    def enrol_windows(self, windows: Iterable[Pcm]) -> list[Enrolment]:
        """Compute the same for any number of windows, a few at once."""
        return [each for batch in _batches(windows) for each in self.enrol_prepared(batch)]

    def as_speaker(
        self, windows: Sequence[Enrolment], num_recordings: int, speech_s: float
    ) -> Speaker:
        """Return the speaker of windows from `enrol_prepared`, at least one."""
        sums = sum(windows[1:], windows[0])
        return Speaker(sums, num_recordings, speech_s, self.card.fingerprint)

    def plan_speech(self, pcm: Pcm, sample_rate: int, name: str) -> Plan:
        """Plan the windows of speech of a prepared recording of a speaker.

        Raises:
            AudioError: If nobody speaks in it.
        """
        plan = self.plan(len(pcm), sample_rate, self.find_speech([pcm], sample_rate))
        if not plan.windows:
            raise AudioError(
                f"{name}: no speech in its {plan.duration_s:.1f} s, expected a recording of the "
                "speaker"
            )
        return plan

    def plan_all(self, pcm: Pcm, sample_rate: int) -> Plan:
        """Plan windows with speech; where nobody speaks, or in a single window, all counts."""
        timing = Timing.of_rows(self.card.audio.num_samples)
        return plan_recording(len(pcm), self.model_rate(sample_rate), timing, lambda: pcm)

    def by_emotion(self, row: Probabilities) -> EmotionProbabilities:
        """Return probabilities, float64 [K], by the names of their emotions."""
        return dict(zip(self.card.emotions, row.tolist(), strict=True))

    def model_rate(self, sample_rate: int) -> int:
        """Return the rate, in Hz, of prepared recordings that had a rate before."""
        expected = self.card.audio.sample_rate
        return sample_rate if expected == "native" else expected


def _batches(windows: Iterable[Pcm]) -> Iterator[list[Pcm]]:
    remaining = iter(windows)
    return iter(lambda: list(islice(remaining, _BATCH_SIZE)), [])
