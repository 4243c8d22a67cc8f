"""Probes for shortcuts in a corpus and in a model: UA from duration or level alone.

Only what a model adds to them counts: a score that duration or the studio's noise floor alone
reaches shows nothing about speech.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from serct.data.dataset import ShardDataset, stack_clips
from serct.data.preparing import resample, to_pcm16
from serct.evaluation.classifiers import Classifier
from serct.evaluation.metrics import score
from serct.runtime.arrays import PCM_SCALE, Floats, Probabilities

Array = npt.NDArray[np.float64]

_FRAME_S = 0.02
_QUIET_DB = -40.0
_FAINTEST = 1e-6
_BATCH = 16


def duration(waveform: Floats, rate_hz: int) -> Array:
    """Return the duration in seconds. [N] -> [1]."""
    return np.array([len(waveform) / rate_hz])


def recording(waveform: Floats, rate_hz: int) -> Array:
    """Compute RMS, peak, noise floor, DC and the lengths of both quiet edges. [N] -> [6].

    In dB of full scale and in seconds; the noise floor is the level below which 2 % of the frames
    of 20 ms lie.
    """
    frame = max(1, round(_FRAME_S * rate_hz))
    padded = np.pad(waveform, (0, -len(waveform) % frame)).reshape(-1, frame)
    levels = _db(np.sqrt((padded**2).mean(axis=1)))
    peak = np.abs(waveform).max()
    loud = np.flatnonzero(levels > _db(peak) + _QUIET_DB)
    edges = (loud[0], len(levels) - 1 - loud[-1]) if len(loud) else (len(levels), 0)
    return np.array(
        [
            _db(np.sqrt((waveform**2).mean())),
            _db(peak),
            np.quantile(levels, 0.02),
            waveform.mean(),
            edges[0] * _FRAME_S,
            edges[1] * _FRAME_S,
        ]
    )


PROBES: Mapping[str, Callable[[Floats, int], Array]] = {
    "duration": duration,
    "recording": recording,
}


def probe_corpus(train: ShardDataset, test: ShardDataset) -> dict[str, float]:
    """Compute the UA that each of `PROBES` reaches by itself, 0..1.

    Args:
        train: What a random forest is trained on.
        test: What it predicts; with the same emotions.
    """
    from sklearn.ensemble import RandomForestClassifier

    found = {}
    for name, feature in PROBES.items():
        forest = RandomForestClassifier(
            200, min_samples_leaf=3, class_weight="balanced", random_state=0
        ).fit(_features(train, feature), train.labels)
        predicted = np.zeros((len(test), len(test.emotions)))
        predicted[:, forest.classes_] = forest.predict_proba(_features(test, feature))
        found[name] = score(test.emotions, test.labels, predicted).ua
    return found


def probe_model(
    classify: Classifier, test: ShardDataset, changes: Iterable[str] | None = None
) -> dict[str, dict[str, float]]:
    """Compute UA, and the share of changed predictions, under changes that should not matter.

    Args:
        classify: The model, over the emotions of ``test``.
        test: Rows with their labels.
        changes: Names in `CHANGES`; all if None.

    Returns:
        By change, and for "none": ``ua`` and ``changed``, both 0..1.
    """
    found = {"none": _predict(classify, test, lambda waveform, rate_hz: waveform)}
    for name in CHANGES if changes is None else changes:
        found[name] = _predict(classify, test, CHANGES[name])
    before = found["none"].argmax(axis=1)
    return {
        name: {
            "ua": score(test.emotions, test.labels, after).ua,
            "changed": float((after.argmax(axis=1) != before).mean()),
        }
        for name, after in found.items()
    }


def _through_8_khz(waveform: Floats, rate_hz: int) -> Floats:
    narrow = resample(waveform, rate_hz, 8000, "soxr")
    return resample(narrow, 8000, rate_hz, "soxr")[: len(waveform)]


CHANGES: Mapping[str, Callable[[Floats, int], Floats]] = {
    "12 dB softer": lambda waveform, rate_hz: waveform * np.float32(0.25),
    "0.5 s of zeros behind": lambda waveform, rate_hz: np.pad(waveform, (0, rate_hz // 2)),
    "constant of 0.01 added": lambda waveform, rate_hz: waveform + np.float32(0.01),
    "through 8 kHz": _through_8_khz,
}


def _predict(
    classify: Classifier, test: ShardDataset, change: Callable[[Floats, int], Floats]
) -> Probabilities:
    rate = test.meta.sample_rate_hz
    parts = []
    for start in range(0, len(test), _BATCH):
        clips = [
            to_pcm16(change(_waveform(test, index), rate)[: test.meta.num_samples])
            for index in range(start, min(start + _BATCH, len(test)))
        ]
        parts.append(classify(*stack_clips(clips)))
    return np.concatenate(parts)


def _features(dataset: ShardDataset, feature: Callable[[Floats, int], Array]) -> Array:
    rate = dataset.meta.sample_rate_hz
    return np.stack([feature(_waveform(dataset, index), rate) for index in range(len(dataset))])


def _waveform(dataset: ShardDataset, index: int) -> Floats:
    return dataset.clip(index).astype(np.float32) / np.float32(PCM_SCALE)


def _db(amplitude: Any) -> Any:
    return 20 * np.log10(np.maximum(amplitude, _FAINTEST))
