"""Runs: one training each, found by the fingerprint of what was trained."""

import json
import math
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from serct.reports import thesis
from serct.tracking.connection import Connection
from serct.tracking.liveness import HOST, is_alive, is_this_process, process_tags

if TYPE_CHECKING:
    from mlflow.entities import Run

FINGERPRINT, WEIGHTS = "serct.fingerprint", "serct.weights"
# MLflow nests a run below the one that this tag names.
PARENT, SEARCH = "mlflow.parentRunId", "serct.search"


def now_ms() -> int:
    """The time in ms since 1970."""
    return int(time.time() * 1000)


def find(connection: Connection, fingerprint: str) -> "list[Run]":
    """Find the runs of a fingerprint, the latest first."""
    return _search(connection, f"tags.`{FINGERPRINT}` = '{fingerprint}'")


def create(connection: Connection, card: Mapping[str, Any], start_ms: int) -> str:
    """Make a run with what is known when a training begins: names, tags and parameters.

    Args:
        connection: The store.
        card: A model card; what only training tells may be missing.
        start_ms: When training began, in ms since 1970.
    """
    model, corpus, protocol = (str(card[key]) for key in ("name", "corpus", "protocol"))
    tags = {
        FINGERPRINT: str(card["fingerprint"]),
        "serct.model": model,
        "serct.corpus": corpus,
        "serct.protocol": protocol,
        "serct.synthetic": str(card["synthetic"]).lower(),
        **{f"serct.{name}_digest": str(digest) for name, digest in card["digests"].items()},
        **{f"serct.version.{name}": str(found) for name, found in card["versions"].items()},
        **thesis_tags("thesis.test", corpus, model),
    }
    run = connection.client.create_run(
        connection.experiment_id,
        start_time=start_ms,
        tags=tags,
        run_name=f"{model} on {corpus} ({protocol})",
    )
    run_id = str(run.info.run_id)
    log_params(connection, run_id, _settings(card))
    return run_id


def search_run(connection: Connection, name: str) -> str:
    """Find or make the run above the trials of a search."""
    for run in _search(connection, f"tags.`{SEARCH}` = '{name}'"):
        return str(run.info.run_id)
    made = connection.client.create_run(
        connection.experiment_id,
        start_time=now_ms(),
        tags={SEARCH: name},
        run_name=f"search {name}",
    )
    return str(made.info.run_id)


def thesis_tags(prefix: str, test: str, model: str) -> dict[str, str]:
    """Give the thesis' scores of a model on a test corpus as tags, none if it has none."""
    published = thesis.published(test, model)
    if published is None:
        return {}
    return {f"{prefix}.{score}": str(getattr(published, score)) for score in ("wa", "ua", "wf1")}


def source_tags(git_commit: str | None, dvc_stage: str | None) -> dict[str, str | None]:
    """Give the tags that say which code and which stage a run comes from."""
    return {
        "serct.git_commit": git_commit,
        "mlflow.source.git.commit": git_commit,
        "serct.dvc_stage": dvc_stage,
    }


def resumable(connection: Connection, fingerprint: str) -> str | None:
    """Find the run that a training begun now goes on with, None for a new one.

    That is the latest run of the fingerprint if it was cut off. One that another process on this
    machine is still writing is left alone; `reap` comes first, so that "running" is true.
    """
    for run in find(connection, fingerprint)[:1]:
        tags = run.data.tags
        is_taken = is_alive(tags) and not is_this_process(tags)
        is_unfinished = run.info.status in ("RUNNING", "KILLED", "FAILED")
        if is_unfinished and not (run.info.status == "RUNNING" and is_taken):
            return str(run.info.run_id)
    return None


def occupy(connection: Connection, run_id: str, git_commit: str | None) -> None:
    """Mark a run as running in this process, within the DVC stage that runs it if any."""
    connection.client.update_run(run_id, status="RUNNING")
    experiment = {key: os.environ.get(key) for key in ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV")}
    source = source_tags(git_commit, os.environ.get("DVC_STAGE"))
    set_tags(connection, run_id, {**process_tags(), **source, **experiment})


def reap(connection: Connection) -> list[str]:
    """End the runs whose process on this machine is gone, as of their last sign of life.

    Returns:
        Ids of the runs that are now KILLED.
    """
    host = f"tags.`{HOST}` = '{socket.gethostname()}'"
    running = _search(connection, f"attributes.status = 'RUNNING' and {host}")
    dead = [run for run in running if not is_alive(run.data.tags)]
    for run in dead:
        end_ms = _last_sign_ms(connection, run)
        connection.client.set_terminated(run.info.run_id, "KILLED", end_ms)
    return [str(run.info.run_id) for run in dead]


def _last_sign_ms(connection: Connection, run: "Run") -> int:
    times = [
        past.timestamp
        for key in ("train/loss", "system/cpu_utilization_percentage")
        for past in connection.client.get_metric_history(run.info.run_id, key)
    ]
    return int(max([run.info.start_time, *times]))


def log_history(
    connection: Connection, run_id: str, rows: Sequence[tuple[Mapping[str, Any], int]]
) -> None:
    """Log epochs that the run does not have yet: a resumed training may repeat one.

    Args:
        connection: The store.
        run_id: The run.
        rows: Rows of a history, each with its time in ms since 1970.
    """
    from mlflow.entities import Metric

    metrics = [
        Metric(_metric_key(column), float(value), timestamp, int(row["epoch"]))
        for row, timestamp in rows
        for column, value in row.items()
        if column != "epoch" and value is not None and math.isfinite(value)
    ]
    logged = {
        key: {past.step for past in connection.client.get_metric_history(run_id, key)}
        for key in {metric.key for metric in metrics}
    }
    _log_metrics(connection, run_id, [m for m in metrics if m.step not in logged[m.key]])


def _metric_key(column: str) -> str:
    """Translate a history's column: validation_ua is validation/ua, the rest keeps its name."""
    split, _, score = column.partition("_")
    return f"{split}/{score}" if split in ("train", "validation") else column


def log_scores(
    connection: Connection, run_id: str, scores: Mapping[str, Any], step: int = 0
) -> None:
    """Log the finite numbers among ``scores``, all at one step."""
    from mlflow.entities import Metric

    at = now_ms()
    metrics = [
        Metric(key, float(value), at, step)
        for key, value in scores.items()
        if isinstance(value, int | float) and math.isfinite(value)
    ]
    _log_metrics(connection, run_id, metrics)


def _log_metrics(connection: Connection, run_id: str, metrics: Sequence[Any]) -> None:
    for first in range(0, len(metrics), 1000):  # MLflow takes no more at once
        connection.client.log_batch(run_id, metrics=metrics[first : first + 1000])


def log_params(connection: Connection, run_id: str, params: Mapping[str, str]) -> None:
    """Log parameters; repeating one with the same value is fine."""
    from mlflow.entities import Param

    entities = [Param(key, value) for key, value in params.items()]
    for first in range(0, len(entities), 100):  # MLflow takes no more at once
        connection.client.log_batch(run_id, params=entities[first : first + 100])


def set_tags(connection: Connection, run_id: str, tags: Mapping[str, str | None]) -> None:
    """Set those tags that have a value; the run's status and end stay as they are."""
    from mlflow.entities import RunTag

    known = [RunTag(key, value) for key, value in tags.items() if value is not None]
    connection.client.log_batch(run_id, tags=known)


def _search(connection: Connection, query: str) -> "list[Run]":
    return list(
        connection.client.search_runs(
            [connection.experiment_id],
            query,
            max_results=1000,
            order_by=["attributes.start_time DESC"],
        )
    )


def _settings(card: Mapping[str, Any]) -> dict[str, str]:
    """Flatten all parameters of a training."""
    sections = {key: card[key] for key in ("seed", "corpus", "emotions", "training", "audio")}
    # A card that is not written yet may hold pydantic models.
    plain = json.loads(
        json.dumps(
            {**sections, "model": card["architecture"]},
            default=lambda found: found.model_dump(mode="json"),
        )
    )
    # The model's overrides of `train` are within the training's own parameters already.
    plain["model"].pop("train", None)
    return dict(_flatten("", plain))


def _flatten(prefix: str, content: Any) -> Iterator[tuple[str, str]]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _flatten(f"{prefix}.{key}" if prefix else str(key), value)
    else:
        yield prefix, content if isinstance(content, str) else json.dumps(content)
