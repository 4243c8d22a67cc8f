"""The measured results of the repository, in the shape in which the tables need them."""

import csv
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

from serct.experiments.bench.growth import Growth, PowerLaw, as_rows
from serct.experiments.studies.page import shared_speakers
from serct.experiments.studies.results import StudyResult
from serct.reports.thesis import ABLATION, THESIS

ROOT = Path(__file__).resolve().parents[2]
WITH_ENROLMENT = "functionals_lda_speaker"
# Names of models in files of older versions.
_RENAMED = {"voice_lda": WITH_ENROLMENT}

Scores = dict[str, dict[str, dict[str, dict[str, float]]]]


@cache
def measured(name: str) -> Any:
    """Load the JSON of a benchmark or a study."""
    return json.loads((ROOT / "benchmarks/results" / f"{name}.json").read_text("utf-8"))


def exponents(name: str) -> list[tuple[str, ...]]:
    """Return the table of a benchmark's exponents, its head first; see `as_rows`."""
    found = measured(name)["growth"]
    return as_rows([Growth(**{**each, "law": PowerLaw(**each["law"])}) for each in found])


@cache
def run(profile: str) -> list[dict[str, Any]]:
    """Load the run of a profile.

    Returns:
        Of each model its rows of results.csv by test (``test``, or a zero-shot corpus), the
        thesis' models first, in its order.
    """
    models: dict[str, dict[str, Any]] = {}
    for row in _rows(ROOT / "results" / profile / "results.csv"):
        if row["kind"] != "unmasked":
            test = "test" if row["kind"] == "test" else row["test"]
            models.setdefault(row["model"], {"name": row["model"]})[test] = row
    order = [model for corpus, model in THESIS if corpus == "tess"]
    return sorted(models.values(), key=lambda m: (*order, m["name"]).index(m["name"]))


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text("utf-8").splitlines()))


def metrics(results: Path) -> Scores:
    """Return the content of metrics.json for a results.csv: corpus, model, test, metric."""
    scores: Scores = {}
    for row in _rows(results):
        if row["kind"] != "unmasked":
            test = "test" if row["kind"] == "test" else row["test"]
            model = scores.setdefault(row["trained_on"], {}).setdefault(row["model"], {})
            model[test] = {name: float(row[name]) for name in ("wa", "ua", "wf1")}
    return scores


def full_size_metrics() -> Scores:
    """Return metrics.json of the run at full size: seed 3, each model at the rate of its entry."""
    chosen: dict[str, Any] = {}
    for row in measured("full_size-h200")["results"]:
        chosen.setdefault(row["model"], row)  # the first is of seed 3 and the default rate
    return {
        "tess": {
            model: {
                test: {name: round(scores[name], 6) for name in ("wa", "ua", "wf1")}
                for test, scores in (
                    ("test", row["test"]),
                    ("emodb", row["zero_shot_emodb"]["masked"]),
                )
            }
            for model, row in chosen.items()
        }
    }


def thesis(test: str, model: str, metric: str) -> float | None:
    """Return a score of the thesis, None if it has none; of variants of SERCT, in its table 5."""
    published = THESIS.get((test, model)) or ABLATION.get((test, model))
    return getattr(published, metric) if published else None


def study(names: list[str], tested_on: str) -> list[dict[str, Any]]:
    """Return the rows of a study's files, the highest mean UA first.

    Args:
        names: Files of which the first that has a model counts.
        tested_on: A corpus.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        if not (ROOT / f"benchmarks/results/study-{name}.json").exists():
            continue
        content = measured(f"study-{name}")
        if isinstance(content, Mapping):
            content = [{**row, **test} for test in content["tests"] for row in test["rows"]]
        for row in content:
            if row["tested_on"] == tested_on:
                model = _RENAMED.get(row["model"], row["model"])
                found.setdefault(model, {**row, "model": model})
    return sorted(found.values(), key=lambda row: -mean(row["ua"]))


# Without and with speaker enrolment, learned from the corpora alone and on a pretrained encoder.
FOR_SPEAKERS = ("functionals_lda", "functionals_lda_speaker", "whisper_lda", "whisper_lda_speaker")
# The study ran in two parts, each with half of these models.
_PARTS = ("_classical", "")
_LEFT_OUT = {"tess": "TESS", "emodb": "EMO-DB", "nemo": "nEMO"}


def _unseen_tests() -> list[dict[str, Any]]:
    """Return the tests of both parts of the study, each with the rows of all models."""
    parts = [measured(f"study-unseen_corpus{part}")["tests"] for part in _PARTS]
    return [
        {**first, "rows": [*first["rows"], *second["rows"]]}
        for first, second in zip(*parts, strict=True)
    ]


def unseen() -> list[dict[str, Any]]:
    """Return a row for each corpus left out, after training on all others, then their mean.

    Returns:
        ``title``, ``n``, and of each of `FOR_SPEAKERS` its ``ua`` and ``interval``; the mean has
        no ``n`` and no intervals.
    """
    tests = _unseen_tests()
    most = max(test["num_corpora"] for test in tests)
    rows = []
    for corpus, title in _LEFT_OUT.items():
        [test] = [t for t in tests if t["tested_on"] == corpus and t["num_corpora"] == most]
        others = " + ".join(name for key, name in _LEFT_OUT.items() if key != corpus)
        found = {row["model"]: row for row in test["rows"]}
        rows.append({"title": f"{others} to {title}", "n": test["n"], **found})
    average = {
        model: {"ua": [mean(mean(row[model]["ua"]) for row in rows)]}
        for model in FOR_SPEAKERS
        if all(model in row for row in rows)
    }
    return [*rows, {"title": "mean over the three", "n": None, **average}]


def further_corpora() -> dict[int, dict[str, float]]:
    """Return by number of training corpora the mean UA of each model on corpora never seen."""
    paths = [ROOT / f"benchmarks/results/study-unseen_corpus{part}.json" for part in _PARTS]
    models = {
        model: scores
        for path in paths
        for model, scores in StudyResult.read(path).by_num_corpora().items()
    }
    counts = sorted({count for scores in models.values() for count in scores})
    return {n: {model: scores[n] for model, scores in models.items()} for n in counts}


def beside_published(name: str) -> dict[str, Any]:
    """Return a study's test with the rows of our models and of published ones, the best first.

    Returns:
        ``n``, ``shared`` (how many speakers of test parts are in training too, in words) and
        ``rows`` of ``model``, ``ua``, ``wa``, means over folds, and ``is_ours``.
    """
    study = StudyResult.read(ROOT / f"benchmarks/results/study-{name}.json")
    [test] = study.tests
    ours = [(row.model, mean(row.folds), mean(row.wa_folds), True) for row in test.rows]
    theirs = [(each.model, each.ua, each.wa, False) for each in test.published]
    names = ("model", "ua", "wa", "is_ours")
    rows = [dict(zip(names, row, strict=True)) for row in (*ours, *theirs)]
    return {
        "n": test.n,
        "num_folds": study.num_folds,
        "shared": shared_speakers(test),
        "rows": sorted(rows, key=lambda row: -row["ua"]),
    }


def other_speakers() -> list[dict[str, Any]]:
    """Return a row, as `unseen` does, for each corpus that leaves its own speakers out.

    A corpus of which `whisper_lda` was not measured has none.
    """
    rows = []
    for corpus, title in (
        ("emodb", "EMO-DB leaving one speaker out, 7 emotions"),
        ("nemo", "nEMO leaving one speaker out, 6 emotions"),
        ("tess", "TESS, one actress to the other, 7 emotions"),
    ):
        files = [f"{corpus}_speaker_pretrained", f"{corpus}_speaker_classical"]
        found = {row["model"]: row for row in study(files, corpus)}
        if FOR_SPEAKERS[-1] in found:
            rows.append({"title": title, "n": found[FOR_SPEAKERS[-1]]["n"], **found})
    return rows
