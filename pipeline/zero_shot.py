"""Score a trained model on corpora it has never seen, over the emotions both have."""

import json

from pipeline.stage import Arguments, run
from serct.config.params import Params
from serct.data.shards import read_meta
from serct.evaluation.evaluate import (
    as_classifier,
    evaluate_zero_shot,
    write_confusion,
    write_predictions,
)
from serct.evaluation.records import ZeroShotMetrics
from serct.evaluation.summary import summarise_zero_shot
from serct.models.checkpoint import load_model
from serct.runtime import atomic
from serct.runtime.devices import pick_device
from serct.runtime.log import progress
from serct.tracking.run_logger import add_to_run


def zero_shot(params: Params, arguments: Arguments) -> None:
    """Write scores and predictions on every other corpus to ``--out``."""
    model, card = load_model(arguments.model)
    classifier = as_classifier(model, pick_device(params.train.device))
    batch_size, emotions = params.evaluate.batch_size, card.emotions
    names = [name for name in json.loads(arguments.sets.read_text()) if name != card.corpus]
    targets = {}
    with atomic.replacing_folder(arguments.out) as folder:
        for name in names:
            shards = arguments.shards / name
            counts = read_meta(shards).counts
            total = sum(sum(each.values()) for each in counts.values())
            with progress(total, f"{card.name} on {name}", "clips") as advance:
                found = evaluate_zero_shot(
                    classifier, emotions, shards, tuple(counts), batch_size, advance
                )
            targets[name] = summarise_zero_shot(found)
            write_confusion(folder / f"confusion-{name}.json", found.masked)
            path = folder / f"predictions-{name}.csv"
            write_predictions(path, found.dataset, emotions, found.probabilities)
        metrics = ZeroShotMetrics(
            model=card.name,
            corpus=card.corpus,
            fingerprint=card.fingerprint,
            targets=targets,
        )
        atomic.write_json(folder / "metrics.json", metrics.as_json())
    add_to_run(params.tracking, arguments.model, arguments.out)


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
