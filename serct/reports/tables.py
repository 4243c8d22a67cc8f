"""The report's tables."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from serct.evaluation.metrics import METRICS, ByMetric
from serct.evaluation.significance import mcnemar
from serct.reports.model_card import PROBES
from serct.reports.page import DASH, MAJORITY, Cell, Table, bar, duration
from serct.reports.results import Result, TrainedModel
from serct.reports.thesis import TRAINING_HOURS

_COVERAGES = ("50%", "80%", "100%")


def overviews(results: Sequence[Result]) -> list[Table]:
    """Return UA of every model on every test, masked where zero-shot, by `TrainedModel.kind`."""
    return [_overview(group) for group in _by_kind(results)]


def _by_kind(results: Iterable[Result]) -> list[list[Result]]:
    """Divide results: what learned from far more speech stands in tables of its own."""
    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(result.trained.kind, []).append(result)
    return [found[kind] for kind in sorted(found)]


def _overview(results: Sequence[Result]) -> Table:
    shown = [result for result in results if result.kind != "unmasked"]
    tests = {
        (r.trained.corpus, r.test): f"{r.tested_on}, test part"
        if r.kind == "test"
        else f"{r.tested_on}, zero-shot from {r.trained.trained_on}"
        for r in shown
    }
    by_place = {(r.trained.name, r.trained.corpus, r.test): r for r in shown}
    names = list(dict.fromkeys(r.trained.name for r in shown))
    rows = [[by_place[name, *test].scores.ua for test in tests] for name in names]
    best = [max(column) for column in zip(*rows, strict=True)]
    cells = [tuple(bar(ua, ua == top) for ua, top in zip(row, best, strict=True)) for row in rows]
    first = [by_place[names[0], *test] for test in tests]
    baselines = [(Cell(MAJORITY), *(bar(result.majority.ua) for result in first))]
    for probe in shown[0].trained.metrics.probes:
        found = [r.trained.metrics.probes.get(probe) if r.kind == "test" else None for r in first]
        alone = (Cell(DASH) if ua is None else bar(ua) for ua in found)
        baselines.append((Cell(PROBES.get(probe, probe)), *alone))
    return Table(
        caption=f"UA (mean recall) of every model{shown[0].trained.kind} on every test, the best "
        "of each column bold; then UA from duration or level alone",
        header=("model", *tests.values()),
        rows=(*((Cell(name), *row) for name, row in zip(names, cells, strict=True)), *baselines),
    )


def in_domain_tables(results: Sequence[Result]) -> list[Table]:
    """Return the tables of each corpus trained on: scores on its test part, and the thesis'."""
    tables = []
    by_corpus: dict[str, list[Result]] = {}
    for result in results:
        if result.kind == "test":
            by_corpus.setdefault(result.trained.corpus, []).append(result)
    for rows in (group for found in by_corpus.values() for group in _by_kind(found)):
        first = rows[0]
        seeds = ", ".join(str(seed) for seed in sorted({r.trained.card.seed for r in rows}))
        best = max(rows, key=lambda row: row.scores.ua)
        mcnemar_name = f"p against {best.trained.name} (McNemar)"
        cells = [
            {
                **_scores(row),
                "loss": _score(row.scores.loss),
                mcnemar_name: DASH
                if row is best
                else f"{mcnemar(best.is_right, row.is_right):.2g}",
            }
            for row in rows
        ]
        caption = (
            f"Trained on {first.trained.trained_on}{first.trained.kind}, tested on its test part: "
            f"{first.n} "
            f"utterances, {first.trained.card.protocol} protocol, seed {seeds}"
        )
        tables.append(_by_model(caption, rows, cells))
    return tables


def zero_shot_tables(results: Sequence[Result]) -> list[Table]:
    """Return the tables of each corpus trained on and each corpus tested on without training."""
    by_place: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        if result.kind == "masked":
            by_place.setdefault((result.trained.corpus, result.test), []).append(result)
    tables = []
    groups = ((t, g) for (_, t), found in by_place.items() for g in _by_kind(found))
    for test, rows in groups:
        first = rows[0]
        target = first.trained.targets[test]
        dropped = ", ".join(f"{n} {emotion}" for emotion, n in target.dropped.items() if n)
        caption = (
            f"Trained on {first.trained.trained_on}{first.trained.kind}, tested on "
            f"{first.tested_on} without training on it: {first.n} utterances of "
            f"{len(target.shared)} shared emotions ({', '.join(target.shared)}); dropped: "
            f"{dropped or 'none'}"
        )
        cells = [
            _scores(row) | _by_metric(row.trained.targets[test].unmasked, ", unmasked")
            for row in rows
        ]
        tables.append(_by_model(caption, rows, cells, ("", ", unmasked")))
    return tables


def joined_table(models: Sequence[TrainedModel]) -> Table | None:
    """Return what joint corpora held in training, and the scores on each; None without one."""
    rows = []
    for model in models:
        tested = model.metrics.groups.get("corpus")
        scored = tested.groups if tested else {}
        for name, each in model.card.corpora.items() if len(model.card.corpora) > 1 else ():
            group = scored.get(name)
            rows.append(
                {
                    "model": model.name,
                    "trained on": model.trained_on,
                    "corpus": f"{name} ({each.language})",
                    "in training": f"{each.utterances:,}",
                    "speakers": str(each.speakers or DASH),
                    "in the test part": str(group.n) if group else "none",
                    "UA": _score(group.ua if group else None),
                }
            )
    caption = "Joint corpora: what was in training, and the test part by corpus"
    return Table.from_rows(caption, rows, num_names=3) if rows else None


def trust_table(models: Sequence[TrainedModel]) -> Table:
    """Return how well each model's confidence agrees with accuracy, and its worst groups."""
    rows = []
    for model in models:
        worst = model.metrics.worst_groups()
        groups = (f"{kind} {name}: {group.wa:.3f} of {group.n}" for kind, name, group in worst)
        calibration = model.metrics.calibration
        risks = calibration.risk_at_coverage if calibration else {}
        rows.append(
            {
                "model": model.name,
                "trained on": model.trained_on,
                "lowest WA (WA of n)": "; ".join(groups) or DASH,
                "calibration error before": _score(calibration.ece_before if calibration else None),
                "after": _score(calibration.ece if calibration else None),
                **{f"wrong among {key}": _score(risks.get(key)) for key in _COVERAGES},
            }
        )
    return Table.from_rows(
        "On the test part: expected calibration error before and after the temperature, wrong "
        "predictions among the most confident, and the group with the lowest WA of each kind",
        rows,
        num_names=3,
    )


def time_table(models: Sequence[TrainedModel]) -> Table:
    """Return how long each training took, where, and how long the thesis' took."""
    rows = []
    for model in models:
        hours = TRAINING_HOURS.get(model.name)
        machine = model.run.machine
        cores = f", {machine.num_cores} cores" if machine.num_cores else ""
        where = machine.gpu if model.run.device != "cpu" and machine.gpu else machine.cpu
        rows.append(
            {
                "model": model.name,
                "trained on": model.trained_on,
                "device and machine": f"{model.run.device}: {where or 'unknown'}{cores}",
                "parameters": f"{model.card.num_parameters:,}",
                "epoch chosen": f"{model.card.best_epoch} of {len(model.history)}",
                "time": duration(model.run.seconds),
                "thesis": f"{hours:.2f} h" if hours is not None else DASH,
            }
        )
    caption = "Training time, and the thesis' on one NVIDIA A100 (its table 2)"
    return Table.from_rows(caption, rows, num_names=3)


def origin_table(models: Sequence[TrainedModel]) -> Table:
    """Return where each model came from: enough to find it and to train it again."""
    rows = [
        {
            "model": model.name,
            "trained on": model.trained_on,
            "protocol": model.card.protocol,
            "run": (model.run.run_id or DASH)[:12],
            "fingerprint": model.card.fingerprint[:12],
            "manifest": model.metrics.manifest_digest[:12],
            "commit": (model.run.git_commit or DASH)[:10],
            "started (UTC)": model.run.started_at[:16].replace("T", " "),
            "seed": str(model.card.seed),
            "validation UA": _score(model.card.validation.ua),
        }
        for model in models
    ]
    caption = "Where each model came from; all digits are in results.csv"
    return Table.from_rows(caption, rows, num_names=8)


def _by_model(
    caption: str,
    rows: Sequence[Result],
    cells: Sequence[Mapping[str, str]],
    suffixes: Sequence[str] = ("",),
) -> Table:
    """Return a table of results beside the thesis', above the majority baseline's."""
    listed = [
        {"model": row.trained.name, **own, **_thesis(row)}
        for row, own in zip(rows, cells, strict=True)
    ]
    baseline = {"model": MAJORITY}
    for suffix in suffixes:
        baseline |= _by_metric(rows[0].majority, suffix)
    return Table.from_rows(caption, [*listed, baseline])


def _by_metric(scores: ByMetric, suffix: str = "") -> dict[str, str]:
    """Return the cells of all metrics."""
    return {f"{name.upper()}{suffix}": _score(scores.metrics.get(name)) for name in METRICS}


def _scores(result: Result) -> dict[str, str]:
    """Return the cells of all metrics, with the intervals of WA and UA."""
    low, high = result.wa_interval
    ua = result.ua_interval
    intervals = {
        "WA": f"{low:.3f} to {high:.3f}",
        "UA": f"{ua.low:.3f} to {ua.high:.3f}, {ua.over}" if ua else DASH,
    }
    cells = {}
    for name, value in _by_metric(result.scores).items():
        cells[name] = value
        if name in intervals:
            cells[f"{name}, 95 % interval"] = intervals[name]
    return cells


def _thesis(result: Result) -> dict[str, str]:
    """Return the cells of the thesis' scores, each with the difference of ours from it."""
    if result.thesis is None:
        return {}
    ours = result.scores.metrics
    return {
        f"thesis {name.upper()} (difference)": f"{theirs:.4f} ({ours[name] - theirs:+.4f})"
        for name, theirs in asdict(result.thesis).items()
    }


def _score(score: float | None) -> str:
    return DASH if score is None else f"{score:.4f}"
