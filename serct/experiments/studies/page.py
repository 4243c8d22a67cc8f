"""The page of studies: question, results, and the source of every number."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from markupsafe import Markup

from serct.experiments.studies.results import Comparison, Row, StudyResult
from serct.reports import plots
from serct.reports.model_card import PROBES
from serct.reports.page import DASH, MAJORITY, Cell, Table, as_cells, bar, duration, render


def studies_page(studies: Sequence[StudyResult]) -> str:
    """Return the page as one HTML file, figures included."""
    return render(
        "experiments/studies/studies.html.j2",
        overview=overview(studies),
        sections=[
            {
                "name": study.name,
                "asks": study.asks,
                "tables": [
                    *corpora_tables(study),
                    *(scores_table(study, test) for test in study.tests),
                    *published_tables(study),
                    *conditions_tables(study),
                ],
                "figures": _figures(study),
                "origin": origin_table(study),
            }
            for study in studies
        ],
    )


def overview(studies: Sequence[StudyResult]) -> Table:
    """Return the table of each model's UA in each test: what new speakers, words or rooms cost."""
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
        caption="UA of every model in every test: mean over seeds; the best of each row is bold",
        header=("test", *models, MAJORITY),
        rows=tuple(rows),
    )


def scores_table(study: StudyResult, test: Comparison) -> Table:
    """Return the table of one test of a study, with the baselines that use no speech content."""
    rows = [_scores(row, test) for row in test.rows]
    baselines = [(MAJORITY, f"{test.majority_wa:.3f}", test.majority_ua)]
    baselines += [(PROBES.get(name, name), DASH, ua) for name, ua in test.probes.items()]
    for name, wa, ua in baselines:
        rows.append((Cell(name), Cell(DASH), Cell(wa), bar(ua), *[Cell(DASH)] * 5))
    where = _protocol(study)
    if test.is_zero_shot:
        where = f"tested zero-shot on {test.tested_on}"
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
            "gain over the first model, 95 %",
            "UA of each fold (first seed)",
            "parameters",
            "training time of one cell",
        ),
        rows=tuple(rows),
    )


def published_tables(study: StudyResult) -> list[Table]:
    """Return the table beside published scores of each test that has any: means over folds."""
    tables = []
    for test in study.tests:
        if not test.published:
            continue
        ours = [
            (Cell(_name(row)), bar(statistics.mean(row.folds)), bar(statistics.mean(row.wa_folds)))
            for row in test.rows
        ]
        theirs = [
            (Cell(f"{each.model}, published"), bar(each.ua), bar(each.wa))
            for each in test.published
        ]
        caption = f"Beside published scores: {test.corpus}, {test.n} utterances, mean over folds"
        tables.append(
            Table(
                caption=f"{caption}; {shared_speakers(test)}" if test.shared_speakers else caption,
                header=("model", "UA", "WA"),
                rows=tuple(sorted([*ours, *theirs], key=lambda row: -float(row[1].text))),
            )
        )
    return tables


def shared_speakers(test: Comparison) -> str:
    """Return in words how many speakers of the test parts training has, "" if not known.

    Example:
        >>> from serct.experiments.studies.results import SharedSpeakers
        >>> shared = SharedSpeakers(num_shared=0, num_tested=24)
        >>> shared_speakers(Comparison.model_construct(shared_speakers=shared))
        'no speaker of a test part is in its training part'
    """
    shared = test.shared_speakers
    if shared is None:
        return ""
    if not shared.num_shared:
        return "no speaker of a test part is in its training part"
    return (
        f"NOT speaker-independent: {shared.num_shared} of {shared.num_tested} speakers of test "
        "parts are in training too"
    )


def conditions_tables(study: StudyResult) -> list[Table]:
    """Return the table of UA under conditions of each test that states any."""
    tables = []
    for test in study.tests:
        labels = list(dict.fromkeys(label for row in test.rows for label in row.conditions))
        if labels:
            rows = [(Cell(_name(row)), *(bar(row.conditions[label]) for label in labels))
                    for row in test.rows]  # fmt: skip
            caption = f"UA under conditions, trained on {test.corpus}, first seed: folds pooled"
            tables.append(Table(caption=caption, header=("model", *labels), rows=tuple(rows)))
    return tables


def corpora_tables(study: StudyResult) -> list[Table]:
    """Return the table of what each further training corpus gives, if the study asks that."""
    found = study.by_num_corpora()
    counts = sorted({count for scores in found.values() for count in scores})
    if len(counts) < 2:
        return []
    tested = dict.fromkeys(test.tested_on for test in study.tests if test.is_zero_shot)
    adapting = {row.model for test in study.tests for row in test.rows if row.adapts_to_speaker}
    rows = [
        (
            Cell(f"{model}, with speaker enrolment" if model in adapting else model),
            *(bar(scores[count]) if count in scores else Cell(DASH) for count in counts),
        )
        for model, scores in found.items()
    ]
    return [
        Table(
            caption="UA on corpora never seen, by how many others training saw: mean over "
            + ", ".join(tested),
            header=(
                "model",
                *(f"{count} corpora" if count > 1 else "1 corpus" for count in counts),
            ),
            rows=tuple(rows),
        )
    ]


def origin_table(study: StudyResult) -> Table:
    """Return the table of the run and the manifest behind each number."""
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
    """Return a score as text, or the mean and standard deviation of several.

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


def _figures(study: StudyResult) -> list[Markup]:
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
    return f"{row.model}, with speaker enrolment" if row.adapts_to_speaker else row.model


def _ua(row: Row, test: Comparison) -> Cell:
    """Return the UA; the best one is marked among models without enrolment, another protocol."""
    others = [statistics.mean(each.ua) for each in test.rows if not each.adapts_to_speaker]
    ua = statistics.mean(row.ua)
    return bar(ua, is_best=not row.adapts_to_speaker and ua == max(others))


def _protocol(study: StudyResult) -> str:
    folds = f" in {study.num_folds} folds" if study.num_folds > 1 else ""
    return f"{study.protocol} protocol{folds}"
