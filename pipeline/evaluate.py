"""Score a trained model on the test part of its corpus."""

from pipeline.stage import Arguments, run
from serct.config.params import Params
from serct.data.corpora import build_corpus, read_corpus_params
from serct.data.shards import ShardDataset
from serct.evaluation.evaluate import as_classifier, evaluate, write_confusion, write_predictions
from serct.evaluation.probes import probe_corpus
from serct.evaluation.summary import summarise_test
from serct.models.checkpoint import load_model
from serct.reports.model_card import model_card
from serct.runtime import atomic
from serct.runtime.devices import pick_device
from serct.runtime.log import progress
from serct.tracking.run_logger import add_to_run


def evaluate_model(params: Params, arguments: Arguments) -> None:
    """Write scores, confusion, predictions and the model card to ``--out``."""
    model, card = load_model(arguments.model)
    dataset = ShardDataset(arguments.shards, ["test"], card.emotions)
    classifier = as_classifier(model, pick_device(params.train.device))
    with progress(len(dataset), f"testing {card.name}", "clips") as advance:
        found = evaluate(classifier, dataset, params.evaluate.batch_size, advance)
    probes = probe_corpus(ShardDataset(arguments.shards, ["train"], card.emotions), dataset)
    metrics = summarise_test(card, dataset, found, probes)
    licence = build_corpus(card.corpus, read_corpus_params(params, card.corpus)).licence
    with atomic.replacing_folder(arguments.out) as folder:
        atomic.write_json(folder / "metrics.json", metrics.as_json())
        write_confusion(folder / "confusion.json", found.scores)
        write_predictions(folder / "predictions.csv", dataset, card.emotions, found.probabilities)
        text = model_card(card, metrics, licence=licence)
        atomic.write_text(folder / "model_card.md", text)
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
