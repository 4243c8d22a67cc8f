"""Completing a run from a model's folder: curves, data, files, registered version, end.

A live training and the rebuilding of a lost database both end here, so they show the same.
"""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serct.tracking import registry, runs
from serct.tracking.connection import Connection
from serct.tracking.folders import ModelFolder


def finish(connection: Connection, run_id: str, folder: ModelFolder, end_ms: int) -> None:
    """Log all that a model's folder tells, register the model, and end the run.

    Every step may be repeated, and the run is ended last: whatever breaks off can be done again.

    Args:
        connection: The store.
        run_id: The run of the training that made the folder.
        folder: The model.
        end_ms: When training ended, in ms since 1970; a run that is finished keeps its end.
    """
    run = connection.client.get_run(run_id)
    if run.data.tags.get(runs.WEIGHTS) != folder.weights_digest:
        _log_folder(connection, run_id, folder)
    registry.ensure_version(connection, run_id, folder)
    if run.info.status != "FINISHED":
        connection.client.set_terminated(run_id, "FINISHED", max(end_ms, run.info.start_time))


def ensure(connection: Connection, folder: ModelFolder) -> tuple[str, bool]:
    """Find the finished run of a model's folder, or build it.

    Returns:
        The run's id, and whether it had to be built or completed.
    """
    with connection.lock:  # evaluate and zero_shot of one model may come at once
        done = finished(connection, folder)
        if done:
            return done[0], False
        runs.reap(connection)
        run_id = runs.resumable(connection, folder.fingerprint)
        if run_id is None:
            run_id = runs.create(connection, folder.card, folder.started_ms)
            source = runs.source_tags(folder.run.get("git_commit"), folder.run.get("dvc_stage"))
            runs.set_tags(connection, run_id, {**source, "serct.rebuilt": "true"})
        finish(connection, run_id, folder, folder.ended_ms)
    return run_id, True


def finished(connection: Connection, folder: ModelFolder) -> list[str]:
    """List the finished runs that gave a folder's very weights: a repetition gives them again."""
    return [
        str(run.info.run_id)
        for run in runs.find(connection, folder.fingerprint)
        if run.info.status == "FINISHED"
        and run.data.tags.get(runs.WEIGHTS) == folder.weights_digest
    ]


def _log_folder(connection: Connection, run_id: str, folder: ModelFolder) -> None:
    from serct.reports.plots import curves_figure

    card, client = folder.card, connection.client
    runs.log_history(connection, run_id, _timed(folder))
    best = {f"best/validation/{name}": value for name, value in card["validation"].items()}
    runs.log_scores(connection, run_id, best, step=int(card["best_epoch"]))
    runs.log_scores(connection, run_id, {"train/seconds": float(folder.run["seconds"])})
    counts = {key: str(card[key]) for key in ("num_parameters", "best_epoch")}
    runs.log_params(connection, run_id, counts)
    client.log_inputs(run_id, _datasets(folder))
    for name in ("card.json", "history.csv", "run.json"):
        client.log_artifact(run_id, str(folder.path / name))
    client.log_text(run_id, folder.description, "card.md")
    title = f"{card['name']} on {card['corpus']}"
    figure = curves_figure({str(card["name"]): folder.history}, title)
    client.log_figure(run_id, figure, "curves.png")
    machine: Mapping[str, Any] = folder.run.get("machine") or {}
    # The weights' digest says that all this is done, so it is set last.
    tags = {f"serct.machine.{key}": str(value) for key, value in machine.items() if value}
    runs.set_tags(connection, run_id, {**tags, "serct.device": folder.run.get("device")})
    runs.set_tags(connection, run_id, {runs.WEIGHTS: folder.weights_digest})


def _timed(folder: ModelFolder) -> list[tuple[Mapping[str, float], int]]:
    """Give a history's rows with the time at which each epoch ended, in ms since 1970."""
    rows, at_s = [], folder.started_ms / 1000
    for row in folder.history:
        at_s += row.get("seconds", 0.0)
        rows.append((row, min(int(at_s * 1000), folder.ended_ms)))
    return rows


def _datasets(folder: ModelFolder) -> list[Any]:
    """Describe the data: one entry a split, since MLflow knows a dataset by name and digest."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    corpus, digest = str(folder.card["corpus"]), str(folder.card["digests"]["manifest"])
    source = json.dumps({"uri": str(Path("data/manifests") / f"{corpus}.csv")})
    counts = folder.split_counts()
    inputs = []
    for split in ("train", "validation", "test"):
        emotions = counts.get(split, Counter())
        profile = {"num_rows": sum(emotions.values()), "emotions": dict(emotions)}
        dataset = Dataset(
            name=f"{corpus}/{split}",
            digest=digest[:36],  # MLflow's column is that wide
            source_type="local",
            source=source,
            profile=json.dumps(profile) if emotions else None,
        )
        inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", split)]))
    return inputs
