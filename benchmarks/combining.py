"""How the predictions for a recording's windows are combined best, on validation data alone.

For each model of a workspace, UA and loss of the validation part under each rule:

- of clips that are longer than a row of the model;
- of longer recordings: three clips of one speaker and emotion, with half a second of a pause
  between them.

Run: python benchmarks/combining.py WORKSPACE CORPUS --shards DIR --json FILE
"""

import argparse
import json
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from scipy.special import softmax

from serct.data.dataset import ShardDataset
from serct.data.voice_activity import find_speech
from serct.data.windows import Plan, Timing
from serct.evaluation.classifiers import as_classifier
from serct.inference.predictor import Predictor
from serct.models import restore_model_params
from serct.models.classical.estimator import LabelledRows
from serct.models.interface import ClassicalParams
from serct.runtime import atomic
from serct.runtime.machine import machine

STRING, PAUSE_S = 3, 0.5
HOPS = (1 / 3, 1 / 2)


def without_validation(predictor: Predictor, shards: Path) -> Predictor:
    """Return a model that never saw the validation part, which classical ones learn from at last.

    They are fitted anew, to the training part alone.
    """
    card = predictor.card
    params = restore_model_params(card.architecture, "card.json")
    if not isinstance(params, ClassicalParams):
        return predictor
    train = ShardDataset(shards, ["train"], card.emotions)
    model = params.build(card.train_params, card.seed, card.sample_rate_hz)
    batch = train.batch(np.arange(len(train)), train.meta.num_samples)
    features = model.extract_features(batch.waveforms)
    model.fit(LabelledRows(features, train.labels, train.speakers))
    return Predictor(as_classifier(model, torch.device("cpu")), card)


def recordings(dataset: ShardDataset) -> dict[str, list[tuple[np.ndarray, int]]]:
    """Return the kinds of recordings, each with its label."""
    rate, row = dataset.meta.sample_rate_hz, dataset.meta.num_samples
    whole = [(dataset.recording(i), int(dataset.labels[i])) for i in range(len(dataset))]
    groups: dict[tuple[str, int], list[np.ndarray]] = defaultdict(list)
    for (pcm, label), speaker in zip(whole, dataset.speakers, strict=True):
        groups[speaker, label].append(pcm)
    pause = np.zeros(round(PAUSE_S * rate), np.int16)
    strings = [
        (np.concatenate([part for clip in clips[first : first + STRING] for part in (clip, pause)]),
         label)
        for (_, label), clips in sorted(groups.items())
        for first in range(0, len(clips) - STRING + 1, STRING)
    ]  # fmt: skip
    return {"clips longer than a row": [r for r in whole if len(r[0]) > row], "strings": strings}


def rules(plan: Plan, found: np.ndarray) -> dict[str, np.ndarray]:
    """Return the prediction for a recording under each rule."""
    logs = np.log(np.maximum(found, 1e-12))
    speech = np.array([window_speech(plan, *window) for window in plan.windows])
    weights = {"windows alike": np.ones(len(found)), "by speech": np.maximum(speech, 1e-3)}
    combined = {"the first window": found[0], "timeline, log": plan.combine(found)[0]}
    for name, weight in weights.items():
        share = weight / weight.sum()
        combined[f"probabilities, {name}"] = share @ found
        combined[f"log-probabilities, {name}"] = softmax(share @ logs)
        best = np.bincount(found.argmax(axis=1), share, found.shape[1])
        combined[f"votes, {name}"] = np.maximum(best, 1e-3) / np.maximum(best, 1e-3).sum()
    return combined


def window_speech(plan: Plan, start: int, end: int) -> float:
    """Return the speech in a window, in seconds."""
    window = replace(plan, timing=Timing(plan.timing.window, max(1, end - start)))
    edges = window.step_edges * plan.sample_rate
    return float(window.step_speech_s[np.argmin(np.abs(edges[:-1] - start))])


def measure(predictor: Predictor, dataset: ShardDataset) -> dict[str, object]:
    """Return UA and mean loss by kind of recordings, hop and rule."""
    rate, row = dataset.meta.sample_rate_hz, dataset.meta.num_samples
    results: dict[str, object] = {}
    for kind, cases in recordings(dataset).items():
        for hop in HOPS:
            by_rule: dict[str, list[np.ndarray]] = defaultdict(list)
            labels = []
            for pcm, label in cases:
                plan = Plan(len(pcm), rate, Timing(row, round(hop * row)), find_speech([pcm], rate))
                if not plan.windows:
                    continue
                clips = [pcm[start:end] for start, end in plan.windows]
                labels.append(label)
                for rule, combined in rules(plan, predictor.predict_prepared(clips)).items():
                    by_rule[rule].append(combined)
            actual = np.array(labels)
            results[f"{kind}, hop {hop:.2f}"] = {"n": len(actual)} | {
                rule: scores(np.array(rows), actual) for rule, rows in by_rule.items()
            }
    return results


def scores(found: np.ndarray, actual: np.ndarray) -> dict[str, float]:
    """Return UA and the mean negative log-likelihood, in nats."""
    right = found.argmax(axis=1) == actual
    ua = float(np.mean([right[actual == label].mean() for label in np.unique(actual)]))
    likelihood = np.maximum(found[np.arange(len(actual)), actual], 1e-12)
    return {"ua": round(ua, 4), "loss": round(float(-np.log(likelihood).mean()), 4)}


def main() -> None:
    """Measure, and write everything as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("corpus")
    parser.add_argument("--shards", type=Path, help="if they are not the workspace's own")
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    data = arguments.workspace / "data"
    shards = arguments.shards or data / "shards" / arguments.corpus
    models = {}
    for folder in sorted((data / "models").glob(f"{arguments.corpus}-*")):
        predictor = without_validation(Predictor.load(folder), shards)
        dataset = ShardDataset(shards, ["validation"], predictor.card.emotions)
        models[predictor.card.name] = measure(predictor, dataset)
        print(predictor.card.name, json.dumps(models[predictor.card.name]), flush=True)
    content = {
        "corpus": arguments.corpus, "split": "validation", "string": STRING, "pause_s": PAUSE_S,
        "machine": machine().cpu, "date": datetime.now(UTC).date().isoformat(), "models": models,
    }  # fmt: skip
    atomic.write_json(arguments.json, content)


if __name__ == "__main__":
    main()
