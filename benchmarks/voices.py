"""Measures the gain of speaker enrolment, by number of enrolled recordings.

python benchmarks/voices.py --study build/studies/emodb_speaker_classical --corpus emodb
python benchmarks/voices.py --study build/studies/tess_random_classical --corpus tess --on emodb

A model predicts each clip after enrolment with so many recordings of its speaker, drawn at random,
never the clip itself, and no label. Clips of all folds are put together before UA is computed.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from serct.data.dataset import ShardDataset
from serct.data.manifest import SPLITS
from serct.emotions import in_table_order
from serct.evaluation.classifiers import AdaptiveClassifier, as_classifier
from serct.evaluation.metrics import score_names
from serct.models.checkpoint import load_model
from serct.models.classical.speaker_normalization import rows_by_speaker
from serct.runtime.atomic import write_json
from serct.runtime.machine import git_commit, machine

COUNTS = (0, 1, 2, 5, 10, 20, 40, None)  # None: all there are


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, required=True, help="folder of a study that was run")
    parser.add_argument("--corpus", required=True, help="what the model was trained on")
    parser.add_argument("--on", help="what it is tested on, all of it; its own test part if absent")
    parser.add_argument("--emotion", help="enrol recordings of this one emotion alone")
    parser.add_argument("--model", default="functionals_lda_speaker")
    parser.add_argument("--seed", type=int, default=3, help="of the study, and of the draws")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    cells = sorted(arguments.study.glob(f"seed-{arguments.seed}-fold-*"))
    if not cells:
        parser.error(
            f"{arguments.study}: no cell of seed {arguments.seed}; run `serct study` first"
        )
    actual: list[str] = []
    predicted: dict[int | None, list[str]] = {count: [] for count in COUNTS}
    for cell in cells:
        for emotion, answers in answer_cell(cell, arguments):
            actual.append(emotion)
            for count in COUNTS:
                predicted[count].append(answers[count])
    found = {
        "study": arguments.study.name,
        "model": arguments.model,
        "trained_on": arguments.corpus,
        "tested_on": arguments.on or arguments.corpus,
        "enrolled": arguments.emotion or "any emotion",
        "seed": arguments.seed,
        "n": len(actual),
        "ua_by_recordings": {
            "all others" if count is None else str(count): score_names(actual, names).ua
            for count, names in predicted.items()
        },
        "git_commit": git_commit(),
        "machine": machine().__dict__,
    }
    print(json.dumps(found, indent=2))
    if arguments.out:
        write_json(arguments.out, found)


def answer_cell(
    cell: Path, arguments: argparse.Namespace
) -> Iterator[tuple[str, dict[int | None, str]]]:
    """Yield each clip's emotion and the prediction by number of enrolled recordings."""
    model, card = load_model(cell / "data" / "models" / f"{arguments.corpus}-{arguments.model}")
    classifier = as_classifier(model, torch.device("cpu"))
    if not isinstance(classifier, AdaptiveClassifier):
        raise SystemExit(f"{arguments.model} has no speaker enrolment")
    shards = cell / "data" / "shards" / (arguments.on or arguments.corpus)
    dataset = ShardDataset(shards, SPLITS if arguments.on else ["test"], card.emotions)
    batch = dataset.batch(np.arange(len(dataset)))
    features = classifier.model.extract_features(batch.waveforms)
    # On another corpus only its own emotions may be predicted.
    asked = in_table_order({row.label for row in dataset.rows})
    columns = [card.emotions.index(emotion) for emotion in asked]
    rng = np.random.default_rng(arguments.seed)
    for rows in rows_by_speaker(dataset.speakers).values():
        for place, row in enumerate(rows):
            others = rng.permutation(np.delete(rows, place))
            if arguments.emotion:
                others = [
                    other for other in others if dataset.rows[other].label == arguments.emotion
                ]
            answers = {}
            for count in COUNTS:
                enrolled = classifier.model.enrol(features[others[:count]])
                answer = classifier.model.predict(features[[row]], enrolled)
                answers[count] = asked[int(answer[0, columns].argmax())]
            yield dataset.rows[row].label, answers


if __name__ == "__main__":
    main()
