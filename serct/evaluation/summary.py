"""Turn predictions into the records that evaluation writes."""

from collections.abc import Mapping

from serct.data.shards import ShardDataset
from serct.evaluation.evaluate import Evaluation, ZeroShot
from serct.evaluation.metrics import majority
from serct.evaluation.records import (
    Baseline,
    CalibrationScores,
    EvaluationMetrics,
    ScoreSet,
    Target,
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
        ua_interval=interval_of_ua(dataset, is_right),
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
        ua_interval=interval_of_ua(found.dataset, found.is_right),
        unmasked=ScoreSet(**found.unmasked.summary()),
        manifest_digest=meta.manifest_digest,
    )
