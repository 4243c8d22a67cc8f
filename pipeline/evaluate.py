"""Score a trained model on the test part of its corpus."""

import json
from dataclasses import asdict

from pipeline.stage import Arguments, run
from serct.config.params import Params
from serct.data.corpora import describe, read_corpus_params
from serct.data.shards import ShardDataset
from serct.evaluation.evaluate import as_classifier, evaluate, write_confusion, write_predictions
from serct.evaluation.metrics import majority
from serct.evaluation.probes import probe_corpus
from serct.evaluation.subgroups import (
    by_group,
    expected_calibration_error,
    interval_of_ua,
    risk_coverage,
)
from serct.models.checkpoint import load_model
from serct.reports.model_card import model_card
from serct.runtime import atomic
from serct.runtime.atomic import write_json
from serct.runtime.machine import pick_device, progress
from serct.tracking.run_logger import add_to_run


def evaluate_model(params: Params, arguments: Arguments) -> None:
    """Write scores, confusion, predictions and the model card to ``--out``."""
    model, card = load_model(arguments.model)
    dataset = ShardDataset(arguments.shards, ["test"], card.emotions)
    classifier = as_classifier(model, pick_device(params.train.device))
    with progress(len(dataset), f"testing {card.name}", "clips") as advance:
        result = evaluate(classifier, dataset, params.evaluate.batch_size, advance)
    most_frequent = card.emotions.index(card.majority_emotion)
    baseline = majority(dataset.emotions, dataset.labels, most_frequent)
    is_right = result.probabilities.argmax(axis=1) == dataset.labels
    calibrated = card.calibration.apply(result.probabilities)
    metrics = {
        "model": card.name,
        "corpus": card.corpus,
        "split": "test",
        "synthetic": card.synthetic,
        "protocol": card.protocol,
        **result.scores.summary(),
        "ua_interval": asdict(interval_of_ua(dataset, is_right)),
        "majority": {key: getattr(baseline, key) for key in ("wa", "ua", "wf1")},
        "probes": probe_corpus(ShardDataset(arguments.shards, ["train"], card.emotions), dataset),
        "calibration": {
            "ece": expected_calibration_error(calibrated, dataset.labels),
            "ece_before": expected_calibration_error(result.probabilities, dataset.labels),
            "risk_at_coverage": risk_coverage(calibrated, dataset.labels),
        },
        "groups": by_group(dataset, result.probabilities),
        "fingerprint": card.fingerprint,
        "manifest_digest": dataset.meta.manifest_digest,
    }
    with atomic.replacing_folder(arguments.out) as folder:
        write_json(folder / "metrics.json", metrics)
        write_confusion(folder / "confusion.json", result.scores)
        write_predictions(folder / "predictions.csv", dataset, card.emotions, result.probabilities)
        licence = describe(card.corpus, read_corpus_params(params, card.corpus)).licence
        text = model_card(json.loads(card.model_dump_json()), metrics, licence=licence)
        (folder / "model_card.md").write_text(text, "utf-8")
    add_to_run(params.tracking, arguments.model, arguments.out)


if __name__ == "__main__":
    run(
        __doc__,
        evaluate_model,
        paths={
            "model": "folder of the trained model",
            "shards": "the corpus it was trained on",
            "out": "folder of results to make",
        },
    )
