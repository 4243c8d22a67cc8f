"""What a run shows: tags, parameters, metrics, datasets and files, all from a model's files.

A live training and the rebuilding of a lost database both use these functions, so they show the
same.
"""

import json
import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import to_jsonable_python

from serct.evaluation.metrics import METRICS
from serct.reports.thesis import THESIS
from serct.runtime.machine import user_name
from serct.tracking.folders import ModelFolder, ResultsFolder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric

FINGERPRINT, WEIGHTS = "serct.fingerprint", "serct.weights"
_SCORES = (*METRICS, "loss")
_DIGEST_WIDTH = 36  # of MLflow's column, in characters


def now_ms() -> int:
    """Return the time in ms since 1970."""
    return int(time.time() * 1000)


def training_tags(card: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of a run whose training begins, from the model card."""
    model, corpus = str(card["name"]), str(card["corpus"])
    return {
        FINGERPRINT: str(card["fingerprint"]),
        "serct.model": model,
        "serct.corpus": corpus,
        "serct.protocol": str(card["protocol"]),
        "serct.synthetic": str(card["synthetic"]).lower(),
        **{f"serct.{name}_digest": str(digest) for name, digest in card["digests"].items()},
        **{f"serct.version.{name}": str(found) for name, found in card["versions"].items()},
        **_thesis_tags("thesis.test", corpus, model),
    }


def source_tags(facts: Mapping[str, Any], program: str = "train.py") -> dict[str, str | None]:
    """Return the tags for the code, the stage and the DVC experiment that a run comes from.

    Args:
        facts: By the keys of run.json, see `serct.tracking.process_tags.process_source`; those
            that it lacks are unknown.
        program: What MLflow shows as the source of a run outside DVC.
    """
    commit, stage = facts.get("git_commit"), facts.get("dvc_stage")
    return {
        "serct.git_commit": commit,
        "mlflow.source.git.commit": commit,
        "serct.dvc_stage": stage,
        "mlflow.source.name": stage or program,
        "mlflow.source.type": "LOCAL",
        "mlflow.user": user_name(),
        "DVC_EXP_NAME": facts.get("dvc_experiment"),
        "DVC_EXP_BASELINE_REV": facts.get("dvc_baseline"),
    }


def run_name(card: Mapping[str, Any], dvc_experiment: str | None) -> str:
    """Return the name of a training's run.

    >>> run_name({"name": "serct", "corpus": "tess", "protocol": "random"}, "tardy-tapir")
    'serct on tess (random), tardy-tapir'
    """
    name = f"{card['name']} on {card['corpus']} ({card['protocol']})"
    return f"{name}, {dvc_experiment}" if dvc_experiment else name


def _thesis_tags(prefix: str, test: str, model: str) -> dict[str, str]:
    """Return the thesis' scores of a model on a test corpus as tags, none if it has none."""
    published = THESIS.get((test, model))
    scores = asdict(published) if published else {}
    return {f"{prefix}.{name}": str(score) for name, score in scores.items()}


def training_params(card: Mapping[str, Any]) -> dict[str, str]:
    """Return all parameters of a training, those of nested sections by dotted names."""
    sections = {key: card[key] for key in ("seed", "corpus", "emotions", "training", "audio")}
    # A card that is not written yet may hold pydantic models.
    plain = to_jsonable_python({**sections, "model": card["architecture"]})
    # The model's overrides of `train` are within the training's own parameters already.
    plain["model"].pop("train", None)
    return dict(_flatten("", plain))


def _flatten(prefix: str, content: Any) -> Iterator[tuple[str, str]]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _flatten(f"{prefix}.{key}" if prefix else str(key), value)
    else:
        yield prefix, content if isinstance(content, str) else json.dumps(content)


def set_tags(client: "MlflowClient", run_id: str, tags: Mapping[str, str | None]) -> None:
    """Write those tags that have a value; the run's status and end stay as they are."""
    from mlflow.entities import RunTag

    known = [RunTag(key, value) for key, value in tags.items() if value is not None]
    client.log_batch(run_id, tags=known)


def log_epochs(
    client: "MlflowClient", run_id: str, rows: Iterable[tuple[Mapping[str, Any], int]]
) -> None:
    """Log the epochs that the run does not have yet: a resumed training may repeat one.

    Args:
        client: Of the store.
        run_id: The run.
        rows: Rows of a history, each with its time in ms since 1970.
    """
    from mlflow.entities import Metric

    metrics = [
        Metric(f"epoch/{column}", float(value), at_ms, int(row["epoch"]))
        for row, at_ms in rows
        for column, value in row.items()
        if column != "epoch" and value is not None and math.isfinite(value)
    ]
    logged = {
        key: {past.step for past in client.get_metric_history(run_id, key)}
        for key in {metric.key for metric in metrics}
    }
    client.log_batch(run_id, metrics=[m for m in metrics if m.step not in logged[m.key]])


def log_folder(client: "MlflowClient", run_id: str, folder: ModelFolder) -> None:
    """Log all that a trained model's folder holds besides its scores; may be repeated."""
    from mlflow.entities import Param

    from serct.reports.plots import curves_figure

    card = folder.card
    log_epochs(client, run_id, _timed(folder))
    metrics = _metrics({"training_seconds": float(folder.run["seconds"])})
    params = [Param(key, str(card[key])) for key in ("num_parameters", "best_epoch")]
    client.log_batch(run_id, metrics=metrics, params=params)
    client.log_inputs(run_id, _datasets(folder))
    for name in ("card.json", "history.csv", "run.json"):
        client.log_artifact(run_id, str(folder.path / name))
    client.log_text(run_id, folder.description, "card.md")
    title = f"{card['name']} on {card['corpus']}"
    figure = curves_figure({str(card["name"]): folder.history}, title)
    client.log_figure(run_id, figure, "curves.png")
    machine: Mapping[str, Any] = folder.run.get("machine") or {}
    tags = {f"serct.machine.{key}": str(value) for key, value in machine.items() if value}
    set_tags(client, run_id, {**tags, "serct.device": folder.run.get("device")})


def log_validation(
    client: "MlflowClient", run_id: str, folder: ModelFolder, model_id: str | None
) -> None:
    """Log the scores of the chosen epoch to a run and to the model that it logged."""
    card = folder.card
    scores = {f"validation_{name}": value for name, value in card["validation"].items()}
    data = (f"{card['corpus']}/validation", str(card["digests"]["manifest"]))
    client.log_batch(run_id, metrics=_metrics(scores, model_id, data))


def _timed(folder: ModelFolder) -> Iterator[tuple[Mapping[str, float], int]]:
    """Return a history's rows with the time at which each epoch ended, in ms since 1970."""
    at_s = folder.started_ms / 1000
    for row in folder.history:
        at_s += row.get("seconds", 0.0)
        yield row, min(int(at_s * 1000), folder.ended_ms)


def _metrics(
    scores: Mapping[str, Any], model_id: str | None = None, data: tuple[str, str] = ("", "")
) -> "list[Metric]":
    """Return the finite numbers among ``scores`` as metrics of step 0, which MLflow shows as bars.

    Args:
        scores: By name.
        model_id: The logged model that they are of too, so that MLflow can rank models by them.
        data: Name and digest of the data set that they were measured on.
    """
    from mlflow.entities import Metric

    name, digest = (data[0], data[1][:_DIGEST_WIDTH]) if all(data) else (None, None)
    return [
        Metric(key, float(value), now_ms(), 0, model_id, name, digest)
        for key, value in scores.items()
        if isinstance(value, int | float) and math.isfinite(value)
    ]


def _datasets(folder: ModelFolder) -> "list[DatasetInput]":
    """Return one dataset for each split, since MLflow identifies a dataset by name and digest."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    corpus, digest = str(folder.card["corpus"]), str(folder.card["digests"]["manifest"])
    source = json.dumps({"uri": str(Path("data/manifests") / f"{corpus}.csv")})
    counts = folder.split_counts()
    inputs = []
    for split in ("train", "validation", "test"):
        emotions = counts.get(split, Counter())
        profile = {"num_rows": emotions.total(), "emotions": dict(emotions)}
        dataset = Dataset(
            name=f"{corpus}/{split}",
            digest=digest[:_DIGEST_WIDTH],
            source_type="local",
            source=source,
            profile=json.dumps(profile) if emotions else None,
        )
        inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", split)]))
    return inputs


def log_results(
    client: "MlflowClient",
    run_id: str,
    folder: ModelFolder,
    results: ResultsFolder,
    model_id: str | None,
) -> None:
    """Log scores, confusion matrices and files of a model's results; may be repeated.

    Of each test only the metrics and the loss: whatever else was measured is in the files.
    """
    from serct.reports.plots import confusion_figure

    model, corpus = str(folder.card["name"]), folder.card["corpus"]
    kind, targets = results.kind, results.metrics.get("targets", {})
    if kind == "evaluation":
        tests = {"test": (f"{corpus}/test", results.metrics)}
    else:
        tests = {f"zero_shot_{name}": (name, each) for name, each in targets.items()}
    for prefix, (data, found) in tests.items():
        # Over the shared emotions where the model was not trained on the corpus.
        scores = found.get("masked", found)
        values = {f"{prefix}_{key}": scores.get(key) for key in _SCORES}
        digest = str(found.get("manifest_digest", ""))
        client.log_batch(run_id, metrics=_metrics(values, model_id, (data, digest)))
    client.log_artifacts(run_id, str(results.path), kind)
    for name, confusion in results.confusions():
        test = name.partition("-")[2] or f"{corpus}, test part"
        title = f"{model}, trained on {corpus}, on {test}"
        figure = confusion_figure(confusion["labels"], confusion["counts"], title)
        client.log_figure(run_id, figure, f"{kind}/{name}.png")
    for target in targets:
        set_tags(client, run_id, _thesis_tags(f"thesis.zero_shot.{target}", target, model))
    # The digest marks the results as complete, so it is set last.
    set_tags(client, run_id, {f"serct.{kind}": results.digest})
