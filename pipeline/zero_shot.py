"""Score a trained model on corpora that it was not trained on, over the emotions both have."""

from pathlib import Path

from pipeline.stage import run
from serct.config.params import Params
from serct.data.shards import ZeroShotTargets, read_meta
from serct.errors import ShardError
from serct.evaluation.classifiers import as_classifier
from serct.evaluation.evaluate import check_rows, evaluate_zero_shot, write_predictions
from serct.evaluation.records import ZeroShotMetrics, write_confusion, write_metrics
from serct.evaluation.summary import summarise_zero_shot
from serct.models.checkpoint import load_model
from serct.runtime import atomic
from serct.runtime.log import progress


def zero_shot(params: Params, model: Path, shards: Path, targets: Path, out: Path) -> None:
    """Write scores and predictions on every other corpus to ``--out``."""
    trained, card = load_model(model)
    classifier = as_classifier(trained, params.train.device)
    batch_size, emotions = params.evaluate.batch_size, card.emotions
    digests = ZeroShotTargets.read(targets, "the zero_shot_targets stage writes it").digests
    names = [name for name in digests if not card.has_seen(name)]
    found = {}
    with atomic.replacing_folder(out) as folder:
        for name in names:
            meta = read_meta(shards / name, name)
            if meta.digest != digests[name]:
                raise ShardError(
                    f"{shards / name}: digest {meta.digest}, expected {digests[name]} as "
                    f"{targets} says; run `dvc repro zero_shot_targets`"
                )
            check_rows(card, shards / name)
            counts = meta.counts
            total = sum(sum(each.values()) for each in counts.values())
            with progress(total, f"{card.name} on {name}", "clips") as advance:
                result = evaluate_zero_shot(
                    classifier, emotions, shards / name, tuple(counts), batch_size, advance
                )
            found[name] = summarise_zero_shot(result)
            write_confusion(folder / f"confusion-{name}.json", result.masked)
            path = folder / f"predictions-{name}.csv"
            write_predictions(path, result.dataset, emotions, result.probabilities)
        metrics = ZeroShotMetrics(
            model=card.name, corpus=card.corpus, fingerprint=card.fingerprint, targets=found
        )
        write_metrics(folder, metrics)


if __name__ == "__main__":
    run(__doc__, zero_shot)
