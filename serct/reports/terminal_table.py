"""The results as one table that fits a terminal."""

from collections.abc import Sequence
from pathlib import Path

from serct.config.params import PipelineParams
from serct.evaluation.metrics import METRICS
from serct.reports.page import DASH
from serct.reports.results import Result, line_up, read_results

_NUM_NAMES = 4
_NUM_CUT = 3  # leading columns that may be cut
_NOTES = "majority, thesis: UA of always the most frequent emotion, and UA in the thesis."
_ZERO_SHOT = "zero-shot: a corpus not trained on; only emotions that both have may be predicted."
_SYNTHETIC = "* synthetic speech: it shows that the pipeline works and says nothing about people."


def results_table(data: Path, pipeline: PipelineParams, width: int = 100) -> str:
    """Return all results as one Markdown table with notes below.

    Zero-shot rows are the masked ones. Names too long for the width are cut.

    Args:
        data: The folder that holds ``models`` and ``reports``.
        pipeline: Which models and corpora.
        width: Columns of the terminal, at least 90.

    Raises:
        ReportError: If a result is missing, unreadable, or of another training.
    """
    shown = [r for r in line_up(read_results(data, pipeline)) if r.kind != "unmasked"]
    places = list(dict.fromkeys((r.trained.corpus, r.test) for r in shown))
    shown.sort(key=lambda r: places.index((r.trained.corpus, r.test)))
    metrics = (name.upper() for name in METRICS)
    header = ("model", "trained", "tested", "how", "n", *metrics, "majority", "thesis")
    body = [_row(result) for result in shown]
    widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
    room = width - sum(widths[_NUM_CUT:]) - 3 * len(widths) - 1
    while sum(widths[:_NUM_CUT]) > room:
        widths[widths.index(max(widths[:_NUM_CUT]))] -= 1
    ruler = ["-" * w if i < _NUM_NAMES else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    notes = [_NOTES]
    if any(result.kind != "test" for result in shown):
        notes.append(_ZERO_SHOT)
    if any(result.synthetic or result.trained.card.synthetic for result in shown):
        notes.append(_SYNTHETIC)
    return "\n".join([*(_line(row, widths) for row in (header, ruler, *body)), "", *notes])


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


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = []
    for i, (text, width) in enumerate(zip(row, widths, strict=True)):
        # A cut name keeps its mark of synthetic speech.
        end = "…*" if text.endswith("*") else "…"
        cut = text if len(text) <= width else text[: width - len(end)] + end
        cells.append(cut.ljust(width) if i < _NUM_NAMES else cut.rjust(width))
    return "| " + " | ".join(cells) + " |"
