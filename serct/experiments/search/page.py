"""The page of a search: its course, each parameter's importance, every trial."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serct.config.search import SearchParams
from serct.reports import plots
from serct.reports.page import Cell, Table, render


@dataclass(frozen=True)
class Search:
    """The state of a search.

    Attributes:
        folder: Holds its files.
        trials: The ended ones, as rows: number, state, validation UA, epochs, parameters.
        best: Parameters of the best complete trial, by dotted key of the model's entry.
        best_ua: Its UA on validation.
        importance: Share of each parameter in how UA varies, empty with fewer than two trials.
    """

    folder: Path
    trials: tuple[Mapping[str, Any], ...]
    best: Mapping[str, Any]
    best_ua: float
    importance: Mapping[str, float]


def search_page(section: SearchParams, search: Search) -> str:
    """Return the page as one HTML file, figures included."""
    name = search.folder.name
    figures = [plots.search_figure(search.trials, f"Trials of {name}")]
    if search.importance:
        figures.append(plots.importance_figure(search.importance, f"Importance in {name}"))
    return render(
        "experiments/search/search.html.j2",
        name=name,
        model=section.model,
        corpus=section.corpus,
        epochs=section.epochs,
        num_ended=len(search.trials),
        num_complete=sum(row["state"] == "complete" for row in search.trials),
        figures=[plots.to_svg(figure) for figure in figures],
        trials=_trials_table(search),
    )


def _trials_table(search: Search) -> Table:
    ranked = sorted(search.trials, key=lambda row: -(row["validation_ua"] or 0))
    rows = []
    for row in ranked:
        ua = row["validation_ua"]
        is_best = row["state"] == "complete" and ua == search.best_ua
        shown = Cell("–") if ua is None else Cell(f"{ua:.4f}", share=ua, is_best=is_best)
        parameters = (Cell(_as_text(row[key])) for key in search.best)
        state = "complete" if row["state"] == "complete" else "ended early"
        names = (Cell(f"trial {row['trial']}"), Cell(state))
        rows.append((*names, shown, Cell(str(row["epochs"])), *parameters))
    return Table(
        caption="Every ended trial, the best on validation first",
        header=("trial", "state", "validation UA", "epochs", *search.best),
        rows=tuple(rows),
        num_names=2,
    )


def _as_text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
