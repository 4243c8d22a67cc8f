"""Draws how time and memory of a training step grow, from the JSON of `serct bench`.

    serct bench --json build/bench.json
    python benchmarks/growth_figure.py build/bench.json --out build/growth.svg

Both scales of each panel are logarithmic, so a power law is a straight line. The forms differ in
line and mark, so no colour is needed.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from serct.experiments.bench.growth import GROWN

LINES: dict[str, Any] = {
    "direct, float32": {"linestyle": "--", "marker": "s", "color": "#b3540a"},
    "ours, float32": {"linestyle": "-", "marker": "o", "color": "#1f5fa8"},
    "ours, bfloat16": {"linestyle": ":", "marker": "^", "color": "#1b1d21"},
}
# Words of each measure, and what its unit is of the JSON's.
MEASURES = {"time": ("seconds a step", 1.0), "memory": ("memory of a step, MB", 1e-6)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bench", type=Path, help="JSON of serct bench, without --quick")
    parser.add_argument("--out", type=Path, required=True, help="a file.svg")
    arguments = parser.parse_args()
    growth = json.loads(arguments.bench.read_text("utf-8")).get("growth")
    if not growth:
        parser.error(f"{arguments.bench}: no growth in it, expected the JSON of a run not --quick")
    # The same numbers give the same file.
    with mpl.rc_context({"svg.hashsalt": "growth", "svg.fonttype": "none", "font.size": 9.0}):
        draw(growth).savefig(arguments.out, format="svg", metadata={"Date": None})


def draw(growth: list[dict[str, Any]]) -> Figure:
    """Draw a row of panels a measure and a panel a quantity; see `Growth` for the keys."""
    figure = Figure(figsize=(10.5, 5.4), layout="constrained", facecolor="white")
    panels = figure.subplots(len(MEASURES), len(GROWN), sharex="col", sharey="row")
    for row, (measure, (unit, factor)) in zip(panels, MEASURES.items(), strict=True):
        row[0].set_ylabel(unit)
        for panel, quantity in zip(row, GROWN, strict=True):
            found = {
                each["form"]: each
                for each in growth
                if (each["measure"], each["quantity"]) == (measure, quantity)
            }
            for form, style in LINES.items():
                if form in found:
                    values = [factor * value for value in found[form]["values"]]
                    panel.plot(found[form]["sizes"], values, label=form, markersize=5, **style)
            panel.set_xscale("log")
            panel.set_yscale("log")
            panel.xaxis.set_major_locator(FixedLocator(found["ours, float32"]["sizes"]))
            panel.xaxis.set_minor_locator(NullLocator())
            panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            panel.yaxis.set_minor_locator(NullLocator())
            for axis in (panel.xaxis, panel.yaxis):
                axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
            panel.grid(alpha=0.4, linewidth=0.6)
    for panel, words in zip(panels[-1], GROWN.values(), strict=True):
        panel.set_xlabel(words)
    handles, names = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False)
    return figure


if __name__ == "__main__":
    main()
