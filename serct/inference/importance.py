"""Which stretches of a recording its prediction depends on.

Shapes: N samples, K emotions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from serct.data.audio import Limits, open_recording
from serct.data.preparing import prepare_blocks
from serct.inference.window_model import WindowModel
from serct.runtime.arrays import Pcm, Probabilities

# About a syllable: shorter stretches hardly change a prediction, longer ones say little.
STRETCH_S = 0.25
# Of a longer recording each stretch costs as many predictions, so it would take too long.
MAX_DURATION_S = 60.0
_NUM_SHOWN = 3
_FRAME_S = 0.02
# Frames as quiet as the quietest twentieth hold the noise of the recording and no speech.
_QUIET_SHARE = 0.05
# Fades to and from the noise, since a jump would be a click.
_FADE_S = 0.005
_LIMITS = Limits(silence_peak=1e-4, max_duration_s=MAX_DURATION_S)


@dataclass(frozen=True)
class StretchImportance:
    """How much the prediction depends on a stretch of a recording.

    Attributes:
        start_s: Where it begins.
        end_s: Where it ends.
        lost: Probability that the emotion loses without the stretch, -1..1; below 0 if it gains.
    """

    start_s: float
    end_s: float
    lost: float


@dataclass(frozen=True)
class TimeImportance:
    """How much the prediction for a recording depends on each stretch of it.

    Attributes:
        emotion: The most probable one.
        probability: Its probability, calibrated, 0..1.
        stretches: Without gaps, all of equal length up to a sample.
    """

    emotion: str
    probability: float
    stretches: tuple[StretchImportance, ...]

    @property
    def decisive(self) -> tuple[StretchImportance, ...]:
        """At most three stretches without which the emotion loses most, the first most of all."""
        losing = [each for each in self.stretches if each.lost > 0]
        return tuple(sorted(losing, key=lambda each: -each.lost)[:_NUM_SHOWN])


class Occlusion:
    """A recording with each stretch replaced by noise in turn: windows to predict.

    Args:
        model: Says how a recording is cut into windows.
        pcm: The recording, prepared by the model. int16 [N], N > 0
        sample_rate: Before that, in Hz.
        stretch_s: Length of a stretch in seconds, above 0; it is rounded so that all are equal.
    """

    def __init__(
        self, model: WindowModel, pcm: Pcm, sample_rate: int, stretch_s: float = STRETCH_S
    ) -> None:
        self._pcm, self._emotions = pcm, model.card.emotions
        self._plan = plan = model.plan_all(pcm, sample_rate)
        num_stretches = max(1, round(plan.duration_s / stretch_s))
        edges = np.linspace(0, len(pcm), num_stretches + 1).round().astype(int).tolist()
        self._stretches = list(pairwise(edges))
        # Of each stretch the windows that it changes; the others' predictions stay.
        self._touched = [
            [place for place, (start, end) in enumerate(plan.windows) if start < to and begin < end]
            for begin, to in self._stretches
        ]

    def windows(self) -> Iterator[Pcm]:
        """Yield the recording's windows as they are, then those that each stretch changes."""
        pcm, plan = self._pcm, self._plan
        yield from (pcm[start:end] for start, end in plan.windows)
        noise = _soft_noise(pcm, plan.sample_rate)
        for (begin, to), places in zip(self._stretches, self._touched, strict=True):
            changed = _without(pcm, begin, to, noise, plan.sample_rate)
            yield from (changed[slice(*plan.windows[place])] for place in places)

    def conclude(self, probabilities: Probabilities) -> TimeImportance:
        """Compare the predictions; these are of `windows`, calibrated. float64 [all windows, K]."""
        num_windows = len(self._plan.windows)
        whole, found = probabilities[:num_windows], probabilities[num_windows:]
        combined = self._plan.combine(whole)[0]
        emotion = int(combined.argmax())
        probability = float(combined[emotion])
        importance = []
        for (begin, to), places in zip(self._stretches, self._touched, strict=True):
            rows = whole.copy()
            rows[places], found = found[: len(places)], found[len(places) :]
            lost = probability - float(self._plan.combine(rows)[0][emotion])
            times = begin / self._plan.sample_rate, to / self._plan.sample_rate
            importance.append(StretchImportance(*times, lost))
        return TimeImportance(self._emotions[emotion], probability, tuple(importance))


def importance_over_time(
    model: WindowModel, waveform: npt.ArrayLike, sample_rate: int, stretch_s: float = STRETCH_S
) -> TimeImportance:
    """Replace each stretch by noise in turn, and note what the predicted emotion loses.

    It works for any model, since the model is only asked: with `serct.Predictor` as ``model``. The
    noise is as soft as the quietest parts of the recording: digital silence would be padding for
    some models, and new to all of them. Where nobody speaks, all of the recording counts, as in
    `serct.Predictor.predict`.

    Args:
        model: Predicts, perhaps for one speaker.
        waveform: Mono samples in [-1, 1]. float [N], N > 0
        sample_rate: In Hz.
        stretch_s: See `Occlusion`.

    Raises:
        AudioError: As `serct.Predictor.predict`.

    Source:
        Zeiler & Fergus, Visualizing and understanding convolutional networks, 2014 (occlusion).
    """
    occlusion = Occlusion(model, model.prepare(waveform, sample_rate), sample_rate, stretch_s)
    return occlusion.conclude(model.predict_windows(occlusion.windows()))


def importance_in_file(model: WindowModel, path: Path) -> TimeImportance:
    """Do what `importance_over_time` does, with an audio file.

    Raises:
        AudioError: If the file is not usable audio, or longer than `MAX_DURATION_S`.
    """
    with open_recording(path, _LIMITS) as recording:
        rate = recording.sample_rate
        pcm = np.concatenate(list(prepare_blocks(recording.blocks(), rate, model.card.audio)))
    occlusion = Occlusion(model, pcm, rate)
    return occlusion.conclude(model.predict_windows(occlusion.windows()))


def _soft_noise(pcm: Pcm, rate_hz: int) -> Pcm:
    """Return noise as soft as the quietest frames, the same for each recording of a length. [N]."""
    size = max(1, min(round(_FRAME_S * rate_hz), len(pcm)))
    frames = pcm[: len(pcm) // size * size].reshape(-1, size).astype(np.float64)
    # Without DC, which the noise has none of.
    level = float(np.quantile(frames.std(axis=1), _QUIET_SHARE))
    drawn = np.random.default_rng(0).standard_normal(len(pcm))
    # At least one step of 16 bits: a run of zeros would be padding.
    return np.asarray(np.rint(drawn * max(level, 1.0)), dtype=np.int16)


def _without(pcm: Pcm, begin: int, end: int, noise: Pcm, rate_hz: int) -> Pcm:
    """Return a recording with noise in place of one stretch."""
    fade = np.minimum(np.arange(end - begin), np.arange(end - begin)[::-1]) / (_FADE_S * rate_hz)
    share = np.minimum(1.0, fade)
    changed = pcm.copy()
    mixed = (1 - share) * pcm[begin:end] + share * noise[begin:end]
    changed[begin:end] = np.rint(mixed).astype(np.int16)
    return changed
