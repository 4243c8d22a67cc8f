"""Studies: one question asked of many workspaces: folds, seeds and variants, pooled into a table.

A study is a file in `studies/`. Each of its cells, a seed and a fold, is a workspace of its own
that the one pipeline runs in; DVC's cache is shared between them, so that nothing is made twice.
"""

import csv
import json
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, JsonValue

from serct import atomic
from serct.comparison import Interval, ua_interval
from serct.errors import ParamsError, SerctError
from serct.metrics import score_names
from serct.params import Params
from serct.params_file import read_yaml
from serct.sections import Section, validate
from serct.workspace import prepare_workspace, project_root, run_dvc


class Study(Section):
    """What a study's file holds.

    Attributes:
        profile: Laid over params.yaml, then ``settings``.
        settings: ``set`` in the file.
        seeds: Each is a repetition of all folds.
    """

    profile: str | None
    seeds: tuple[int, ...]
    settings: dict[str, JsonValue] = Field(alias="set")


@dataclass(frozen=True)
class Row:
    """One model in a study.

    Attributes:
        n: Utterances tested, over all folds of one seed.
        wa: Weighted accuracy, the mean over seeds.
        ua: Unweighted accuracy of each seed, its folds pooled before it is computed.
        interval: Of the first seed's UA, 95 %.
        folds: UA of each fold of the first seed.
        runs: MLflow's run and the manifest's digest behind each cell.
    """

    model: str
    corpus: str
    n: int
    wa: float
    ua: tuple[float, ...]
    interval: Interval
    folds: tuple[float, ...]
    runs: tuple[Mapping[str, str | None], ...]


def list_studies() -> dict[str, str]:
    """Names of the studies in `studies/`, and their first line."""
    found = sorted((project_root() / "studies").glob("*.yaml"))
    return {path.stem: path.read_text("utf-8").splitlines()[0].lstrip("# ") for path in found}


def run_study(
    name: str, folder: Path | None, on_cell: Callable[[str], object] = lambda cell: None
) -> tuple[Path, list[Row]]:
    """Run what is missing of a study and pool it.

    Args:
        name: A file in `studies/`.
        folder: Where its workspaces lie; ``build/studies/<name>`` in the checkout if None.
        on_cell: Called with the name of each cell before it runs.

    Returns:
        The folder, and a row for each model on each corpus.

    Raises:
        ParamsError: If there is no such study, or it does not check.
        SerctError: If a cell fails.
    """
    study = _read(name)
    folder = (folder or project_root() / "build" / "studies" / name).resolve()
    cells: list[tuple[int, Path]] = []
    params: Params | None = None
    for seed in study.seeds:
        for fold, settings in _folds(study):
            cell = folder / f"seed-{seed}-fold-{fold}"
            on_cell(cell.name)
            cell, params = prepare_workspace(
                cell, study.profile, overlay={**settings, "seed": seed}, cache=folder / "cache"
            )
            if run_dvc(cell, ["repro"]):
                raise SerctError(f"{cell}: the pipeline failed; what it said stands above")
            cells.append((seed, cell))
    if params is None:
        raise ParamsError(f"studies/{name}.yaml: seeds is empty, expected at least one")
    rows = [
        _pool(cells, model, corpus)
        for corpus in params.pipeline.train_corpora
        for model in params.pipeline.models
    ]
    atomic.write_json(folder / "study.json", [asdict(row) for row in rows])
    return folder, rows


def as_table(rows: list[Row]) -> list[dict[str, Any]]:
    """Give rows as text."""
    return [
        {
            "model": row.model,
            "corpus": row.corpus,
            "n": row.n,
            "WA": f"{row.wa:.3f}",
            "UA": _spread(row.ua),
            "95 %": f"{row.interval.low:.3f}-{row.interval.high:.3f} ({row.interval.over})",
            "UA of each fold": " ".join(f"{ua:.3f}" for ua in row.folds),
        }
        for row in rows
    ]


def _read(name: str) -> Study:
    known = list_studies()
    if name not in known:
        raise ParamsError(f"no study {name!r}, expected one of: {', '.join(known)}")
    path = project_root() / "studies" / f"{name}.yaml"
    return validate(Study, read_yaml(path), f"studies/{path.name}")


def _folds(study: Study) -> Iterator[tuple[int, dict[str, JsonValue]]]:
    split = study.settings.get("split")
    num_folds = split.get("num_folds") if isinstance(split, dict) else None
    if not isinstance(num_folds, int) or not isinstance(split, dict):
        yield 0, study.settings
        return
    for fold in range(num_folds):
        yield fold, {**study.settings, "split": {**split, "fold": fold}}


def _pool(cells: list[tuple[int, Path]], model: str, corpus: str) -> Row:
    """Put the folds of each seed together before anything is scored."""
    actual: dict[int, list[str]] = {}
    predicted: dict[int, list[str]] = {}
    speakers: list[str] = []
    folds: list[float] = []
    runs = []
    first = cells[0][0]
    for seed, cell in cells:
        results = cell / "data" / "reports" / "evaluate" / f"{corpus}-{model}"
        with (results / "predictions.csv").open(encoding="utf-8", newline="") as file:
            answers = list(csv.DictReader(file))
        found = [row["emotion"] for row in answers], [row["predicted"] for row in answers]
        actual.setdefault(seed, []).extend(found[0])
        predicted.setdefault(seed, []).extend(found[1])
        if seed == first:
            folds.append(score_names(*found).ua)
            speakers += [row["speaker"] for row in answers]
        metrics = json.loads((results / "metrics.json").read_text("utf-8"))
        run = json.loads((cell / "data" / "models" / results.name / "run.json").read_text("utf-8"))
        runs.append(
            {"cell": cell.name, "run": run["run_id"], "manifest": metrics["manifest_digest"]}
        )
    scores = [score_names(actual[seed], predicted[seed]) for seed in actual]
    return Row(
        model=model,
        corpus=corpus,
        n=scores[0].n,
        wa=statistics.mean(each.wa for each in scores),
        ua=tuple(each.ua for each in scores),
        interval=ua_interval(
            np.array(actual[first]),
            np.array(actual[first]) == np.array(predicted[first]),
            np.array(speakers),
        ),
        folds=tuple(folds),
        runs=tuple(runs),
    )


def _spread(values: tuple[float, ...]) -> str:
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"
