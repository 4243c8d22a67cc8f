"""Made-up results on disk, in the shape in which the stages write them."""

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serct.config.params import PipelineParams
from serct.evaluation.records import RobustnessMetrics
from serct.runtime.digests import file_digest

_KBIT = {"kbit/s": 11.6}
EMOTIONS = ("angry", "disgusted", "fearful", "happy", "neutral", "sad", "surprised")


def make_pipeline(
    models: Sequence[str] = ("serct", "svm"),
    train: Sequence[str] = ("tess",),
    zero_shot: Sequence[str] = ("emodb",),
) -> PipelineParams:
    return PipelineParams(
        corpora=tuple(dict.fromkeys([*train, *zero_shot])),
        train_corpora=tuple(train),
        zero_shot_corpora=tuple(zero_shot),
        models=tuple(models),
    )


def write_results(data: Path, pipeline: PipelineParams) -> None:
    """Write the results of a whole pipeline; names that start with demo are synthetic."""
    for corpus in pipeline.train_corpora:
        for model in pipeline.models:
            write_model(data, corpus, model)
            write_test(data, corpus, model)
            targets = [name for name in pipeline.zero_shot_corpora if name != corpus]
            if targets:
                write_zero_shot(data, corpus, model, targets)


def write_model(data: Path, corpus: str, model: str, **changes: Any) -> None:
    folder = data / "models" / f"{corpus}-{model}"
    folder.mkdir(parents=True, exist_ok=True)
    chance = _chance(corpus, model)
    num_epochs = 1 if model in ("mlp", "svm") else 12
    write_json(folder / "card.json", {**make_card(corpus, model), **changes})
    run = {
        "run_id": digest(corpus, model, "run")[:32],
        "tracking_uri": "sqlite:///mlflow.db",
        "experiment": "serct",
        "fingerprint": digest(corpus, model),
        "started_at": "2031-02-03T04:05:06+00:00",
        "seconds": round(float(chance.uniform(5, 900)), 3),
        "device": "cpu",
        "machine": {"cpu": "Fast & Cheap <CPU>", "num_cores": 2, "gpu": None},
        "git_commit": None,
        "dvc_stage": f"train@{model}-{corpus}",
    }
    write_json(folder / "run.json", run)
    history = [
        {
            "epoch": epoch,
            "learning_rate": 0.001,
            "train_loss": "" if num_epochs == 1 else round(2 / epoch, 4),
            "train_wa": round(1 - 0.8 / epoch, 4),
            "validation_loss": round(2 / epoch + float(chance.uniform(0, 0.3)), 4),
            "validation_wa": round(1 - 0.9 / epoch, 4),
            "validation_ua": round(1 - 0.9 / epoch, 4),
            "validation_wf1": round(1 - 0.95 / epoch, 4),
            "seconds": 1.5,
        }
        for epoch in range(1, num_epochs + 1)
    ]
    write_csv(folder / "history.csv", history)


def make_card(corpus: str, model: str) -> dict[str, Any]:
    num_epochs = 1 if model in ("mlp", "svm") else 12
    return {
        "format_version": 3,
        "name": model,
        "architecture": {"architecture": model, "mask_padding": False, "train": {}},
        "corpus": corpus,
        "language": "en",
        "synthetic": corpus.startswith("demo"),
        "protocol": "random",
        "audio": {"sample_rate": 16000, "num_samples": 144000, "resampler": "soxr"},
        "sample_rate_hz": 16000,
        "emotions": list(EMOTIONS),
        "majority_emotion": "neutral",
        "seed": 3,
        "training": {"epochs": num_epochs, "learning_rate": 0.001},
        "num_parameters": int(_chance(corpus, model).integers(1000, 30_000_000)),
        "best_epoch": num_epochs,
        "validation": {"loss": 0.4321, "wa": 0.9, "ua": 0.8765, "wf1": 0.89},
        "calibration": {"temperature": 1.0, "uncertain_below": 0.0},
        "digests": {"manifest": digest(corpus), "shards": digest(corpus, "shards")},
        "versions": {"serct": "0.1.0", "torch": "2.13.0"},
        "fingerprint": digest(corpus, model),
    }


def write_test(data: Path, corpus: str, model: str, **changes: Any) -> None:
    folder = data / "reports" / "evaluate" / f"{corpus}-{model}"
    folder.mkdir(parents=True, exist_ok=True)
    counts = make_counts(corpus, model, len(EMOTIONS))
    metrics = {
        "model": model,
        "corpus": corpus,
        "split": "test",
        "synthetic": corpus.startswith("demo"),
        "protocol": "random",
        "n": int(counts.sum()),
        **_scores(counts),
        "majority": {"wa": 0.1429, "ua": 0.1428, "wf1": 0.0357},
        "ua_interval": {"low": 0.2, "high": 0.9, "over": "utterances"},
        "probes": {"duration": 0.3137, "recording": 0.4242},
        "calibration": {
            "ece": 0.0123,
            "ece_before": 0.0987,
            "risk_at_coverage": {"50%": 0.01, "70%": 0.02, "80%": 0.03, "90%": 0.05, "100%": 0.11},
        },
        "groups": {
            "speaker": {
                "groups": {
                    "OAF": {"n": 140, "wa": 0.91, "ua": 0.92},
                    "YAF": {"n": 140, "wa": 0.7531, "ua": 0.75},
                },
                "worst": "YAF",
            },
            "language": {"groups": {"en": {"n": 280, "wa": 0.8, "ua": 0.8}}, "worst": "en"},
        },
        "fingerprint": digest(corpus, model),
        "manifest_digest": digest(corpus),
    }
    write_json(folder / "metrics.json", {**metrics, **changes})
    write_json(folder / "confusion.json", {"labels": EMOTIONS, "counts": counts.tolist()})
    rows = [
        {"utterance": f"{a}/{p}/{i}", "speaker": "x", "emotion": a, "predicted": p, "p_angry": 1}
        for k, a in enumerate(EMOTIONS)
        for j, p in enumerate(EMOTIONS)
        for i in range(counts[k, j])
    ]
    write_csv(folder / "predictions.csv", rows)


def write_robustness(data: Path, corpus: str, model: str, **changes: Any) -> None:
    """Write UA under two conditions beside the test part's metrics, which then list the file."""
    folder = data / "reports" / "evaluate" / f"{corpus}-{model}"
    clean = round(float(_chance(corpus, model, "clean").uniform(0.6, 0.9)), 4)
    interval = {"low": clean - 0.08, "high": clean + 0.07, "over": "utterances"}
    counts = {"angry": [3, 4], "sad": [4, 4]}
    lost = {"telephone": (-0.2, -0.3, -0.1, {}), "Opus, 12 kbit/s": (-0.01, -0.04, 0.02, _KBIT)}
    content = {
        "model": model,
        "corpus": corpus,
        "fingerprint": digest(corpus, model),
        "n": 140,
        "of": 280,
        "ua": clean,
        "ua_interval": interval,
        "counts": counts,
        "conditions": [
            {
                "label": label,
                "entry": {"condition": "telephone"},
                "ua": clean + change,
                "ua_interval": interval,
                "change": change,
                "change_interval": [low, high],
                "changed": 0.25,
                "measured": measured,
                "counts": counts,
            }
            for label, (change, low, high, measured) in lost.items()
        ],
    }
    record = RobustnessMetrics.model_validate_json(json.dumps({**content, **changes}))
    write_json(folder / "robustness.json", record.as_json())
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    metrics["files"] = {"robustness.json": file_digest(folder / "robustness.json")}
    write_json(folder / "metrics.json", metrics)


def write_zero_shot(data: Path, corpus: str, model: str, targets: Sequence[str]) -> None:
    folder = data / "reports" / "zero_shot" / f"{corpus}-{model}"
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    for target in targets:
        shared = EMOTIONS[:6]
        counts = make_counts(corpus, model + target, len(shared))
        masked, unmasked = _scores(counts), _scores(make_counts(target, model, len(shared)))
        found[target] = {
            "synthetic": target.startswith("demo"),
            "n": int(counts.sum()),
            "dropped": {"bored": 81},
            "shared": shared,
            "majority": {"wa": 0.2797, "ua": 0.1667, "wf1": 0.1223},
            "masked": masked,
            "ua_interval": {"low": 0.11, "high": 0.77, "over": "speakers"},
            "unmasked": unmasked,
        }
        write_json(
            folder / f"confusion-{target}.json", {"labels": shared, "counts": counts.tolist()}
        )
    fingerprint = digest(corpus, model)
    content = {"model": model, "corpus": corpus, "fingerprint": fingerprint, "targets": found}
    write_json(folder / "metrics.json", content)


def make_counts(corpus: str, model: str, num_emotions: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Forty utterances of each emotion, more or less well recognised."""
    chance = _chance(corpus, model, "counts")
    misses = chance.integers(0, 6, (num_emotions, num_emotions))
    np.fill_diagonal(misses, 0)
    return np.asarray(misses + np.diag(40 - misses.sum(axis=1)), dtype=np.int64)


def _scores(counts: np.ndarray[Any, np.dtype[np.int64]]) -> dict[str, Any]:
    recall = np.diag(counts) / counts.sum(axis=1)
    return {
        "wa": float(np.trace(counts) / counts.sum()),
        "ua": float(recall.mean()),
        "wf1": float(recall.mean()) * 0.98,
        "loss": 0.7654,
        "recall": dict(zip(EMOTIONS, recall.tolist(), strict=False)),
    }


def digest(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()


def _chance(*parts: str) -> np.random.Generator:
    return np.random.default_rng(int(digest(*parts)[:8], 16))


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
