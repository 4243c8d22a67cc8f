"""Figures for the report and for MLflow: confusion matrices, training curves, searches.

Figures are made without pyplot, so nothing global is touched and no display is asked for. Lines
differ in style and marker and cells carry their numbers, so all of it reads in grey. An SVG's
text takes the page's text colour, so it reads on light and dark pages alike.
"""

import io
import math
import re
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

# Replaced by the page's text colour in an SVG; near black in a PNG.
_INK = "#1b1d21"
_FILL = "#2f6fde"
# The strongest fill leaves dark text readable on white paper and light text on a dark page.
_STRONGEST = 0.6
# Of middling brightness, so that each stands out from white and from black (contrast over 3).
_LINES = (
    ("#2f7de1", "-", "o"),
    ("#d9730d", "--", "s"),
    ("#1a9850", "-.", "^"),
    ("#9b5de5", ":", "D"),
    ("#e0457b", (0, (5, 1)), "v"),
    ("#7a7f87", (0, (3, 1, 1, 1)), "P"),
    ("#0e9aa7", (0, (1, 1)), "X"),
    ("#a98600", (0, (7, 2, 2, 2)), "*"),
)
# matplotlib types the keys of its settings as one literal of 300 names.
_GRID: Any = {"alpha": 0.25, "linewidth": 0.6, "color": _INK}
_LEGEND: Any = {"loc": "outside lower center", "ncols": 3, "frameon": False, "labelcolor": _INK}
_STYLE: Any = {"font.size": 9.0, "svg.fonttype": "none", "svg.hashsalt": "serct"}


def curve_name(column: str) -> str:
    """Return a column of a history in words.

    Example:
        >>> curve_name("train_loss"), curve_name("validation_ua")
        ('training loss', 'validation UA')
    """
    split, _, score = column.partition("_")
    if split not in ("train", "validation"):
        return column
    split = "training" if split == "train" else split
    return f"{split} {score if score == 'loss' else score.upper()}"


def confusion_figure(
    labels: Sequence[str], counts: Sequence[Sequence[int]] | npt.NDArray[np.int64], title: str
) -> Figure:
    """Draw a confusion matrix: how often each emotion was predicted as each.

    A cell holds its count and, from 1 % up, its share of the row in percent; the fill follows
    the share, so that rare and common emotions compare.

    Args:
        labels: The K emotions, in the matrix' order.
        counts: Utterances by actual (rows) and predicted (columns) emotion. int [K, K]
        title: Of the figure; screen readers read it out from the SVG.

    Raises:
        ValueError: If ``counts`` is not K by K.
    """
    matrix, num_labels = np.asarray(counts), len(labels)
    if matrix.shape != (num_labels, num_labels):
        raise ValueError(f"counts are {matrix.shape}, expected {(num_labels, num_labels)}")
    side = 1.6 + 0.55 * num_labels
    figure, [axis] = _blank(title, 1, (side + 0.2, side))
    row_totals = matrix.sum(axis=1)
    for row, column in np.ndindex(num_labels, num_labels):
        count = int(matrix[row, column])
        share = count / row_totals[row] if row_totals[row] else 0.0
        axis.add_patch(
            Rectangle((column, row), 1, 1, facecolor=_FILL, alpha=_STRONGEST * share, linewidth=0)
        )
        if count:
            note = f"{count}\n{share:.0%}" if share >= 0.01 else str(count)
            centre: Any = {"color": _INK, "ha": "center", "va": "center", "fontsize": 8}
            axis.text(column + 0.5, row + 0.5, note, **centre)
    axis.set_xlim(0, num_labels)
    axis.set_ylim(num_labels, 0)  # the first row on top, as in the table
    axis.set_aspect("equal")
    middles = np.arange(num_labels) + 0.5
    axis.set_xticks(middles, labels, rotation=40, ha="right", rotation_mode="anchor")
    axis.set_yticks(middles, labels)
    axis.set_xlabel("predicted")
    axis.set_ylabel("actual")
    axis.tick_params(length=0)
    return _laid_out(figure)


def curves_figure(
    histories: Mapping[str, Sequence[Mapping[str, float]]],
    title: str,
    keys: Sequence[str] = ("train_loss", "validation_loss", "validation_ua"),
) -> Figure:
    """Draw training curves, one panel a key, one line a model.

    Values that a history lacks or that are not finite leave a gap. A model that is fitted in
    one go has a single mark.

    Args:
        histories: Name of each model -> its epochs; a row holds ``epoch`` (from 1) and the keys.
        title: Of the figure; screen readers read it out from the SVG.
        keys: Columns to draw, for example ``train_loss``.

    Raises:
        ValueError: If ``keys`` is empty.
    """
    if not keys:
        raise ValueError("keys is empty: name at least one column to draw")
    figure, axes = _blank(title, len(keys), (4.2 * len(keys), 3.6))
    for axis, key in zip(axes, keys, strict=True):
        for (name, rows), (colour, line, marker) in zip(
            histories.items(), cycle(_LINES), strict=False
        ):
            values = np.array([row.get(key, math.nan) for row in rows], dtype=float)
            values[~np.isfinite(values)] = math.nan
            style: Any = {"color": colour, "linestyle": line, "marker": marker, "label": name}
            axis.plot([row["epoch"] for row in rows], values, markersize=4, linewidth=1.4, **style)
        axis.set_xlabel("epoch")
        axis.set_ylabel(curve_name(key))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if not key.endswith("loss"):
            axis.set_ylim(-0.02, 1.02)
        axis.grid(**_GRID)
    handles, names = axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, names, **_LEGEND)
    return _laid_out(figure)


def scores_figure(
    names: Sequence[str],
    scores: Sequence[Sequence[float]],
    intervals: Sequence[tuple[float, float]],
    seconds: Sequence[float],
    title: str,
) -> Figure:
    """Draw the UA of several models beside the time their training took, the first on top.

    Args:
        names: Of the models.
        scores: UA of each seed, 0..1, of each model; a mark each.
        intervals: Of the first seed's.
        seconds: Training time of each model.
        title: Of the figure; screen readers read it out from the SVG.
    """
    figure, [left, right] = _blank(title, 2, (6.4, 1.3 + 0.34 * len(names)))
    places = np.arange(len(names))
    colour, _, marker = _LINES[0]
    for place, own, (low, high) in zip(places, scores, intervals, strict=True):
        left.plot([low, high], [place, place], color=colour, linewidth=2.4, alpha=_STRONGEST)
        marks: Any = {"linestyle": "none", "marker": marker, "color": _INK, "markersize": 4}
        left.plot(own, [place] * len(own), **marks)
    left.set_yticks(places, names)
    left.set_ylim(len(names) - 0.4, -0.6)
    left.set_xlim(0, 1)
    left.set_xlabel("UA of each seed; 95 % of the first")
    left.grid(axis="x", **_GRID)
    bars = right.barh(places, [each / 60 for each in seconds], color=_FILL, alpha=_STRONGEST)
    right.bar_label(bars, fmt="{:.1f}", padding=3, color=_INK)
    right.set_yticks([])
    right.set_ylim(left.get_ylim())
    right.set_xlim(0, 1.25 * max(max(seconds) / 60, 1e-3))
    right.set_xlabel("training time, minutes")
    return _laid_out(figure)


def search_figure(trials: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Draw a search: each trial's validation UA, and the best so far as a line.

    Args:
        trials: Rows with ``trial``, ``state`` ("complete" or "pruned") and ``validation_ua``, which
            may be None; in the order of their numbers.
        title: Of the figure; screen readers read it out from the SVG.
    """
    figure, [axis] = _blank(title, 1, (6.4, 3.6))
    scored = [row for row in trials if row["validation_ua"] is not None]
    for state, name, mark, colour in (
        ("complete", "complete", "o", _LINES[0][0]),
        ("pruned", "ended early", "x", _LINES[5][0]),
    ):
        rows = [row for row in scored if row["state"] == state]
        places = [row["trial"] for row in rows], [row["validation_ua"] for row in rows]
        axis.plot(*places, linestyle="none", marker=mark, markersize=5, color=colour, label=name)
    complete = [row for row in scored if row["state"] == "complete"]
    best = np.maximum.accumulate([row["validation_ua"] for row in complete])
    style: Any = {"color": _LINES[1][0], "linestyle": "--", "label": "best so far"}
    axis.step([row["trial"] for row in complete], best, where="post", linewidth=1.4, **style)
    axis.set_xlabel("trial")
    axis.set_ylabel(curve_name("validation_ua"))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axis.grid(**_GRID)
    figure.legend(**_LEGEND)
    return _laid_out(figure)


def importance_figure(importance: Mapping[str, float], title: str) -> Figure:
    """Draw how much each parameter matters, the most important on top.

    Args:
        importance: Shares, 0..1, by the parameter's name; not empty.
        title: Of the figure; screen readers read it out from the SVG.
    """
    figure, [axis] = _blank(title, 1, (6.4, 1.2 + 0.4 * len(importance)))
    names = sorted(importance, key=importance.__getitem__)
    bars = axis.barh(names, [importance[name] for name in names], color=_FILL, alpha=_STRONGEST)
    axis.bar_label(bars, fmt="{:.0%}", padding=3, color=_INK)
    axis.set_xlim(0, 1.1)
    axis.set_xlabel("share of how validation UA varies")
    return _laid_out(figure)


def to_svg(figure: Figure) -> Markup:
    """Return the figure as one ``<svg>`` element, for a page or a file of its own.

    The same figure gives the same text: no date, no version, no random names. Names inside start
    with the figure's title, so that several figures can share a page.
    """
    title = figure.get_suptitle()
    buffer = io.StringIO()
    with mpl.rc_context(_STYLE):
        about = {"Date": None, "Creator": None, "Title": title}
        figure.savefig(buffer, format="svg", transparent=True, metadata=about)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    prefix = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "figure"
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'(href="|url\()#', rf"\g<1>#{prefix}-", text)
    text = text.replace(_INK, "currentColor")
    # For a screen reader, the element is one picture, named by its title.
    return Markup(text.replace("<svg ", '<svg role="img" ', 1))  # noqa: S704  nothing to escape


def _blank(
    title: str, num_panels: int, size_inches: tuple[float, float]
) -> tuple[Figure, list[Axes]]:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size_inches, layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        axes = [figure.add_subplot(1, num_panels, 1 + i) for i in range(num_panels)]
        figure.suptitle(title, fontsize=10, color=_INK)
        for axis in axes:
            axis.tick_params(colors=_INK)
            axis.xaxis.label.set_color(_INK)
            axis.yaxis.label.set_color(_INK)
            for spine in axis.spines.values():
                spine.set(color=_INK, linewidth=0.6, alpha=0.5)
    return figure, axes


def _laid_out(figure: Figure) -> Figure:
    """Fix the layout: otherwise each rendering moves it a little."""
    with mpl.rc_context(_STYLE):
        figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure
