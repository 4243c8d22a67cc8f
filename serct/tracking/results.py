"""Results of a model, added to its run without reopening it: its status and end stay."""

from collections.abc import Iterator, Mapping
from typing import Any

from serct.errors import TrackingError
from serct.tracking import completion, registry, runs
from serct.tracking.connection import Connection
from serct.tracking.folders import ModelFolder, ResultsFolder

_SCORES = ("wa", "ua", "wf1", "loss")


def log_results(connection: Connection, folder: ModelFolder, results: ResultsFolder) -> bool:
    """Log scores, confusion matrices and files to the runs that made a model.

    A run that has the very same already is left alone. The registered version gets the model
    card that tells the scores.

    Args:
        connection: The store.
        folder: The model; it has a finished run.
        results: Of its test part or of other corpora.

    Returns:
        Whether anything was logged.

    Raises:
        TrackingError: If the results are of another model.
    """
    found = results.metrics.get("fingerprint")
    if found != folder.fingerprint:
        raise TrackingError(
            f"{results.path}: results of the model with fingerprint {found}, but {folder.path} "
            f"has {folder.fingerprint}: run the stage again"
        )
    card = results.path / "model_card.md"
    if card.exists():
        registry.describe(connection, folder, card.read_text(encoding="utf-8"))
    logged = [
        _log_to_run(connection, run_id, folder, results)
        for run_id in completion.finished(connection, folder)
    ]
    return any(logged)


def _log_to_run(
    connection: Connection, run_id: str, folder: ModelFolder, results: ResultsFolder
) -> bool:
    from serct.reports.plots import confusion_figure

    kind = "zero_shot" if results.is_zero_shot else "evaluation"
    run = connection.client.get_run(run_id)
    if run.data.tags.get(f"serct.{kind}") == results.digest:
        return False
    model = str(folder.card["name"])
    if results.is_zero_shot:
        scores: dict[str, Any] = {}
        for target, metrics in results.metrics["targets"].items():
            scores.update(_zero_shot_scores(target, metrics))
            tags = runs.thesis_tags(f"thesis.zero_shot.{target}", target, model)
            runs.set_tags(connection, run_id, {**tags})
    else:
        scores = dict(_scores("test", results.metrics))
    runs.log_scores(connection, run_id, scores)
    connection.client.log_artifacts(run_id, str(results.path), kind)
    for name, confusion in results.confusions():
        target = name.partition("-")[2] or f"{folder.card['corpus']}, test part"
        figure = confusion_figure(
            confusion["labels"],
            confusion["counts"],
            f"{model}, trained on {folder.card['corpus']}, on {target}",
        )
        connection.client.log_figure(run_id, figure, f"{kind}/{name}.png")
    runs.set_tags(connection, run_id, {f"serct.{kind}": results.digest})
    return True


def _zero_shot_scores(target: str, metrics: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    prefix = f"zero_shot/{target}"
    yield f"{prefix}/n", metrics.get("n")
    yield f"{prefix}/dropped", sum(metrics.get("dropped", {}).values())
    yield from _scores(f"{prefix}/majority", metrics.get("majority", {}))
    for kind in ("masked", "unmasked"):
        yield from _scores(f"{prefix}/{kind}", metrics.get(kind, {}))


def _scores(prefix: str, metrics: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key in ("n", *_SCORES):
        yield f"{prefix}/{key}", metrics.get(key)
    for emotion, recall in metrics.get("recall", {}).items():
        yield f"{prefix}/recall/{emotion}", recall
    for key in _SCORES:
        yield f"{prefix}/majority/{key}", metrics.get("majority", {}).get(key)
