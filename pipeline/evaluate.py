"""Score a trained model on the test part of its corpus."""

from pathlib import Path

from pipeline.stage import run
from serct.config.params import Params
from serct.data.dataset import ShardDataset
from serct.evaluation.classifiers import as_classifier
from serct.evaluation.conditions import read_conditions
from serct.evaluation.evaluate import check_rows, evaluate, write_predictions
from serct.evaluation.probes import probe_corpus
from serct.evaluation.records import ROBUSTNESS_FILE, write_confusion, write_metrics
from serct.evaluation.robustness import measure_robustness, num_predictions
from serct.evaluation.summary import summarise_test
from serct.models.checkpoint import load_model
from serct.runtime import atomic
from serct.runtime.log import progress


def evaluate_model(params: Params, model: Path, shards: Path, out: Path) -> None:
    """Write scores, confusion, predictions and scores under conditions to ``--out``."""
    conditions = read_conditions(params.robustness.conditions)
    most = params.robustness.max_utterances
    trained, card = load_model(model)
    check_rows(card, shards, is_own=True)
    dataset = ShardDataset(shards, ["test"], card.emotions)
    classifier = as_classifier(trained, params.train.device)
    with progress(len(dataset), f"testing {card.name}", "clips") as advance:
        found = evaluate(classifier, dataset, params.evaluate.batch_size, advance)
    train = ShardDataset(shards, ["train"], card.emotions)
    probes = probe_corpus(train, dataset)
    total = num_predictions(dataset, conditions, most)
    with progress(total, f"{card.name} under conditions", "clips") as advance:
        robustness = measure_robustness(
            card, classifier, dataset, train, conditions, most, params.evaluate.batch_size, advance
        )
    metrics = summarise_test(card, dataset, found, probes)
    with atomic.replacing_folder(out) as folder:
        write_confusion(folder / "confusion.json", found.scores)
        write_predictions(folder / "predictions.csv", dataset, card.emotions, found.probabilities)
        atomic.write_json(folder / ROBUSTNESS_FILE, robustness.as_json())
        write_metrics(folder, metrics)


if __name__ == "__main__":
    run(__doc__, evaluate_model)
