"""The results as one table that fits a terminal."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from serct.config.params import PipelineParams
from serct.evaluation.metrics import METRICS
from serct.reports.page import DASH
from serct.reports.results import Result, line_up, read_results

_NAMES = ("model", "trained", "tested", "how")
# What a narrow terminal does without, the first one first.
_EXPENDABLE = ("majority", "thesis", "n", "WF1", "WA")
_Columns = Mapping[str, Sequence[str]]
_NOTES = "majority, thesis: UA of always the most frequent emotion, and UA in the thesis."
_ZERO_SHOT = "zero-shot: a corpus not trained on; only emotions that both have may be predicted."
_SYNTHETIC = "* synthetic speech: it shows that the pipeline works and says nothing about people."


def results_table(data: Path, pipeline: PipelineParams, width: int | None = None) -> str:
    """Return all results as one Markdown table with notes below.

    Zero-shot rows are the masked ones. A name is never cut: in a terminal that is too narrow,
    columns are left out, and then each test becomes a table of its own under a line that names it.

    Args:
        data: The folder that holds ``models`` and ``reports``.
        pipeline: Which models and corpora.
        width: Columns of the terminal; None for as many as it takes.

    Raises:
        ReportError: If a result is missing, unreadable, or of another training.
    """
    shown = _shown(data, pipeline)
    header = ("model", "trained", "tested", "how", "n", *map(str.upper, METRICS), *_EXPENDABLE[:2])
    body = [_row(result) for result in shown]
    columns: _Columns = {name: [name, *(row[i] for row in body)] for i, name in enumerate(header)}
    columns, left_out = _narrowed(columns, width)
    if width is None or _width(columns) <= width:
        lines = list(_lines(columns))
    else:
        lines, left_out = _a_table_for_each_test(header, body, width)
    notes = [_NOTES]
    if any(result.kind != "test" for result in shown):
        notes.append(_ZERO_SHOT)
    if any(result.synthetic or result.trained.card.synthetic for result in shown):
        notes.append(_SYNTHETIC)
    if left_out:
        notes.append(f"left out, since the terminal is narrow: {', '.join(left_out)}")
    if width is not None:
        notes = [_wrapped(note, width) for note in notes]
    return "\n".join([*lines, "", *notes])


def result_rows(data: Path, pipeline: PipelineParams) -> list[dict[str, Any]]:
    """Return the same results as rows of plain values; raises as `results_table`."""
    return [
        {
            "model": result.trained.name,
            "trained_on": result.trained.corpus,
            "tested_on": result.test,
            "kind": "test" if result.kind == "test" else "zero_shot",
            "synthetic": result.synthetic or result.trained.card.synthetic,
            "n": result.n,
            **{name: result.scores.metrics.get(name) for name in METRICS},
            "majority_ua": result.majority.ua,
            "thesis_ua": result.thesis and result.thesis.ua,
        }
        for result in _shown(data, pipeline)
    ]


def _shown(data: Path, pipeline: PipelineParams) -> list[Result]:
    shown = [r for r in line_up(read_results(data, pipeline)) if r.kind != "unmasked"]
    places = list(dict.fromkeys((r.trained.corpus, r.test) for r in shown))
    return sorted(shown, key=lambda r: places.index((r.trained.corpus, r.test)))


def _row(result: Result) -> tuple[str, ...]:
    scores = [result.scores.metrics.get(name) for name in METRICS]
    thesis = result.thesis and result.thesis.ua
    return (
        result.trained.name,
        result.trained.corpus + "*" * result.trained.card.synthetic,
        result.test + "*" * result.synthetic,
        "test part" if result.kind == "test" else "zero-shot",
        str(result.n),
        *(DASH if ua is None else f"{ua:.3f}" for ua in (*scores, result.majority.ua, thesis)),
    )


def _narrowed(columns: _Columns, width: int | None) -> tuple[_Columns, list[str]]:
    """Leave out columns until the rest fits, or no more may go; return those left out too."""
    kept, left_out = dict(columns), []
    for name in _EXPENDABLE:
        if width is not None and _width(kept) > width and name in kept:
            del kept[name]
            left_out.append(name)
    return kept, left_out


def _a_table_for_each_test(
    header: Sequence[str], body: Sequence[tuple[str, ...]], width: int
) -> tuple[list[str], list[str]]:
    """Return lines in which the corpora stand above the tables, and the columns left out."""
    columns: _Columns = {name: [name, *(row[i] for row in body)] for i, name in enumerate(header)}
    scores: _Columns = {name: cells for name, cells in columns.items() if name not in _NAMES[1:]}
    scores, left_out = _narrowed(scores, width)
    lines: list[str] = []
    places = [row[1 : len(_NAMES)] for row in body]
    for place in dict.fromkeys(places):
        trained, tested, how = place
        numbers = [0, *(i for i, found in enumerate(places, 1) if found == place)]
        title = _wrapped(f"trained on {trained}, tested on {tested}, {how}", width)
        part = {name: [cells[number] for number in numbers] for name, cells in scores.items()}
        lines += [*([""] if lines else []), title, *_lines(part)]
    return lines, left_out


def _wrapped(text: str, width: int) -> str:
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)


def _lines(columns: _Columns) -> Iterator[str]:
    widths = {name: max(map(len, cells)) for name, cells in columns.items()}
    for number in range(len(next(iter(columns.values())))):
        yield _line(
            cells[number].ljust(widths[name])
            if name in _NAMES
            else cells[number].rjust(widths[name])
            for name, cells in columns.items()
        )
        if number == 0:
            yield _line(
                "-" * width if name in _NAMES else "-" * (width - 1) + ":"
                for name, width in widths.items()
            )


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _width(columns: _Columns) -> int:
    return sum(max(map(len, cells)) + 3 for cells in columns.values()) + 1
