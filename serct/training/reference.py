"""The reference of drift: what a model met and predicted on its validation part."""

import hashlib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from serct.data.dataset import ShardDataset
from serct.data.windows import Plan, Timing
from serct.errors import BackendUnavailableError
from serct.evaluation.observation import (
    NO_SPEECH,
    UNCERTAIN,
    Observation,
    Signal,
    count,
    measure_signal,
)
from serct.models.calibration import Calibration
from serct.models.reference import Reference
from serct.runtime import log
from serct.runtime.arrays import Features, Probabilities
from serct.runtime.cache import FeatureCache

# Enough for a distribution, and a few seconds of work.
MAX_RECORDINGS = 1000
# Raised whenever what is measured of a recording changes: the cache then begins anew.
_MEASURE = 1


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
    # Spread over the part, whose rows are often in the order of their speakers.
    dataset, of = validation_set, len(validation_set)
    chosen = np.linspace(0, of - 1, min(of, MAX_RECORDINGS)).round().astype(np.int64)
    try:
        rows = _measure_speech(dataset, chosen.tolist())
    except BackendUnavailableError as error:
        log.logger.warning("%s; without it the model has no reference, and no drift", error)
        return None
    calibrated, emotions = calibration.apply(probabilities[chosen]), dataset.emotions

    def observe(number: int) -> Observation:
        duration_s = float(dataset.lengths[chosen[number]]) / dataset.meta.sample_rate_hz
        is_spoken, speech_s, *levels = rows[number].tolist()
        signal = Signal(*(None if np.isnan(each) else each for each in levels))
        if not is_spoken:
            return Observation(NO_SPEECH, None, duration_s, speech_s, signal)
        confidence = float(calibrated[number].max())
        is_certain = confidence >= calibration.uncertain_below
        emotion = emotions[int(calibrated[number].argmax())] if is_certain else UNCERTAIN
        return Observation(emotion, confidence, duration_s, speech_s, signal)

    found = [observe(number) for number in range(len(chosen))]
    return Reference(recordings=len(found), of=of, counts=count(found, emotions))


def _measure_speech(dataset: ShardDataset, chosen: Sequence[int]) -> Features:
    """Measure speech and signal of recordings, but for those in the user's cache.

    All models that are trained on a corpus have the same validation part, and voice activity
    imports torch, which costs a classical model more than the work itself.

    Returns:
        Whether it has enough speech for a prediction, seconds of it, level and signal-to-noise
        ratio, NaN where there is none. float64 [n, 4]
    """
    rate, timing = dataset.meta.sample_rate_hz, Timing.of_rows(dataset.meta.num_samples)
    form = f"{_MEASURE}-{rate}-{timing.window}-{_vad_version()}"
    cache = FeatureCache(f"{dataset.meta.corpus}-speech-{form}")
    known = cache.read()
    digests = [hashlib.sha256(dataset.recording(index).data).digest() for index in chosen]
    missing = {
        each: index for each, index in zip(digests, chosen, strict=True) if each not in known
    }
    added: dict[bytes, Features] = {}
    if missing:
        from serct.data.voice_activity import find_speech

        with log.progress(len(missing), "noting the reference of drift") as advance:
            for digest, index in missing.items():
                pcm = dataset.recording(index)
                frames = find_speech([pcm], rate)
                plan, signal = (
                    Plan(len(pcm), rate, timing, frames),
                    measure_signal(pcm, frames, rate),
                )
                levels = (signal.level_dbfs, signal.snr_db)
                added[digest] = np.array(
                    [bool(plan.windows), plan.speech_s]
                    + [np.nan if each is None else each for each in levels]
                )
                advance()
        cache.add(list(added), np.stack(list(added.values())))
    return np.stack([known[each] if each in known else added[each] for each in digests])


def _vad_version() -> str:
    try:
        return version("silero-vad")
    except PackageNotFoundError:
        return "none"
