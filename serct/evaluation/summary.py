"""From predictions to the records that evaluation writes."""

from collections.abc import Mapping
from dataclasses import asdict

from serct.data.shards import ShardDataset
from serct.evaluation.evaluate import Evaluation, ZeroShot
from serct.evaluation.metrics import Scores, majority
from serct.evaluation.records import (
    Baseline,
    CalibrationScores,
    EvaluationMetrics,
    Groups,
    ScoreSet,
    Target,
    UaInterval,
)
from serct.evaluation.subgroups import (
    by_group,
    expected_calibration_error,
    interval_of_ua,
    risk_coverage,
)
from serct.models.records import Card


def summarise_test(
    card: Card, dataset: ShardDataset, found: Evaluation, probes: Mapping[str, float]
) -> EvaluationMetrics:
    """Return the metrics of a model on the test part of its corpus.

    Args:
        card: Of the model.
        dataset: The test part.
        found: The model's probabilities and scores on it.
        probes: UA without listening, see `serct.evaluation.probes`.
    """
    most_frequent = card.emotions.index(card.majority_emotion)
    baseline = majority(dataset.emotions, dataset.labels, most_frequent)
    is_right = found.probabilities.argmax(axis=1) == dataset.labels
    calibrated = card.calibration.apply(found.probabilities)
    groups = by_group(dataset, found.probabilities)
    return EvaluationMetrics(
        model=card.name,
        corpus=card.corpus,
        split="test",
        synthetic=card.synthetic,
        protocol=card.protocol,
        **found.scores.summary(),
        ua_interval=UaInterval(**asdict(interval_of_ua(dataset, is_right))),
        majority=_baseline(baseline),
        probes=dict(probes),
        calibration=CalibrationScores(
            ece=expected_calibration_error(calibrated, dataset.labels),
            ece_before=expected_calibration_error(found.probabilities, dataset.labels),
            risk_at_coverage=risk_coverage(calibrated, dataset.labels),
        ),
        groups={kind: Groups.model_validate(each) for kind, each in groups.items()},
        fingerprint=card.fingerprint,
        manifest_digest=dataset.meta.manifest_digest,
    )


def summarise_zero_shot(found: ZeroShot) -> Target:
    """Return the metrics of a model on a corpus that it has never seen."""
    meta = found.dataset.meta
    return Target(
        synthetic=meta.synthetic,
        n=len(found.dataset),
        dropped=found.dataset.dropped,
        shared=found.shared,
        majority=_baseline(found.majority),
        masked=ScoreSet(**found.masked.summary()),
        ua_interval=UaInterval(**asdict(interval_of_ua(found.dataset, found.is_right))),
        unmasked=ScoreSet(**found.unmasked.summary()),
        manifest_digest=meta.manifest_digest,
    )


def _baseline(scores: Scores) -> Baseline:
    return Baseline.model_validate(scores.metrics)
