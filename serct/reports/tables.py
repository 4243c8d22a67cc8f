"""The report's tables."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from serct.evaluation.significance import mcnemar
from serct.reports.model_card import PROBES
from serct.reports.results import Kind, Result, TrainedModel
from serct.reports.table import DASH, MAJORITY, Cell, Table, as_cells, bar, duration
from serct.reports.thesis import TRAINING_HOURS

_COVERAGES = ("50%", "80%", "100%")
Column = tuple[str, list[str]]


def label(corpus: str, synthetic: bool) -> str:
    """Name a corpus, and say so wherever its speech is synthetic."""
    return f"{corpus} (synthetic speech)" if synthetic else corpus


def overview(results: Sequence[Result]) -> Table:
    """UA of every model on every test, masked where zero-shot."""
    shown = [result for result in results if result.kind != "unmasked"]
    tests: dict[tuple[str, str], str] = {}
    for result in shown:
        named = label(result.test, result.synthetic)
        trained = label(result.trained.corpus, result.trained.card.synthetic)
        tests[result.trained.corpus, result.test] = (
            f"{named}, test part" if result.kind == "test" else f"{named}, zero-shot from {trained}"
        )
    by_place = {(r.trained.name, r.trained.corpus, r.test): r for r in shown}
    names = list(dict.fromkeys(r.trained.name for r in shown))
    rows = [
        (Cell(name), *(bar(by_place[name, *test].scores.ua) for test in tests)) for name in names
    ]
    baselines = [(Cell(MAJORITY), *(bar(by_place[names[0], *test].majority.ua) for test in tests))]
    for probe in shown[0].trained.metrics.probes:
        cells = []
        for test in tests:
            result = by_place[names[0], *test]
            probes = result.trained.metrics.probes if result.kind == "test" else {}
            alone = probes.get(probe)
            cells.append(Cell(DASH) if alone is None else bar(alone))
        baselines.append((Cell(PROBES.get(probe, probe)), *cells))
    return Table(
        caption="UA (mean recall) of every model on every test, the best of each column bold; then "
        "what can be told without listening",
        header=("model", *tests.values()),
        rows=(*_mark_best(rows), *baselines),
    )


def in_domain_tables(results: Sequence[Result]) -> list[Table]:
    """One table for each corpus trained on: scores on its test part, and the thesis'."""
    tables = []
    for corpus, group in groupby(
        (r for r in results if r.kind == "test"), key=lambda r: r.trained.corpus
    ):
        rows = list(group)
        first = rows[0]
        seeds = ", ".join(str(seed) for seed in sorted({r.trained.card.seed for r in rows}))
        losses = ("loss", [_score(r.scores.loss) for r in rows] + [DASH])
        tables.append(
            _by_model(
                f"Trained on {label(corpus, first.trained.card.synthetic)}, tested on its test "
                f"part: {first.n} utterances, {first.trained.card.protocol} protocol, seed {seeds}",
                rows,
                [*_score_columns(rows), losses, _mcnemar_column(rows), *_thesis_columns(rows)],
            )
        )
    return tables


def zero_shot_tables(results: Sequence[Result]) -> list[Table]:
    """One table for each corpus trained on and each corpus tested on without training."""
    by_place: dict[tuple[str, str], dict[Kind, list[Result]]] = {}
    for result in results:
        if result.kind != "test":
            kinds = by_place.setdefault((result.trained.corpus, result.test), {})
            kinds.setdefault(result.kind, []).append(result)
    tables = []
    for (corpus, test), kinds in by_place.items():
        rows = kinds["masked"]
        first = rows[0]
        target = first.trained.targets[test]
        dropped = ", ".join(f"{n} {emotion}" for emotion, n in target.dropped.items() if n)
        unmasked = [
            (f"{name}, unmasked", values)
            for name, values in _score_columns(kinds["unmasked"])
            if "interval" not in name
        ]
        tables.append(
            _by_model(
                f"Trained on {label(corpus, first.trained.card.synthetic)}, tested on "
                f"{label(test, first.synthetic)} without having seen it: {first.n} utterances of "
                f"{len(target.shared)} shared emotions ({', '.join(target.shared)}); dropped: "
                f"{dropped or 'none'}",
                rows,
                [*_score_columns(rows), *unmasked, *_thesis_columns(rows)],
            )
        )
    return tables


def trust_table(models: Sequence[TrainedModel]) -> Table:
    """Whether each model's confidence can be believed, and whom it serves worst."""
    rows = []
    for model in models:
        calibration = model.metrics.calibration
        risks = calibration.risk_at_coverage if calibration else {}
        worst = []
        for kind, found in model.metrics.groups.items():
            if found.worst is not None and len(found.groups) > 1:
                group = found.groups[found.worst]
                worst.append(f"{kind} {found.worst}: {group.wa:.3f} of {group.n}")
        rows.append(
            (
                model.name,
                label(model.corpus, model.card.synthetic),
                "; ".join(worst) or DASH,
                _score(calibration.ece_before) if calibration else DASH,
                _score(calibration.ece) if calibration else DASH,
                *(_score(risks[key]) if key in risks else DASH for key in _COVERAGES),
            )
        )
    return Table(
        caption="On the test part: expected calibration error before and after the temperature, "
        "wrong answers among the most confident, and the group with the lowest WA of each kind",
        header=(
            "model",
            "trained on",
            "served worst (WA of n)",
            "calibration error before",
            "after",
            *(f"wrong among {key}" for key in _COVERAGES),
        ),
        rows=as_cells(rows),
        num_names=3,
    )


def time_table(models: Sequence[TrainedModel]) -> Table:
    """How long each training took, where, and what the thesis needed."""
    rows = []
    for model in models:
        hours = TRAINING_HOURS.get(model.name)
        machine = model.run.machine
        cores = f", {machine.num_cores} cores" if machine.num_cores else ""
        where = machine.gpu if model.run.device != "cpu" and machine.gpu else machine.cpu
        rows.append(
            (
                model.name,
                label(model.corpus, model.card.synthetic),
                f"{model.run.device}: {where or 'unknown'}{cores}",
                f"{model.card.num_parameters:,}",
                f"{model.card.best_epoch} of {len(model.history)}",
                duration(model.run.seconds),
                f"{hours:.2f} h" if hours is not None else DASH,
            )
        )
    return Table(
        caption="Training time, and the thesis' on one NVIDIA A100 (its table 2)",
        header=(
            "model",
            "trained on",
            "device and machine",
            "parameters",
            "epoch chosen",
            "time",
            "thesis",
        ),
        rows=as_cells(rows),
        num_names=3,
    )


def origin_table(models: Sequence[TrainedModel]) -> Table:
    """Where each model came from: enough to find it and to train it again."""
    rows = [
        (
            model.name,
            label(model.corpus, model.card.synthetic),
            model.card.protocol,
            (model.run.run_id or DASH)[:12],
            model.card.fingerprint[:12],
            model.metrics.manifest_digest[:12],
            (model.run.git_commit or DASH)[:10],
            model.run.started_at[:16].replace("T", " "),
            str(model.card.seed),
            _score(model.card.validation.ua),
        )
        for model in models
    ]
    return Table(
        caption="Where each model came from; all digits are in results.csv",
        header=(
            "model",
            "trained on",
            "protocol",
            "run",
            "fingerprint",
            "manifest",
            "commit",
            "started (UTC)",
            "seed",
            "validation UA",
        ),
        rows=as_cells(rows),
        num_names=8,
    )


def _by_model(caption: str, rows: Sequence[Result], columns: Sequence[Column]) -> Table:
    names = [*(r.trained.name for r in rows), MAJORITY]
    return Table(
        caption=caption,
        header=("model", *(name for name, _ in columns)),
        rows=as_cells(list(zip(names, *(values for _, values in columns), strict=True))),
    )


def _score_columns(rows: Sequence[Result]) -> list[Column]:
    majority = rows[0].majority
    return [
        ("WA", [_score(r.scores.wa) for r in rows] + [_score(majority.wa)]),
        ("WA, 95 % interval", [_interval(r) for r in rows] + [DASH]),
        ("UA", [_score(r.scores.ua) for r in rows] + [_score(majority.ua)]),
        ("UA, 95 % interval", [_ua_interval(r) for r in rows] + [DASH]),
        ("WF1", [_score(r.scores.wf1) for r in rows] + [_score(majority.wf1)]),
    ]


def _thesis_columns(rows: Sequence[Result]) -> list[Column]:
    if not any(r.thesis for r in rows):
        return []
    columns = []
    for name, key in (("WA", "wa"), ("UA", "ua"), ("WF1", "wf1")):
        values = [
            f"{getattr(r.thesis, key):.4f} ({getattr(r.scores, key) - getattr(r.thesis, key):+.4f})"
            if r.thesis
            else DASH
            for r in rows
        ]
        columns.append((f"thesis {name} (difference)", [*values, DASH]))
    return columns


def _mcnemar_column(rows: Sequence[Result]) -> Column:
    """How surprising each model's distance from the best would be, were both equally good."""
    best = max(rows, key=lambda row: row.scores.ua)
    chances = [
        DASH if row is best else f"{mcnemar(best.is_right, row.is_right):.2g}" for row in rows
    ]
    return f"p against {best.trained.name} (McNemar)", [*chances, DASH]


def _mark_best(rows: Sequence[tuple[Cell, ...]]) -> list[tuple[Cell, ...]]:
    best = [max((c.share or 0.0) for c in column) for column in zip(*rows, strict=True)]
    return [
        tuple(
            replace(cell, is_best=cell.share is not None and cell.share == best[i])
            for i, cell in enumerate(row)
        )
        for row in rows
    ]


def _score(score: float | None) -> str:
    return DASH if score is None else f"{score:.4f}"


def _interval(result: Result) -> str:
    low, high = result.wa_interval
    return f"{low:.3f} to {high:.3f}"


def _ua_interval(result: Result) -> str:
    interval = result.ua_interval
    if interval is None:
        return DASH
    return f"{interval.low:.3f} to {interval.high:.3f}, {interval.over}"
