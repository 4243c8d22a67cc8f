from dataclasses import asdict, replace

import pytest

from benchmarks.growth_figure import LINES, draw
from serct.config.reader import read_params
from serct.experiments.bench.growth import GROWN, as_rows, curves, fit, sizes_to_measure
from serct.experiments.bench.workload import Size, read_published
from tests.conftest import ROOT


def test_fitted_exponent_is_that_of_the_law():
    sizes = [1, 3, 9]
    law = fit(sizes, [0.2 * size**1.5 for size in sizes])
    assert (law.exponent, law.lowest, law.highest) == pytest.approx((1.5, 1.5, 1.5))
    assert law.deviation == pytest.approx(0, abs=1e-6)


def test_values_that_follow_no_law_show_it():
    # A fixed part and one that grows: the slope rises from one size to the next.
    law = fit([1, 10, 100], [1 + 1, 1 + 10, 1 + 100])
    assert law.lowest == pytest.approx(0.740, abs=1e-3)
    assert law.highest == pytest.approx(0.963, abs=1e-3)
    assert law.exponent == pytest.approx((law.lowest + law.highest) / 2)
    assert law.deviation == pytest.approx(0.157, abs=1e-3)  # of the middle one


def test_one_quantity_grows_at_a_time():
    entry = read_published(read_params(ROOT / "params.yaml"), "serct")
    sizes = sizes_to_measure(entry, row_s=9.0)
    assert sizes.keys() == GROWN.keys()
    base = Size(2, clip_s=3.0, num_layers=4, width=1024)
    for quantity, chosen in sizes.items():
        assert base in chosen
        for size in chosen:
            assert replace(size, **{quantity: getattr(base, quantity)}) == base
    assert [size.width for size in sizes["width"]] == [256, 512, 1024]
    assert [size.clip_s for size in sizes["clip_s"]] == [1.0, 3.0, 9.0]
    narrow = sizes_to_measure(entry.model_copy(update={"width": 16}), row_s=9.0)
    assert [size.width for size in narrow["width"]] == [8, 16, 32]  # of eight heads


def test_a_row_of_the_table_holds_all_forms():
    sizes = {"batch_size": (Size(1), Size(2)), "width": (Size(1, width=8), Size(1, width=16))}
    measured = {
        ("time", "ours"): {Size(1): 1.0, Size(2): 2.0, Size(1, width=8): 1, Size(1, width=16): 1},
        ("time", "direct"): {Size(1): 1.0, Size(2): 4.0, Size(1, width=8): 1, Size(1, width=16): 8},
    }
    rows = as_rows(curves(sizes, measured))
    assert rows == [
        ("a step's", "by", "from", "to", "ours", "direct", "law off by"),
        ("time", "clips of a batch", "1", "2", "1.00 (1.00 to 1.00)", "2.00 (2.00 to 2.00)", "0%"),
        ("time", "width", "8", "16", "0.00 (0.00 to 0.00)", "3.00 (3.00 to 3.00)", "0%"),
    ]


def test_a_power_law_is_a_line_that_needs_no_colour():
    sizes = {name: (Size(1, 1.0, 1, 2), Size(2, 2.0, 2, 4)) for name in GROWN}
    measured = {
        (measure, form): dict(zip(sizes["width"], (1.0, 8.0), strict=True))
        for measure in ("time", "memory")
        for form in LINES
    }
    growth = [asdict(each) for each in curves(sizes, measured)]
    panels = draw(growth).axes
    assert len(panels) == 2 * len(GROWN)
    for panel in panels:
        assert (panel.get_xscale(), panel.get_yscale()) == ("log", "log")
        styles = {(line.get_linestyle(), line.get_marker()) for line in panel.lines}
        assert len(styles) == len(LINES)
    assert list(panels[-1].lines[0].get_ydata()) == [1e-6, 8e-6]  # bytes as MB
