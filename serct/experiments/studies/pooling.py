"""The answers of a study's cells, put together before anything is scored."""

import csv
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from serct.config.params import Params
from serct.emotions import in_table_order
from serct.evaluation.metrics import Scores, score_names
from serct.evaluation.records import EvaluationMetrics
from serct.evaluation.significance import ua_difference, ua_interval
from serct.experiments.studies.results import CURVES, CellRun, Comparison, Row, StudyResult
from serct.models import restore_model_params
from serct.models.records import Card, RunRecord, read_history


def pool(name: str, asks: str, params: Params, cells: list[tuple[int, Path]]) -> StudyResult:
    """Read what the pipeline wrote in each cell, and put folds together.

    Args:
        name: Of the study.
        asks: Its question.
        params: Of any cell.
        cells: Seed and workspace of each, the folds of a seed one after another.
    """
    pipeline = params.pipeline
    tests = []
    for corpus in pipeline.train_corpora:
        for tested_on in dict.fromkeys((corpus, *pipeline.zero_shot_corpora)):
            tested = {
                model: _Cells.read(cells, model, corpus, tested_on) for model in pipeline.models
            }
            first = tested[pipeline.models[0]]
            answers = next(iter(first.pooled.values()))
            counts = Counter(answers.actual)
            tests.append(
                Comparison(
                    corpus=corpus,
                    tested_on=tested_on,
                    n=len(answers.actual),
                    majority_wa=max(counts.values()) / len(answers.actual),
                    majority_ua=1 / len(counts),
                    probes={
                        probe: statistics.mean(each[probe] for each in first.probes)
                        for probe in first.probes[0]
                    },
                    rows=tuple(_as_row(model, tested[model], first) for model in tested),
                )
            )
    return StudyResult(
        name=name,
        asks=asks,
        protocol=params.split.protocol,
        num_folds=params.split.num_folds or 1,
        seeds=tuple(dict.fromkeys(seed for seed, _ in cells)),
        tests=tuple(tests),
    )


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
class _Cells:
    """All cells of one model on one corpus: answers by seed, then fold."""

    answers: dict[int, list[_Answers]]
    validation_ua: dict[int, list[float]]
    runs: list[CellRun]
    seconds: list[float]
    probes: list[Mapping[str, float]]
    num_parameters: int
    hears_voices: bool
    history: Sequence[Mapping[str, float]]

    @classmethod
    def read(
        cls, cells: list[tuple[int, Path]], model: str, corpus: str, tested_on: str
    ) -> "_Cells":
        """Read what the stages wrote in each cell."""
        name = f"{corpus}-{model}"
        answers: dict[int, list[_Answers]] = {}
        validation_ua: dict[int, list[float]] = {}
        runs, seconds = [], []
        probes: list[Mapping[str, float]] = []
        for seed, cell in cells:
            reports, trained = cell / "data" / "reports", cell / "data" / "models" / name
            metrics = EvaluationMetrics.read(reports / "evaluate" / name / "metrics.json")
            if tested_on == corpus:
                path = reports / "evaluate" / name / "predictions.csv"
            else:
                path = reports / "zero_shot" / name / f"predictions-{tested_on}.csv"
            found = _Answers.read(path, is_masked=tested_on != corpus)
            answers.setdefault(seed, []).append(found)
            run = RunRecord.read(trained / "run.json")
            card = Card.read(trained / "card.json")
            validation_ua.setdefault(seed, []).append(card.validation.ua)
            seconds.append(run.seconds)
            probes.append(metrics.probes if tested_on == corpus else {})
            runs.append(CellRun(cell=cell.name, run=run.run_id, manifest=metrics.manifest_digest))
        history = [
            {key: row[key] for key in ("epoch", *CURVES)}
            for row in read_history(cells[0][1] / "data" / "models" / name)
        ]
        return cls(
            answers=answers,
            validation_ua=validation_ua,
            runs=runs,
            seconds=seconds,
            probes=probes,
            num_parameters=card.num_parameters,
            hears_voices=restore_model_params(card.architecture, name).adapts_to_speaker,
            history=history,
        )

    @property
    def pooled(self) -> dict[int, _Answers]:
        """The answers of each seed."""
        return {seed: _Answers.together(folds) for seed, folds in self.answers.items()}


def _as_row(model: str, tested: _Cells, first: _Cells) -> Row:
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
        hears_voices=tested.hears_voices,
        num_parameters=tested.num_parameters,
        seconds=statistics.mean(tested.seconds),
        validation_ua=tuple(statistics.mean(folds) for folds in tested.validation_ua.values()),
        wa=statistics.mean(each.wa for each in scores),
        ua=tuple(each.ua for each in scores),
        interval=ua_interval(actual, own.is_right, np.array(own.speakers)),
        gain=gain,
        folds=tuple(answers.scores.ua for answers in tested.answers[seed]),
        runs=tuple(tested.runs),
        history=tuple(tested.history),
    )
