"""Figures: the numbers are in them, they are reproducible, and they need no colour."""

import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serct.reports.plots import confusion_figure, curves_figure, to_svg

SVG = "{http://www.w3.org/2000/svg}"
HISTORY = [
    {"epoch": 1, "train_loss": 2.0, "validation_loss": 2.1, "validation_ua": 0.2},
    {"epoch": 2, "train_loss": 1.0, "validation_loss": 1.4, "validation_ua": 0.6},
]


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 10_000), min_size=9, max_size=9))
def test_confusion_shows_every_count(values: list[int]) -> None:
    counts = np.array(values).reshape(3, 3)
    axis = confusion_figure(["angry", "happy", "sad"], counts, "SERCT").axes[0]
    shown = {
        (int(t.get_position()[1]), int(t.get_position()[0])): int(t.get_text().split("\n")[0])
        for t in axis.texts
    }
    assert shown == {(int(r), int(c)): int(counts[r, c]) for r, c in np.argwhere(counts)}


def test_confusion_shares_are_of_the_row() -> None:
    axis = confusion_figure(["angry", "sad"], [[3, 1], [0, 0]], "x").axes[0]
    assert [t.get_text() for t in axis.texts] == ["3\n75%", "1\n25%"]
    alphas = [patch.get_alpha() for patch in axis.patches]
    assert alphas == pytest.approx([0.45, 0.15, 0, 0])


def test_confusion_names_axes_and_emotions() -> None:
    axis = confusion_figure(["angry", "sad"], [[1, 0], [0, 1]], "x").axes[0]
    assert axis.get_xlabel() == "predicted"
    assert axis.get_ylabel() == "actual"
    assert [t.get_text() for t in axis.get_yticklabels()] == ["angry", "sad"]


def test_confusion_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"counts are \(1, 2\), expected \(2, 2\)"):
        confusion_figure(["angry", "sad"], [[1, 2]], "x")


def test_curves_draw_each_model_in_each_panel() -> None:
    figure = curves_figure({"serct": HISTORY, "svm": HISTORY[:1]}, "curves")
    assert [axis.get_ylabel() for axis in figure.axes] == [
        "training loss",
        "validation loss",
        "validation UA",
    ]
    for axis, key in zip(
        figure.axes, ("train_loss", "validation_loss", "validation_ua"), strict=True
    ):
        serct, svm = axis.get_lines()
        assert list(serct.get_ydata()) == [row[key] for row in HISTORY]
        assert list(svm.get_xdata()) == [1]
        assert serct.get_label() == "serct"


def test_curves_differ_without_colour() -> None:
    figure = curves_figure({f"model_{i}": HISTORY for i in range(8)}, "curves")
    styles = {(line.get_linestyle(), line.get_marker()) for line in figure.axes[0].get_lines()}
    markers = {line.get_marker() for line in figure.axes[0].get_lines()}
    assert len(styles) == len(markers) == 8


def test_curves_leave_a_gap_where_there_is_no_finite_value() -> None:
    rows = [{"epoch": 1, "train_loss": math.inf}, {"epoch": 2}, {"epoch": 3, "train_loss": 0.5}]
    (line,) = curves_figure({"m": rows}, "t", keys=["train_loss"]).axes[0].get_lines()
    np.testing.assert_array_equal(line.get_ydata(), [math.nan, math.nan, 0.5])


def test_curves_of_nothing() -> None:
    assert "curves" in to_svg(curves_figure({}, "curves"))
    with pytest.raises(ValueError, match="keys is empty"):
        curves_figure({"m": HISTORY}, "curves", keys=[])


def test_svg_is_one_titled_image_in_the_colour_of_the_page() -> None:
    svg = to_svg(confusion_figure(["angry", "sad"], [[7, 1], [2, 9]], "SERCT on TESS"))
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    title = root.find(f"{SVG}title")
    assert title is not None
    assert title.text == "SERCT on TESS"
    assert "currentColor" in svg
    assert {"angry", "sad", "predicted", "actual"} <= set(texts(svg))
    assert "data:image" not in svg


def test_svg_is_the_same_twice_and_names_nothing_twice() -> None:
    first, again, other = (
        to_svg(curves_figure({"serct": HISTORY}, title)) for title in ("one", "one", "two")
    )
    assert first == again
    assert "<dc:date>" not in first
    names = [*re.findall(r'\bid="([^"]+)"', first), *re.findall(r'\bid="([^"]+)"', other)]
    assert len(names) == len(set(names))
    used = re.findall(r'(?:href="|url\()#([^")]+)', first)
    assert used
    assert set(used) <= set(names)


def test_pyplot_stays_out() -> None:
    code = "import sys, serct.reports.plots as p; p.curves_figure({}, 't'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "matplotlib.figure" in done.stdout.split()
    assert "matplotlib.pyplot" not in done.stdout.split()
