"""The page of studies: what each asked, what was found, and where every number comes from."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from markupsafe import Markup

from serct.experiments.studies.results import Comparison, Row, StudyResult
from serct.reports import plots
from serct.reports.model_card import PROBES
from serct.reports.page import DASH, MAJORITY, Cell, Table, as_cells, bar, duration, render


def studies_page(studies: Sequence[StudyResult]) -> str:
    """Give the page as HTML, with all it shows inside."""
    return render(
        "experiments/studies/studies.html.j2",
        overview=overview(studies),
        sections=[
            {
                "name": study.name,
                "asks": study.asks,
                "tables": [scores_table(study, test) for test in study.tests],
                "figures": [Markup(svg) for svg in _figures(study)],  # noqa: S704
                "origin": origin_table(study),
            }
            for study in studies
        ],
    )


def overview(studies: Sequence[StudyResult]) -> Table:
    """UA of every model in every test: what a model loses when voices, words or rooms are new."""
    tests = [(study, test) for study in studies for test in study.tests]
    models = list(dict.fromkeys(_name(row) for _, test in tests for row in test.rows))
    rows = []
    for study, test in tests:
        name = f"{test.corpus}, {_protocol(study)} ({study.name})"
        if test.is_zero_shot:
            name = f"{test.tested_on}, zero-shot from {test.corpus} ({study.name})"
        found = {_name(row): _ua(row, test) for row in test.rows}
        cells = (found.get(model, Cell(DASH)) for model in models)
        rows.append((Cell(name), *cells, bar(test.majority_ua)))
    return Table(
        caption="UA of every model in every test, the mean over seeds, the best of each row bold",
        header=("test", *models, MAJORITY),
        rows=tuple(rows),
    )


def scores_table(study: StudyResult, test: Comparison) -> Table:
    """One test of a study, and what can be told there without listening."""
    rows = [_scores(row, test) for row in test.rows]
    baselines = [(MAJORITY, f"{test.majority_wa:.3f}", test.majority_ua)]
    baselines += [(PROBES.get(name, name), DASH, ua) for name, ua in test.probes.items()]
    for name, wa, ua in baselines:
        rows.append((Cell(name), Cell(DASH), Cell(wa), bar(ua), *[Cell(DASH)] * 5))
    where = _protocol(study)
    if test.is_zero_shot:
        where = f"tested on {test.tested_on}, never heard"
    seeds = "seed" if len(study.seeds) == 1 else "seeds"
    return Table(
        caption=f"Trained on {test.corpus}, {where}: {test.n} utterances, "
        f"{seeds} {', '.join(map(str, study.seeds))}",
        header=(
            "model",
            "validation UA",
            "WA",
            "UA",
            "95 % (first seed)",
            "over the first model, 95 %",
            "UA of each fold (first seed)",
            "parameters",
            "training time, of a cell",
        ),
        rows=tuple(rows),
    )


def origin_table(study: StudyResult) -> Table:
    """The run and the manifest behind each number."""
    rows = [
        (row.model, test.corpus, each.cell, each.run or DASH, each.manifest[:12])
        for test in study.tests
        if not test.is_zero_shot
        for row in test.rows
        for each in row.runs
    ]
    return Table(
        caption="Where the numbers come from",
        header=("model", "trained on", "workspace", "run", "manifest"),
        rows=as_cells(rows),
        num_names=5,
    )


def spread(values: Sequence[float]) -> str:
    """Give a score, or the mean and standard deviation of several.

    Example:
        >>> spread([0.5]), spread([0.5, 0.7])
        ('0.500', '0.600 ± 0.141')
    """
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


def _scores(row: Row, test: Comparison) -> tuple[Cell, ...]:
    return (
        Cell(_name(row)),
        Cell(spread(row.validation_ua)),
        Cell(f"{row.wa:.3f}"),
        replace(_ua(row, test), text=spread(row.ua)),
        Cell(f"{row.interval.low:.3f} to {row.interval.high:.3f}, {row.interval.over}"),
        Cell(f"{row.gain[0]:+.3f} to {row.gain[1]:+.3f}" if row.gain else DASH),
        Cell(" ".join(f"{ua:.3f}" for ua in row.folds)),
        Cell(f"{row.num_parameters:,}"),
        Cell(duration(row.seconds)),
    )


def _figures(study: StudyResult) -> list[str]:
    figures = []
    for test in study.tests:
        what = f"{study.name}: {test.corpus}"
        if test.is_zero_shot:
            what += f" to {test.tested_on}"
        figures.append(
            plots.scores_figure(
                [_name(row) for row in test.rows],
                [row.ua for row in test.rows],
                [(row.interval.low, row.interval.high) for row in test.rows],
                [row.seconds for row in test.rows],
                what,
            )
        )
        curves: Mapping[str, Sequence[Mapping[str, float]]] = {
            row.model: row.history for row in test.rows if len(row.history) > 1
        }
        if curves and not test.is_zero_shot:
            figures.append(plots.curves_figure(curves, f"{what}, curves of the first cell"))
    return [plots.to_svg(figure) for figure in figures]


def _name(row: Row) -> str:
    return f"{row.model}, voices heard first" if row.hears_voices else row.model


def _ua(row: Row, test: Comparison) -> Cell:
    """The best is the best of strangers: to have heard a voice is another protocol."""
    strangers = [statistics.mean(each.ua) for each in test.rows if not each.hears_voices]
    ua = statistics.mean(row.ua)
    return bar(ua, is_best=not row.hears_voices and ua == max(strangers))


def _protocol(study: StudyResult) -> str:
    folds = f" in {study.num_folds} folds" if study.num_folds > 1 else ""
    return f"{study.protocol} protocol{folds}"
