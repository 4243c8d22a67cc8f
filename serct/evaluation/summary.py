"""Turn predictions into the records that evaluation writes: scores, of all and by group.

Also how well confidence agrees with accuracy.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from serct.data.dataset import ShardDataset
from serct.evaluation.evaluate import Evaluation, ZeroShot
from serct.evaluation.metrics import majority, score
from serct.evaluation.records import (
    Baseline,
    CalibrationScores,
    EvaluationMetrics,
    Group,
    Groups,
    ScoreSet,
    Target,
)
from serct.evaluation.significance import Interval, ua_interval
from serct.models.records import Card
from serct.runtime.arrays import Integers, Probabilities

_BINS = 15
# Of clips, in seconds.
_LENGTHS_S = (1.5, 2.5, 4.0)
# In a smaller group, a score is chance.
_LEAST = 10


def summarise_test(
    card: Card, dataset: ShardDataset, found: Evaluation, probes: Mapping[str, float]
) -> EvaluationMetrics:
    """Return the metrics of a model on the test part of its corpus.

    Args:
        card: Of the model.
        dataset: The test part.
        found: The model's probabilities and scores on it.
        probes: UA from duration or level alone, see `serct.evaluation.probes`.
    """
    most_frequent = card.emotions.index(card.majority_emotion)
    baseline = majority(dataset.emotions, dataset.labels, most_frequent).metrics
    is_right = found.probabilities.argmax(axis=1) == dataset.labels
    calibrated = card.calibration.apply(found.probabilities)
    return EvaluationMetrics(
        model=card.name,
        corpus=card.corpus,
        split="test",
        synthetic=card.synthetic,
        protocol=card.protocol,
        **found.scores.summary(),
        ua_interval=_interval_of_ua(dataset, is_right),
        majority=Baseline.model_validate(baseline),
        probes=dict(probes),
        calibration=CalibrationScores(
            ece=expected_calibration_error(calibrated, dataset.labels),
            ece_before=expected_calibration_error(found.probabilities, dataset.labels),
            risk_at_coverage=risk_coverage(calibrated, dataset.labels),
        ),
        groups=by_group(dataset, found.probabilities),
        fingerprint=card.fingerprint,
        manifest_digest=dataset.meta.manifest_digest,
    )


def summarise_zero_shot(found: ZeroShot) -> Target:
    """Return the metrics of a model on a corpus that it was not trained on."""
    meta = found.dataset.meta
    return Target(
        synthetic=meta.synthetic,
        n=len(found.dataset),
        dropped=found.dataset.dropped,
        shared=found.shared,
        majority=Baseline.model_validate(found.majority.metrics),
        masked=ScoreSet(**found.masked.summary()),
        ua_interval=_interval_of_ua(found.dataset, found.is_right),
        unmasked=ScoreSet(**found.unmasked.summary()),
        manifest_digest=meta.manifest_digest,
    )


def expected_calibration_error(probabilities: Probabilities, labels: Integers) -> float:
    """Compute the mean distance between confidence and accuracy over 15 equal bins, 0..1.

    Source:
        Guo et al., On calibration of modern neural networks, 2017, equation 3.

    Example:
        >>> expected_calibration_error(np.array([[0.75, 0.25]] * 4), np.array([0, 0, 0, 1]))
        0.0
    """
    confidences, is_right = _confidence(probabilities, labels)
    bins = np.minimum((confidences * _BINS).astype(int), _BINS - 1)
    gaps = [
        abs(confidences[bins == number].sum() - is_right[bins == number].sum())
        for number in range(_BINS)
    ]
    return float(sum(gaps) / len(labels))


def risk_coverage(probabilities: Probabilities, labels: Integers) -> dict[str, float]:
    """Compute the share of wrong predictions among the most confident 50, 70, 80, 90 and 100 %.

    Source:
        El-Yaniv & Wiener, On the foundations of noise-free selective classification, 2010.
    """
    confidences, is_right = _confidence(probabilities, labels)
    ordered = is_right[np.argsort(-confidences, kind="stable")]
    risks = 1 - ordered.cumsum() / np.arange(1, len(ordered) + 1)
    return {
        f"{percent}%": float(risks[max(1, round(len(ordered) * percent / 100)) - 1])
        for percent in (50, 70, 80, 90, 100)
    }


def by_group(dataset: ShardDataset, probabilities: Probabilities) -> dict[str, Groups]:
    """Compute n, WA and UA by speaker, gender, language, corpus and length, and the worst of each.

    A group of fewer than ten utterances is never the worst.
    """
    rate = dataset.meta.sample_rate_hz
    kinds = {
        "speaker": [row.speaker for row in dataset.rows],
        "gender": [row.gender for row in dataset.rows],
        "language": [row.language for row in dataset.rows],
        "corpus": [row.corpus for row in dataset.rows],
        "length": [_length(length / rate) for length in dataset.lengths],
    }
    found: dict[str, Groups] = {}
    for kind, names in kinds.items():
        groups: dict[str, Group] = {}
        for name in sorted(set(names) - {""}):
            chosen = np.array([each == name for each in names])
            scores = score(dataset.emotions, dataset.labels[chosen], probabilities[chosen])
            groups[name] = Group.model_validate({"n": scores.n, "wa": scores.wa, "ua": scores.ua})
        large = [name for name, group in groups.items() if group.n >= _LEAST]
        worst = min(large, key=lambda name: groups[name].wa, default=None)
        found[kind] = Groups(groups=groups, worst=worst)
    return found


def _interval_of_ua(dataset: ShardDataset, is_right: npt.NDArray[np.bool_]) -> Interval:
    """Compute the 95 % interval of UA over a dataset's speakers or utterances. bool [n]."""
    emotions = np.array([row.label for row in dataset.rows])
    return ua_interval(emotions, is_right, np.array([row.speaker for row in dataset.rows]))


def _confidence(
    probabilities: Probabilities, labels: Integers
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == labels


def _length(seconds: float) -> str:
    for bound in _LENGTHS_S:
        if seconds < bound:
            return f"under {bound:g} s"
    return f"{_LENGTHS_S[-1]:g} s and more"
