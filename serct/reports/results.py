"""Results: the files of training and evaluation, read back, checked and lined up.

Only what the pipeline's parameters name is read, so a folder left over from another experiment
never gets into a report.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from serct.config.files import read_rows
from serct.config.params import PipelineParams
from serct.errors import ReportError
from serct.evaluation.importance import FeatureImportance, read_importance
from serct.evaluation.records import (
    METRICS_FILE,
    Baseline,
    Confusion,
    EvaluationMetrics,
    RobustnessMetrics,
    ScoreSet,
    Target,
    ZeroShotMetrics,
    read_robustness,
)
from serct.evaluation.significance import Interval
from serct.models.records import Card, RunRecord, read_history
from serct.reports.thesis import THESIS, Published
from serct.runtime.digests import check_files

Kind = Literal["test", "masked", "unmasked"]
# Corpora whose models the thesis tests, and the corpora that it tests them on without training.
_TRAINED_IN_THESIS = ("tess", "esd_en")
_ZERO_SHOT_IN_THESIS = ("emodb", "esd_zh")
# What metrics.json holds of each test.
SCORES = ("wa", "ua", "wf1")
# Normal quantile of a two-sided 95 % interval.
_Z = 1.959964


def label(corpus: str, synthetic: bool) -> str:
    """Return the name of a corpus, marked if its speech is synthetic."""
    return f"{corpus} (synthetic speech)" if synthetic else corpus


@dataclass(frozen=True)
class TrainedModel:
    """One model trained on one corpus, with its records and results.

    Attributes:
        history: Rows of history.csv, without empty cells.
        importance: Of its features' groups; None of a network, and of models of older versions.
        robustness: UA under conditions; None if none was tested.
        predictions: (actual, predicted) of each utterance of the test part.
        targets: By zero-shot corpus.
        zero_shot_confusions: By zero-shot corpus, over the shared emotions.
    """

    name: str
    corpus: str
    card: Card
    run: RunRecord
    history: tuple[Mapping[str, float], ...]
    importance: FeatureImportance | None
    metrics: EvaluationMetrics
    robustness: RobustnessMetrics | None
    confusion: Confusion
    predictions: tuple[tuple[str, str], ...]
    targets: Mapping[str, Target]
    zero_shot_confusions: Mapping[str, Confusion]

    @property
    def trained_on(self) -> str:
        """The corpus, marked if its speech is synthetic."""
        return label(self.corpus, self.card.synthetic)

    @property
    def kind(self) -> str:
        """What captions add: "" of a model that saw nothing but the corpus, else its encoder."""
        encoder = self.card.architecture.get("encoder")
        return f" on the pretrained encoder {encoder['name']}" if isinstance(encoder, dict) else ""


@dataclass(frozen=True)
class Result:
    """One trained model on one test.

    Attributes:
        test: The corpus tested on.
        kind: test: the test part of the corpus trained on. masked, unmasked: a corpus never
            trained on, where only the shared emotions (any emotion) may be predicted.
        synthetic: Whether the test is synthetic speech.
        n: Utterances scored.
        dropped: Utterances left out since the model does not have their emotion.
        ua_interval: None for unmasked scores.
    """

    trained: TrainedModel
    test: str
    kind: Kind
    synthetic: bool
    n: int
    dropped: int
    scores: ScoreSet
    majority: Baseline
    ua_interval: Interval | None

    @property
    def tested_on(self) -> str:
        """The corpus tested on, marked if its speech is synthetic."""
        return label(self.test, self.synthetic)

    @property
    def thesis(self) -> Published | None:
        """The thesis' scores of this model on this test; None where it has none."""
        tests = _TRAINED_IN_THESIS if self.kind == "test" else _ZERO_SHOT_IN_THESIS
        if self.test not in tests or self.trained.corpus not in _TRAINED_IN_THESIS:
            return None
        return THESIS.get((self.test, self.trained.name))

    @property
    def is_right(self) -> npt.NDArray[np.bool_]:
        """Where the model is right on the test part, in the order of its utterances. bool [n]."""
        return np.array([a == b for a, b in self.trained.predictions], dtype=np.bool_)

    @property
    def wa_interval(self) -> tuple[float, float]:
        """The 95 % interval of WA, given n; not over other trainings.

        Source:
            Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
        """
        z2 = _Z**2 / self.n
        middle = (self.scores.wa + z2 / 2) / (1 + z2)
        spread = math.sqrt(self.scores.wa * (1 - self.scores.wa) * z2 + z2**2 / 4) / (1 + z2)
        return max(0.0, middle - spread), min(1.0, middle + spread)


def read_results(data: Path, pipeline: PipelineParams) -> tuple[TrainedModel, ...]:
    """Read the results of every model on every corpus that the pipeline names.

    Args:
        data: The folder that holds ``models`` and ``reports``.
        pipeline: Which models and corpora.

    Returns:
        By corpus, then by model, in the pipeline's order.

    Raises:
        ReportError: If the pipeline names no model or corpus, or a file is missing (naming the
            stage that writes it), is not what it should be, or scores another training than the
            one on disk.
    """
    if not pipeline.models or not pipeline.train_corpora:
        raise ReportError(
            "nothing to report: pipeline.models or pipeline.train_corpora is empty, expected at "
            "least one entry in each"
        )
    return tuple(
        _read_model(data, corpus, model, pipeline.zero_shot_corpora)
        for corpus in pipeline.train_corpora
        for model in pipeline.models
    )


def line_up(models: Sequence[TrainedModel]) -> Iterator[Result]:
    """Yield one result for each trained model, test and way of scoring."""
    for model in models:
        own = model.metrics
        test = (own.synthetic, own.n, 0, own, own.majority, own.ua_interval)
        yield Result(model, model.corpus, "test", *test)
        for corpus, found in model.targets.items():
            counts = (found.synthetic, found.n, sum(found.dropped.values()))
            masked = (found.masked, found.majority, found.ua_interval)
            yield Result(model, corpus, "masked", *counts, *masked)
            yield Result(model, corpus, "unmasked", *counts, found.unmasked, found.majority, None)


def _read_model(
    data: Path, corpus: str, model: str, zero_shot_corpora: Sequence[str]
) -> TrainedModel:
    trained, tested, zero_shot = (
        data / parent / f"{corpus}-{model}"
        for parent in ("models", "reports/evaluate", "reports/zero_shot")
    )
    by_train, by_evaluate, by_zero_shot = (
        f"the {stage} stage (model {model}, corpus {corpus}) writes it"
        for stage in ("train", "evaluate", "zero_shot")
    )
    card = Card.read(trained / "card.json", by_train, ReportError)
    if (card.name, card.corpus) != (model, corpus):
        raise ReportError(
            f"{trained / 'card.json'}: the card of {card.name} on {card.corpus}, expected that of "
            f"{model} on {corpus}; {by_train}"
        )
    run = RunRecord.read(trained / "run.json", by_train, ReportError)
    metrics = EvaluationMetrics.read(tested / "metrics.json", by_evaluate)
    fingerprints = {
        trained / "run.json": (run.fingerprint, by_train),
        tested / "metrics.json": (metrics.fingerprint, by_evaluate),
    }
    found: dict[str, Target] = {}
    if targets := [target for target in zero_shot_corpora if not card.has_seen(target)]:
        path = zero_shot / "metrics.json"
        scored = ZeroShotMetrics.read(path, by_zero_shot)
        fingerprints[path] = (scored.fingerprint, by_zero_shot)
        if missing := [target for target in targets if target not in scored.targets]:
            raise ReportError(f"{path}: no scores on {', '.join(missing)}; {by_zero_shot}")
        check_files(zero_shot, scored.files, METRICS_FILE, ReportError)
        found = {target: scored.targets[target] for target in targets}
    for path, (fingerprint, stage) in fingerprints.items():
        if fingerprint != card.fingerprint:
            raise ReportError(
                f"{path}: fingerprint {fingerprint[:12]}, but {trained / 'card.json'} has "
                f"{card.fingerprint[:12]}: these are results of another training; {stage}"
            )
    check_files(tested, metrics.files, METRICS_FILE, ReportError)
    columns = ("emotion", "predicted")
    rows = read_rows(tested / "predictions.csv", columns, by_evaluate, ReportError)
    return TrainedModel(
        name=model,
        corpus=corpus,
        card=card,
        run=run,
        history=read_history(trained, by_train, ReportError),
        importance=read_importance(trained, run.files, by_train, ReportError),
        metrics=metrics,
        robustness=read_robustness(tested, metrics, by_evaluate),
        confusion=Confusion.read(tested / "confusion.json", by_evaluate),
        predictions=tuple((row["emotion"], row["predicted"]) for row in rows),
        targets=found,
        zero_shot_confusions={
            target: Confusion.read(zero_shot / f"confusion-{target}.json", by_zero_shot)
            for target in targets
        },
    )


def tabulate_scores(results: Iterable[Result]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the scores that DVC compares: by corpus trained on, model, test and metric.

    A test is "test", the corpus' own test part, or the name of a corpus that the model was not
    trained on, where only the shared emotions may be predicted. Scores are 0..1, six digits.
    """
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for result in results:
        if result.kind == "unmasked":
            continue
        test = "test" if result.kind == "test" else result.test
        tests = table.setdefault(result.trained.corpus, {}).setdefault(result.trained.name, {})
        tests[test] = {name: round(result.scores.metrics[name], 6) for name in SCORES}
    return table
