"""What the models have in common that describe a clip by numbers for a machine of scikit-learn's.

Shapes: n rows, M samples, F features, k recordings of a voice, K emotions.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from serct.models.classical.decisions import cross_validated_temperature, probabilities
from serct.models.classical.estimator import (
    Array,
    ClassicalModel,
    ClassicalState,
    Progress,
    check_labels,
)
from serct.models.classical.voice_norm import VoiceNorm, by_voice
from serct.runtime.arrays import Floats, Integers, Probabilities

_LEVEL = 0.1
_TEMPERATURE = "temperature"


class FeatureClassifier(ClassicalModel):
    """Features of a clip, standardised, and a machine of scikit-learn's that tells them apart."""

    # Names of the fitted machine's arrays that its decisions are computed from.
    _decides_by: ClassVar[tuple[str, ...]]

    def __init__(self, seed: int, voice_norm: VoiceNorm | None = None) -> None:
        """Build it unfitted.

        Args:
            seed: Of the folds that calibrate it.
            voice_norm: Makes features relative to their voice; None leaves them as they are.
        """
        self._seed = seed
        self._voice_norm = voice_norm
        self._estimator: Any = None
        self._temperature = 1.0

    @abstractmethod
    def _describe(self, waveform: Floats) -> Array:
        """Give the features of one clip, finite for any. float32 [M] -> float64 [F]."""

    @abstractmethod
    def _machine(self, num_emotions: int) -> Any:
        """Give an unfitted estimator for standardised features."""

    @property
    def adapts_to_voices(self) -> bool:
        """Whether `answer` makes use of recordings of the same voice."""
        return self._voice_norm is not None

    def describe(self, waveforms: Floats, on_progress: Progress | None = None) -> Array:
        """See `ClassicalModel.describe`; of zeros at the end nothing is told."""
        rows = []
        for number, waveform in enumerate(waveforms, start=1):
            rows.append(self._describe(waveform))
            if on_progress:
                on_progress(number, len(waveforms))
        return np.stack(rows)

    def fit(
        self,
        rows: Array,
        labels: Integers,
        on_progress: Progress | None = None,
        voices: Sequence[str] = (),
        num_copies: int = 1,
    ) -> None:
        """See `ClassicalModel.fit`; it takes seconds."""
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        num_emotions = check_labels(labels)
        if self._voice_norm is not None:
            rows = self._voice_norm.fit(rows, voices or [""] * len(rows))
        machine = make_pipeline(StandardScaler(), self._machine(num_emotions))
        self._temperature = cross_validated_temperature(
            machine, rows, labels, self._seed, num_copies
        )
        self._estimator = machine.fit(rows, labels)

    def answer(self, rows: Array, heard: Array | None = None) -> Probabilities:
        """Give the probabilities of clips of one voice.

        Args:
            rows: What `describe` gives of the clips. float64 [n, F]
            heard: The same of recordings of that voice, ignored unless `adapts_to_voices`; None
                for a voice never heard. float64 [k, F]

        Returns:
            float64 [n, K]
        """
        if self._voice_norm is not None:
            rows = self._voice_norm(rows, rows[:0] if heard is None else heard)
        return probabilities(self._estimator, rows, self._temperature)

    def answer_by_voice(self, rows: Array, voices: Sequence[str]) -> Probabilities:
        """See `ClassicalModel.answer_by_voice`; nothing was heard of an unknown voice, ""."""
        if not self.adapts_to_voices:
            return self.answer(rows)
        answers = np.empty((len(rows), len(self._estimator.classes_)))
        for voice, own in by_voice(voices).items():
            answers[own] = self.answer(rows[own], rows[own] if voice else None)
        return answers

    @property
    def num_features(self) -> int:
        """F, once fitted."""
        return int(self._estimator.n_features_in_)

    @property
    def num_parameters(self) -> int:
        """What the machine decides by, and the means and scales of the features."""
        scaler, machine = self._estimator
        arrays = [getattr(machine, name) for name in self._decides_by]
        arrays += [scaler.mean_, scaler.scale_, *self.state().tensors.values()]
        return sum(int(array.size) for array in arrays)

    @property
    def loss_curve(self) -> tuple[float, ...]:
        """Empty: there are no epochs."""
        return ()

    def state(self) -> ClassicalState:
        """See `ClassicalModel.state`."""
        of_voices = self._voice_norm.state() if self._voice_norm is not None else {}
        return ClassicalState(
            self._estimator, {_TEMPERATURE: np.asarray(self._temperature), **of_voices}
        )

    def load_state(self, state: ClassicalState) -> None:
        """See `ClassicalModel.load_state`."""
        self._estimator = state.estimator
        self._temperature = float(state.tensors[_TEMPERATURE])
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
    heard = np.flatnonzero(waveform)
    clip = waveform[: heard[-1] + 1 if len(heard) else 1].astype(np.float64)
    clip = clip - clip.mean()
    loudness = np.sqrt((clip**2).mean())
    clip = np.pad(clip * (_LEVEL / loudness if loudness > 0 else 0.0), (0, num_behind))
    floor = _LEVEL * 10 ** (noise_floor_db / 20)
    # The same noise for every clip, so that a clip always has the same features.
    noisy: Array = clip + floor * np.random.default_rng(0).standard_normal(len(clip))
    return noisy
