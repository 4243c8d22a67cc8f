"""What is noted of each prediction to see drift: a few numbers, no audio.

The reference in a model's card, the service and its metrics, `serct monitor` and the pages all take
the quantities and their bins from here. To add a quantity, add its field to `Observation` and its
entry to `QUANTITIES`.

Shapes: N samples, F frames of voice activity.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from serct.data.voice_activity import FRAME_S
from serct.data.windows import Frames
from serct.runtime.arrays import PCM_SCALE, Pcm

UNCERTAIN, NO_SPEECH = "uncertain", "no_speech"
# A frame without speech may be digital silence, and a ratio to nothing says only that.
SNR_RANGE_DB = (-10.0, 60.0)
# A part is a minute of frames at a time, so that memory does not depend on the recording's length.
_FRAMES_AT_ONCE = 1875


@dataclass(frozen=True)
class Signal:
    """How loud a recording is.

    Attributes:
        level_dbfs: Mean power of the frames with speech, in dB below a constant full scale; None
            without speech.
        snr_db: Their mean power over that of the frames without, in dB, -10..60; None if there are
            no frames of one kind.
    """

    level_dbfs: float | None
    snr_db: float | None


def measure_signal(pcm: Pcm, frames: Frames, sample_rate: int) -> Signal:
    """Measure how loud a recording is where somebody speaks, and how loud elsewhere.

    Args:
        pcm: The recording as models take it. int16 [N]
        frames: See `serct.data.voice_activity`. bool [F]
        sample_rate: Of the recording, in Hz.
    """
    meter = SignalMeter(sample_rate)
    meter.add(pcm, frames)
    return meter.signal


class SignalMeter:
    """Measures the signal of a recording that comes in parts of whole frames.

    Args:
        sample_rate: Of the recording, in Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        # Of the frames without speech, then of those with it.
        self._energy, self._num_samples = [0.0, 0.0], [0, 0]

    def add(self, pcm: Pcm, frames: Frames) -> None:
        """Add the next samples and their frames; see `measure_signal`."""
        edges = np.minimum(np.rint(np.arange(len(frames) + 1) * FRAME_S * self._rate), len(pcm))
        edges = edges.astype(np.int64)
        num_samples = np.diff(edges)
        energy = np.zeros(len(frames))
        filled = np.flatnonzero(num_samples)
        for first in range(0, len(filled), _FRAMES_AT_ONCE):
            part = filled[first : first + _FRAMES_AT_ONCE]
            start = edges[part[0]]
            squares = np.square(pcm[start : edges[part[-1] + 1]], dtype=np.float32)
            energy[part] = np.add.reduceat(squares, edges[part] - start, dtype=np.float64)
        for kind in (False, True):
            self._energy[kind] += float(energy[frames == kind].sum())
            self._num_samples[kind] += int(num_samples[frames == kind].sum())

    @property
    def signal(self) -> Signal:
        """Of all that was added."""
        other, speech = (
            energy / num if num else None
            for energy, num in zip(self._energy, self._num_samples, strict=True)
        )
        if not speech:
            return Signal(None, None)
        level_dbfs = 10 * float(np.log10(speech / PCM_SCALE**2))
        if other is None:
            return Signal(level_dbfs, None)
        ratio = 10 * float(np.log10(speech / other)) if other else np.inf
        return Signal(level_dbfs, float(np.clip(ratio, *SNR_RANGE_DB)))


@dataclass(frozen=True)
class Observation:
    """What is noted of one prediction.

    Attributes:
        emotion: An emotion, `UNCERTAIN`, or `NO_SPEECH`.
        confidence: Calibrated probability of the most probable emotion; None without speech.
        duration_s: Length of the recording.
        speech_s: Length of the speech in it.
        signal: How loud it is.
    """

    emotion: str
    confidence: float | None
    duration_s: float
    speech_s: float
    signal: Signal


@dataclass(frozen=True)
class Quantity:
    """One number of an observation, and its bins.

    Attributes:
        name: In cards, labels of metrics and JSON.
        title: For people.
        unit: "" if it has none.
        metric: Name of its histogram in the service's metrics.
        edges: Where bins end, rising; a value equal to an edge is below it. The first bin has no
            lower end and one more bin has no upper one.
        take: Returns the number; None if the observation has none.
    """

    name: str
    title: str
    unit: str
    metric: str
    edges: tuple[float, ...]
    take: Callable[[Observation], float | None]

    def bins(self, emotions: Sequence[str]) -> tuple[str, ...]:
        """Return the names of its bins for a model of these emotions."""
        return (*(f"<= {edge:g}" for edge in self.edges), f"> {self.edges[-1]:g}")

    def place(self, observation: Observation, emotions: Sequence[str]) -> int | None:
        """Return the number of an observation's bin; None if it has no value."""
        value = self.take(observation)
        return None if value is None else int(np.searchsorted(self.edges, value, side="left"))


@dataclass(frozen=True)
class Outcome(Quantity):
    """The predicted emotion; its bins are a model's emotions, `UNCERTAIN` and `NO_SPEECH`."""

    def bins(self, emotions: Sequence[str]) -> tuple[str, ...]:
        """See `Quantity`."""
        return (*emotions, UNCERTAIN, NO_SPEECH)

    def place(self, observation: Observation, emotions: Sequence[str]) -> int | None:
        """See `Quantity`."""
        return self.bins(emotions).index(observation.emotion)


_SECONDS = (0.5, 1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10, 15, 30, 60, 120, 300, 600)

QUANTITIES: tuple[Quantity, ...] = (
    Outcome("emotion", "predicted emotion", "", "serct_predictions", (), lambda each: None),
    Quantity(
        "confidence", "confidence", "", "serct_prediction_confidence",
        (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99),
        lambda each: each.confidence,
    ),
    Quantity(
        "duration", "length of the recording", "s", "serct_prediction_duration_seconds",
        _SECONDS, lambda each: each.duration_s,
    ),
    Quantity(
        "speech", "length of the speech", "s", "serct_prediction_speech_seconds",
        _SECONDS, lambda each: each.speech_s,
    ),
    Quantity(
        "level", "level of the speech", "dBFS", "serct_prediction_level_dbfs",
        (-60, -55, -50, -45, -40, -35, -30, -25, -20, -15, -10, -5),
        lambda each: each.signal.level_dbfs,
    ),
    Quantity(
        "snr", "speech over what is between it", "dB", "serct_prediction_snr_db",
        (-5, 0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55),
        lambda each: each.signal.snr_db,
    ),
)  # fmt: skip


def count(
    observations: Iterable[Observation], emotions: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Count observations by quantity and bin, as `serct.models.reference.Reference` holds them."""
    found = {each.name: dict.fromkeys(each.bins(emotions), 0) for each in QUANTITIES}
    for observation in observations:
        for quantity in QUANTITIES:
            place = quantity.place(observation, emotions)
            if place is not None:
                found[quantity.name][quantity.bins(emotions)[place]] += 1
    return found
