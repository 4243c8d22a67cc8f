"""The predictions of a study's cells, put together before anything is scored."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from serct.config.files import read_rows
from serct.config.params import Params
from serct.data.corpora import read_corpus_params
from serct.data.dataset import ShardDataset
from serct.data.manifest import read_manifest
from serct.data.shards import read_meta
from serct.emotions import in_table_order
from serct.errors import ReportError
from serct.evaluation.metrics import Scores, score_names
from serct.evaluation.probes import probe_corpus
from serct.evaluation.records import (
    METRICS_FILE,
    ROBUSTNESS_FILE,
    EvaluationMetrics,
    RobustnessMetrics,
    ZeroShotMetrics,
    read_robustness,
)
from serct.evaluation.significance import ua_difference, ua_interval
from serct.experiments.studies.results import (
    CURVES,
    CellRun,
    Comparison,
    PublishedScore,
    Row,
    SharedSpeakers,
    StudyResult,
)
from serct.models import restore_model_params
from serct.models.records import Card, RunRecord, read_history
from serct.runtime.digests import check_files


def pool(
    name: str,
    asks: str,
    params: Params,
    cells: list[tuple[int, Path]],
    unseen_only: bool = False,
    published: Mapping[str, Sequence[PublishedScore]] | None = None,
) -> StudyResult:
    """Read what the pipeline wrote in each cell, and put folds together.

    Args:
        name: Of the study.
        asks: Its question.
        params: Of any cell.
        cells: Seed and workspace of each, the folds of a seed one after another.
        unseen_only: Whether only tests on corpora that training never saw count.
        published: Scores of others on the same folds, by corpus.
    """
    pipeline = params.pipeline
    tests = []
    for corpus in pipeline.train_corpora:
        entry = read_corpus_params(params, corpus)
        trained_on = {corpus, *getattr(entry, "members", ())}
        targets = [each for each in pipeline.zero_shot_corpora if each not in trained_on]
        for tested_on in targets if unseen_only else [corpus, *targets]:
            tested = {
                model: [_Cell.read(*cell, f"{corpus}-{model}", tested_on) for cell in cells]
                for model in pipeline.models
            }
            first = tested[pipeline.models[0]]
            counts = Counter(_pooled(first)[first[0].seed]["emotion"])
            probes = [cell.metrics.probes for cell in first] if tested_on == corpus else [{}]
            if unseen_only:
                probes = [_probe_unseen(cells[0][1] / "data" / "shards", corpus, tested_on)]
            models = cells[0][1] / "data" / "models"
            tests.append(
                Comparison(
                    corpus=corpus,
                    tested_on=tested_on,
                    num_corpora=max(1, len(trained_on) - 1),
                    n=counts.total(),
                    majority_wa=max(counts.values()) / counts.total(),
                    majority_ua=1 / len(counts),
                    probes={
                        probe: statistics.mean(each[probe] for each in probes)
                        for probe in probes[0]
                    },
                    rows=tuple(
                        _as_row(model, own, first, read_history(models / f"{corpus}-{model}"))
                        for model, own in tested.items()
                    ),
                    published=tuple(published.get(corpus, ())) if published else (),
                    shared_speakers=_count_shared(cells, corpus) if published else None,
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


def _count_shared(cells: Sequence[tuple[int, Path]], corpus: str) -> SharedSpeakers | None:
    """Count the speakers of test parts who are in training or validation too."""
    num_shared = num_tested = 0
    for _, cell in cells:
        utterances = read_manifest(cell / "data" / "manifests" / f"{corpus}.csv")
        tested = {u.speaker for u in utterances if u.split == "test"}
        known = {u.speaker for u in utterances if u.split != "test"}
        if "" in known | tested:
            return None
        num_shared += len(tested & known)
        num_tested += len(tested)
    return SharedSpeakers(num_shared=num_shared, num_tested=num_tested)


def _probe_unseen(shards: Path, corpus: str, tested_on: str) -> dict[str, float]:
    """Compute the UA of each probe that learns from one corpus, on another one."""
    train = ShardDataset(shards / corpus, ["train", "validation"])
    splits = tuple(read_meta(shards / tested_on, tested_on).counts)
    return probe_corpus(train, ShardDataset(shards / tested_on, splits, train.emotions))


@dataclass(frozen=True, eq=False)
class _Cell:
    """What the stages wrote about one model in one cell.

    Attributes:
        predictions: A row an utterance.
        robustness: None of a zero-shot test, and without conditions.
    """

    seed: int
    predictions: pd.DataFrame
    metrics: EvaluationMetrics
    robustness: RobustnessMetrics | None
    card: Card
    run: RunRecord
    source: CellRun

    @classmethod
    def read(cls, seed: int, folder: Path, name: str, tested_on: str) -> "_Cell":
        """Read a cell's files of a model, with its predictions on one corpus."""
        reports, trained = folder / "data" / "reports", folder / "data" / "models" / name
        metrics = EvaluationMetrics.read(reports / "evaluate" / name / METRICS_FILE)
        card, run = Card.read(trained / "card.json"), RunRecord.read(trained / "run.json")
        robustness = None
        if tested_on == card.corpus:
            path = reports / "evaluate" / name / "predictions.csv"
            predictions = _read_predictions(path, metrics.files)
            _check_listed(path.with_name(ROBUSTNESS_FILE), metrics.files)
            robustness = read_robustness(path.parent, metrics)
        else:
            path = reports / "zero_shot" / name / f"predictions-{tested_on}.csv"
            files = ZeroShotMetrics.read(path.with_name(METRICS_FILE)).files
            predictions = _masked(_read_predictions(path, files))
        source = CellRun(cell=folder.name, run=run.run_id, manifest=metrics.manifest_digest)
        return cls(seed, predictions, metrics, robustness, card, run, source)


def _read_predictions(path: Path, files: Mapping[str, str]) -> pd.DataFrame:
    _check_listed(path, files)
    predictions = pd.DataFrame(read_rows(path, ("emotion", "predicted", "speaker")))
    shares = [column for column in predictions if str(column).startswith("p_")]
    return predictions.astype(dict.fromkeys(shares, float))


def _check_listed(path: Path, files: Mapping[str, str]) -> None:
    listed = {name: digest for name, digest in files.items() if name == path.name}
    check_files(path.parent, listed, METRICS_FILE, ReportError)


def _masked(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return predictions with the most probable of those emotions that the corpus has."""
    emotions = in_table_order(list(predictions["emotion"]))
    probabilities = predictions[[f"p_{emotion}" for emotion in emotions]].to_numpy()
    return predictions.assign(predicted=np.array(emotions)[probabilities.argmax(axis=1)])


def _pooled(cells: Sequence[_Cell]) -> dict[int, pd.DataFrame]:
    """Return the predictions of each seed, its folds put together."""
    return {
        seed: pd.concat([cell.predictions for cell in cells if cell.seed == seed])
        for seed in dict.fromkeys(cell.seed for cell in cells)
    }


def _scores(predictions: pd.DataFrame) -> Scores:
    return score_names(list(predictions["emotion"]), list(predictions["predicted"]))


def _is_right(predictions: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Return where the prediction is right. bool [n]."""
    return np.asarray(predictions["emotion"] == predictions["predicted"], dtype=np.bool_)


def _under_conditions(cells: Sequence[_Cell]) -> dict[str, float]:
    """Return the UA under each condition, by its label, and without any: "clean"."""
    counted: dict[str, list[Mapping[str, tuple[int, int]]]] = {}
    for cell in cells:
        if cell.robustness is not None:
            counted.setdefault("clean", []).append(cell.robustness.counts)
            for condition in cell.robustness.conditions:
                counted.setdefault(condition.label, []).append(condition.counts)
    return {label: _ua(counts) for label, counts in counted.items()}


def _ua(counts: Sequence[Mapping[str, tuple[int, int]]]) -> float:
    """Compute the UA over test parts, from how many of each emotion are right and how many all."""
    sums: dict[str, npt.NDArray[np.int64]] = {}
    for part in counts:
        for emotion, pair in part.items():
            sums[emotion] = sums.get(emotion, np.zeros(2, np.int64)) + np.array(pair)
    return statistics.mean(float(right / total) for right, total in sums.values())


def _as_row(
    model: str,
    cells: Sequence[_Cell],
    first: Sequence[_Cell],
    history: Sequence[Mapping[str, float]],
) -> Row:
    pooled, seed, card = _pooled(cells), cells[0].seed, cells[0].card
    own, scores = pooled[seed], [_scores(each) for each in pooled.values()]
    by_fold = [_scores(cell.predictions) for cell in cells if cell.seed == seed]
    actual = np.array(list(own["emotion"]))
    gain = None
    if cells is not first:
        labels = np.unique(actual, return_inverse=True)[1]
        gain = ua_difference(labels, _is_right(own), _is_right(_pooled(first)[seed]))
    return Row(
        model=model,
        adapts_to_speaker=restore_model_params(card.architecture, model).adapts_to_speaker,
        num_parameters=card.num_parameters,
        seconds=statistics.mean(cell.run.seconds for cell in cells),
        validation_ua=tuple(
            statistics.mean(cell.card.validation.ua for cell in cells if cell.seed == each)
            for each in pooled
        ),
        wa=statistics.mean(each.wa for each in scores),
        ua=tuple(each.ua for each in scores),
        interval=ua_interval(actual, _is_right(own), np.array(list(own["speaker"]))),
        gain=gain,
        folds=tuple(each.ua for each in by_fold),
        wa_folds=tuple(each.wa for each in by_fold),
        runs=tuple(cell.source for cell in cells),
        history=tuple({key: row[key] for key in ("epoch", *CURVES)} for row in history),
        conditions=_under_conditions([cell for cell in cells if cell.seed == seed]),
    )
