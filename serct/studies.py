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
import numpy.typing as npt
from pydantic import Field, JsonValue

from serct import atomic
from serct.comparison import Interval, ua_difference, ua_interval
from serct.emotions import in_table_order
from serct.errors import ParamsError, SerctError
from serct.metrics import Scores, score_names
from serct.parallel import rebuild
from serct.params import Params
from serct.params_file import read_yaml
from serct.sections import Section, validate
from serct.workspace import prepare_workspace, project_root


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
    """One model in a study, on one corpus.

    Attributes:
        corpus: What it was trained on.
        tested_on: The same, or a corpus it had never heard: then all of its emotions that the
            model knows, the others' answers masked.
        n: Utterances tested with one seed: all folds together, or each fold's model on all.
        validation_ua: Of each seed, the mean over its folds: what choices may be made by.
        wa: Weighted accuracy, the mean over seeds.
        ua: Unweighted accuracy of each seed, its folds pooled before it is computed.
        interval: Of the first seed's UA, 95 %.
        gain: Of the first seed's UA over that of the study's first model, 95 %; None for that one.
        folds: UA of each fold of the first seed.
        runs: MLflow's run and the manifest's digest behind each cell.
    """

    model: str
    corpus: str
    tested_on: str
    n: int
    validation_ua: tuple[float, ...]
    wa: float
    ua: tuple[float, ...]
    interval: Interval
    gain: tuple[float, float] | None
    folds: tuple[float, ...]
    runs: tuple[Mapping[str, str | None], ...]


def list_studies() -> dict[str, str]:
    """Names of the studies in `studies/`, and their first line."""
    found = sorted((project_root() / "studies").glob("*.yaml"))
    return {path.stem: path.read_text("utf-8").splitlines()[0].lstrip("# ") for path in found}


def run_study(
    name: str,
    folder: Path | None,
    jobs: int = 1,
    on_cell: Callable[[str], object] = lambda cell: None,
) -> tuple[Path, list[Row]]:
    """Run what is missing of a study and pool it.

    Args:
        name: A file in `studies/`.
        folder: Where its workspaces lie; ``build/studies/<name>`` in the checkout if None.
        jobs: Stages of a cell that may run at the same time.
        on_cell: Called with the name of each cell before it runs.

    Returns:
        The folder, and a row for each model on each corpus it was trained or tested on.

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
            if rebuild(cell, jobs):
                raise SerctError(f"{cell}: the pipeline failed; what it said stands above")
            cells.append((seed, cell))
    if params is None:
        raise ParamsError(f"studies/{name}.yaml: seeds is empty, expected at least one")
    pipeline = params.pipeline
    rows: list[Row] = []
    for corpus in pipeline.train_corpora:
        for tested_on in dict.fromkeys((corpus, *pipeline.zero_shot_corpora)):
            tested = {
                model: _Tested.read(cells, model, corpus, tested_on) for model in pipeline.models
            }
            first = tested[pipeline.models[0]]
            rows += [_as_row(model, corpus, tested_on, tested[model], first) for model in tested]
    atomic.write_json(folder / "study.json", [asdict(row) for row in rows])
    return folder, rows


def as_table(rows: list[Row]) -> list[dict[str, Any]]:
    """Give rows as text."""
    return [
        {
            "model": row.model,
            "trained on": row.corpus,
            "tested on": row.tested_on,
            "n": row.n,
            "validation UA": _spread(row.validation_ua),
            "WA": f"{row.wa:.3f}",
            "UA": _spread(row.ua),
            "95 %": f"{row.interval.low:.3f}-{row.interval.high:.3f} ({row.interval.over})",
            "over the first": f"{row.gain[0]:+.3f} to {row.gain[1]:+.3f}" if row.gain else "",
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


@dataclass(frozen=True, eq=False)
class _Answers:
    """What one or more cells answered, all of one length n."""

    actual: list[str]
    predicted: list[str]
    speakers: list[str]

    @classmethod
    def read(cls, path: Path, is_masked: bool) -> "_Answers":
        """Read predictions; masked, only emotions that are asked for can be answered."""
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        actual = [row["emotion"] for row in rows]
        predicted = [row["predicted"] for row in rows]
        if is_masked:
            asked = in_table_order(actual)
            predicted = [max(asked, key=lambda emotion: float(row[f"p_{emotion}"])) for row in rows]
        return cls(actual, predicted, [row["speaker"] for row in rows])

    @classmethod
    def together(cls, parts: list["_Answers"]) -> "_Answers":
        """Put folds together."""
        return cls(
            [each for part in parts for each in part.actual],
            [each for part in parts for each in part.predicted],
            [each for part in parts for each in part.speakers],
        )

    @property
    def scores(self) -> Scores:
        """WA, UA and so on."""
        return score_names(self.actual, self.predicted)

    @property
    def is_right(self) -> npt.NDArray[np.bool_]:
        """Where the answer is right. bool [n]."""
        return np.asarray(np.array(self.actual) == np.array(self.predicted), dtype=np.bool_)


@dataclass(frozen=True, eq=False)
class _Tested:
    """All cells of one model on one corpus: answers by seed, then fold."""

    answers: dict[int, list[_Answers]]
    validation_ua: dict[int, list[float]]
    runs: list[Mapping[str, str | None]]

    @classmethod
    def read(
        cls, cells: list[tuple[int, Path]], model: str, corpus: str, tested_on: str
    ) -> "_Tested":
        """Read what the stages wrote in each cell."""
        found = cls({}, {}, [])
        name = f"{corpus}-{model}"
        for seed, cell in cells:
            reports, trained = cell / "data" / "reports", cell / "data" / "models" / name
            metrics = json.loads((reports / "evaluate" / name / "metrics.json").read_text("utf-8"))
            if tested_on == corpus:
                path = reports / "evaluate" / name / "predictions.csv"
            else:
                path = reports / "zero_shot" / name / f"predictions-{tested_on}.csv"
            answers = _Answers.read(path, is_masked=tested_on != corpus)
            found.answers.setdefault(seed, []).append(answers)
            run = json.loads((trained / "run.json").read_text("utf-8"))
            card = json.loads((trained / "card.json").read_text("utf-8"))
            found.validation_ua.setdefault(seed, []).append(card["validation"]["ua"])
            found.runs.append(
                {"cell": cell.name, "run": run["run_id"], "manifest": metrics["manifest_digest"]}
            )
        return found

    @property
    def pooled(self) -> dict[int, _Answers]:
        """The answers of each seed."""
        return {seed: _Answers.together(folds) for seed, folds in self.answers.items()}


def _as_row(model: str, corpus: str, tested_on: str, tested: _Tested, first: _Tested) -> Row:
    pooled = tested.pooled
    scores = [answers.scores for answers in pooled.values()]
    seed = next(iter(pooled))
    own, other = pooled[seed], first.pooled[seed]
    actual = np.array(own.actual)
    gain = None
    if tested is not first:
        labels = np.unique(actual, return_inverse=True)[1]
        gain = ua_difference(labels, own.is_right, other.is_right)
    return Row(
        model=model,
        corpus=corpus,
        tested_on=tested_on,
        n=scores[0].n,
        validation_ua=tuple(statistics.mean(folds) for folds in tested.validation_ua.values()),
        wa=statistics.mean(each.wa for each in scores),
        ua=tuple(each.ua for each in scores),
        interval=ua_interval(actual, own.is_right, np.array(own.speakers)),
        gain=gain,
        folds=tuple(answers.scores.ua for answers in tested.answers[seed]),
        runs=tuple(tested.runs),
    )


def _spread(values: tuple[float, ...]) -> str:
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"
