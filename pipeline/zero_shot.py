"""Score a trained model on corpora it has never seen, over the emotions both know."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.stage import Arguments, run
from serct.config.params import Params
from serct.data.shards import read_meta
from serct.evaluation.evaluate import (
    Classifier,
    as_classifier,
    evaluate_zero_shot,
    write_confusion,
    write_predictions,
)
from serct.evaluation.subgroups import interval_of_ua
from serct.models.checkpoint import Card, load_model
from serct.runtime import atomic
from serct.runtime.atomic import write_json
from serct.runtime.machine import pick_device, progress
from serct.tracking.run_logger import add_to_run


def zero_shot(params: Params, arguments: Arguments) -> None:
    """Write scores and predictions on every other corpus to ``--out``."""
    model, card = load_model(arguments.model)
    classifier = as_classifier(model, pick_device(params.train.device))
    targets = [name for name in json.loads(arguments.sets.read_text()) if name != card.corpus]
    with atomic.replacing_folder(arguments.out) as folder:
        results = {
            name: _score(classifier, card, arguments.shards / name, name, params, folder)
            for name in targets
        }
        metrics = {
            "model": card.name,
            "corpus": card.corpus,
            "fingerprint": card.fingerprint,
            "targets": results,
        }
        write_json(folder / "metrics.json", metrics)
    add_to_run(params.tracking, arguments.model, arguments.out)


def _score(
    classifier: Classifier, card: Card, shards: Path, name: str, params: Params, folder: Path
) -> dict[str, Any]:
    meta = read_meta(shards)
    total = sum(sum(counts.values()) for counts in meta.counts.values())
    with progress(total, f"{card.name} on {name}", "clips") as advance:
        result = evaluate_zero_shot(
            classifier,
            card.emotions,
            shards,
            tuple(meta.counts),
            params.evaluate.batch_size,
            advance,
        )
    write_confusion(folder / f"confusion-{name}.json", result.masked)
    write_predictions(
        folder / f"predictions-{name}.csv", result.dataset, card.emotions, result.probabilities
    )
    return {
        "synthetic": meta.synthetic,
        "n": len(result.dataset),
        "dropped": result.dataset.dropped,
        "shared": result.shared,
        "majority": {key: getattr(result.majority, key) for key in ("wa", "ua", "wf1")},
        "masked": result.masked.summary(),
        "ua_interval": asdict(interval_of_ua(result.dataset, result.is_right)),
        "unmasked": result.unmasked.summary(),
        "manifest_digest": meta.manifest_digest,
    }


if __name__ == "__main__":
    run(
        __doc__,
        zero_shot,
        paths={
            "model": "folder of the trained model",
            "shards": "folder of all corpora's shards",
            "sets": "list of the zero-shot corpora",
            "out": "folder of results to make",
        },
    )
