"""What a study found: the answers of its cells, put together before anything is scored."""

import csv
import json
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from serct.comparison import Interval, ua_difference, ua_interval
from serct.emotions import in_table_order
from serct.errors import ReportError
from serct.metrics import Scores, score_names
from serct.model_card import hears_voices
from serct.params import Params
from serct.sections import Section

STUDY_FILE = "study.json"
# What is kept of each epoch.
CURVES = ("train_loss", "validation_loss", "validation_ua")


class CellRun(Section):
    """Where one number comes from.

    Attributes:
        cell: Folder of the workspace.
        run: MLflow's.
        manifest: Digest of the manifest.
    """

    cell: str
    run: str | None
    manifest: str


class Row(Section):
    """One model in a test.

    Attributes:
        hears_voices: Whether it heard a voice's recordings, unlabelled, before it answered for one:
            a protocol of its own.
        num_parameters: Of the model.
        seconds: To train it, the mean over cells.
        validation_ua: Of each seed, the mean over its folds: what choices may be made by.
        wa: Weighted accuracy, the mean over seeds.
        ua: Unweighted accuracy of each seed, its folds pooled before it is computed.
        interval: Of the first seed's UA, 95 %.
        gain: Of the first seed's UA over that of the study's first model, 95 %; None for that one.
        folds: UA of each fold of the first seed.
        runs: Of each cell.
        history: Epochs of the first cell, with the keys of `CURVES`.
    """

    model: str
    hears_voices: bool
    num_parameters: int
    seconds: float
    validation_ua: tuple[float, ...]
    wa: float
    ua: tuple[float, ...]
    interval: Interval
    gain: tuple[float, float] | None
    folds: tuple[float, ...]
    runs: tuple[CellRun, ...]
    history: tuple[Mapping[str, float], ...]


class Comparison(Section):
    """All models of a study, trained on one corpus and tested on one.

    Attributes:
        corpus: What they were trained on.
        tested_on: The same, or a corpus they had never heard: then all of its emotions that they
            know, the others' answers masked.
        n: Utterances tested with one seed: all folds together, or each fold's model on all.
        majority_wa: Of always naming the most frequent emotion.
        majority_ua: The same.
        probes: UA without listening, see `serct.probes`, the mean over cells; empty for a corpus
            never heard.
        rows: In the order of the study.
    """

    corpus: str
    tested_on: str
    n: int
    majority_wa: float
    majority_ua: float
    probes: Mapping[str, float]
    rows: tuple[Row, ...]


class StudyResult(Section):
    """What `study.json` holds.

    Attributes:
        name: Its file in `studies/`.
        asks: Its question.
        protocol: What test shares with training, see params.yaml's ``split``.
        num_folds: 1 if it is not divided into folds.
        seeds: Each a repetition of all folds.
    """

    name: str
    asks: str
    protocol: str
    num_folds: int
    seeds: tuple[int, ...]
    tests: tuple[Comparison, ...]


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


def read_studies(folder: Path) -> tuple[StudyResult, ...]:
    """Read all studies that ended below a folder, by name.

    Raises:
        ReportError: If one is not what this version writes.
    """
    found = []
    for path in sorted(folder.glob(f"*/{STUDY_FILE}")):
        try:
            found.append(StudyResult.model_validate_json(path.read_text("utf-8")))
        except ValidationError as error:
            raise ReportError(
                f"{path}: not a study of this version of serct; run that study again, or remove "
                f"the file: {error.errors()[0]['msg']}"
            ) from error
    return tuple(found)


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
        with (cells[0][1] / "data" / "models" / name / "history.csv").open(newline="") as file:
            history = [
                {key: float(row[key]) for key in ("epoch", *CURVES)} for row in csv.DictReader(file)
            ]
        found = cls({}, {}, [], [], [], 0, hears_voices=False, history=history)
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
            found.seconds.append(run["seconds"])
            found.probes.append(metrics["probes"] if tested_on == corpus else {})
            found.runs.append(
                CellRun(cell=cell.name, run=run["run_id"], manifest=metrics["manifest_digest"])
            )
        return replace(
            found,
            num_parameters=card["num_parameters"],
            hears_voices=hears_voices(card["architecture"]),
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
