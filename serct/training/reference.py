"""The reference of drift: what a model met and predicted on its validation part."""

from typing import TYPE_CHECKING

import numpy as np

from serct.data.dataset import ShardDataset
from serct.data.windows import Plan, Timing
from serct.errors import BackendUnavailableError
from serct.evaluation.observation import NO_SPEECH, UNCERTAIN, Observation, count, measure_signal
from serct.models.calibration import Calibration
from serct.models.reference import Reference
from serct.runtime import log
from serct.runtime.arrays import Probabilities

if TYPE_CHECKING:
    from serct.data.windows import Frames

# Enough for a distribution, and a few seconds of work.
MAX_RECORDINGS = 1000


def measure_reference(
    validation_set: ShardDataset, probabilities: Probabilities, calibration: Calibration
) -> Reference | None:
    """Note of the validation part what the service notes of its predictions.

    Args:
        validation_set: That part.
        probabilities: That a service would give for it, before calibration. float64 [n, K]
        calibration: Of the model.

    Returns:
        None if voice activity's package is not installed.
    """
    from serct.data.voice_activity import find_speech

    dataset, emotions = validation_set, validation_set.emotions
    calibrated = calibration.apply(probabilities)
    rate, timing = dataset.meta.sample_rate_hz, Timing.of_rows(dataset.meta.num_samples)

    def observe(index: int) -> Observation:
        pcm = dataset.recording(index)
        frames: Frames = find_speech([pcm], rate)
        plan = Plan(len(pcm), rate, timing, frames)
        emotion, confidence = NO_SPEECH, None
        if plan.windows:
            confidence = float(calibrated[index].max())
            is_certain = confidence >= calibration.uncertain_below
            emotion = emotions[int(calibrated[index].argmax())] if is_certain else UNCERTAIN
        signal = measure_signal(pcm, frames, rate)
        return Observation(emotion, confidence, plan.duration_s, plan.speech_s, signal)

    # Spread over the part, whose rows are often in the order of their speakers.
    of = len(dataset)
    chosen = np.linspace(0, of - 1, min(of, MAX_RECORDINGS)).round().astype(np.int64)
    found = []
    try:
        with log.progress(len(chosen), "noting the reference of drift") as advance:
            for index in chosen.tolist():
                found.append(observe(index))
                advance()
    except BackendUnavailableError as error:
        log.logger.warning("%s; without it the model has no reference, and no drift", error)
        return None
    return Reference(recordings=len(found), of=of, counts=count(found, emotions))
