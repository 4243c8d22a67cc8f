"""How time, memory and operations of a training step grow with the size of its work."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from serct.experiments.bench.workload import Size
from serct.models.serct import SerctParams

# The fields of `Size` that grow, each alone.
GROWN = {
    "batch_size": "clips of a batch",
    "clip_s": "length of a clip, s",
    "num_layers": "layers",
    "width": "width",
}


@dataclass(frozen=True)
class PowerLaw:
    """The law ``value = factor * size ** exponent``, fitted by least squares to the logarithms.

    Attributes:
        exponent: The slope of log value over log size: 1 where a doubled size doubles the value.
        lowest: The least slope between neighbouring sizes.
        highest: The greatest. Where both are far apart, the values follow no power law.
        deviation: The largest relative distance of a value from the law, 0 and more.
    """

    exponent: float
    lowest: float
    highest: float
    deviation: float


@dataclass(frozen=True)
class Growth:
    """One curve: what a form needs for a training step, over the sizes of one quantity.

    Attributes:
        quantity: What grows, a key of `GROWN`; all else stays.
        measure: "time" in seconds, "memory" in bytes beyond the model and its optimizer's state,
            or "operations", see `count_flops`.
        form: Such as "ours, bfloat16".
        sizes: Of the quantity, ascending.
        values: One of each size.
        law: What they follow.
    """

    quantity: str
    measure: str
    form: str
    sizes: tuple[float, ...]
    values: tuple[float, ...]
    law: PowerLaw


def sizes_to_measure(entry: SerctParams, row_s: float) -> dict[str, tuple[Size, ...]]:
    """Choose the sizes of each quantity of `GROWN`.

    All start from two clips of a third of a row and the model's own layers and width, and change
    one of these. Two clips, since the whole benchmark shall not take much longer than a quarter
    of an hour on two cores.

    Args:
        entry: The model.
        row_s: Length of its rows in seconds.
    """
    base = Size(2, clip_s=row_s / 3, num_layers=entry.num_layers, width=entry.width)
    # The heads share the width, and so do sine and cosine.
    multiple = math.lcm(2, entry.num_heads)
    quarter = max(entry.width // 4 // multiple, 1) * multiple
    return {
        "batch_size": tuple(replace(base, batch_size=clips) for clips in (1, 2, 4)),
        "clip_s": tuple(replace(base, clip_s=row_s / part) for part in (9, 3, 1)),
        "num_layers": tuple(replace(base, num_layers=layers) for layers in (1, 2, 4, 8)),
        "width": tuple(replace(base, width=times * quarter) for times in (1, 2, 4)),
    }


def curves(
    sizes: Mapping[str, Sequence[Size]], measured: Mapping[tuple[str, str], Mapping[Size, float]]
) -> tuple[Growth, ...]:
    """Order measurements by what grows, and fit a power law to each curve.

    Args:
        sizes: See `sizes_to_measure`.
        measured: By measure and form, see `Growth`: the value of each size.
    """
    found = []
    for quantity, chosen in sizes.items():
        grown = tuple(float(getattr(size, quantity)) for size in chosen)
        for (measure, form), by_size in measured.items():
            values = tuple(float(by_size[size]) for size in chosen)
            found.append(Growth(quantity, measure, form, grown, values, fit(grown, values)))
    return tuple(found)


def fit(sizes: Sequence[float], values: Sequence[float]) -> PowerLaw:
    """Fit a power law.

    Args:
        sizes: At least two, ascending, above 0.
        values: One of each, above 0.

    Example:
        >>> fit([1, 2, 4], [3, 12, 48])
        PowerLaw(exponent=2.0, lowest=2.0, highest=2.0, deviation=0.0)
    """
    x, y = np.log(sizes), np.log(values)
    exponent, offset = np.polyfit(x, y, 1)
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(zip(x, y, strict=True))]
    deviation = np.abs(np.expm1(y - offset - exponent * x)).max()
    # Beyond that are rounding errors.
    numbers = (exponent, min(slopes), max(slopes), deviation)
    return PowerLaw(*(round(float(number), 6) for number in numbers))


def as_rows(growth: Sequence[Growth]) -> list[tuple[str, ...]]:
    """Return a table of the exponents, its head first: a row a quantity and measure."""
    forms = sorted({each.form: None for each in growth}, key=lambda form: "direct" in form)
    rows = [("a step's", "by", "from", "to", *forms, "law off by")]
    for quantity in dict.fromkeys(each.quantity for each in growth):
        for measure in dict.fromkeys(each.measure for each in growth):
            found = {
                each.form: each
                for each in growth
                if (each.quantity, each.measure) == (quantity, measure)
            }
            sizes = next(iter(found.values())).sizes
            laws = [found[form].law if form in found else None for form in forms]
            off = max(law.deviation for law in laws if law)
            rows.append(
                (measure, GROWN[quantity], f"{sizes[0]:.3g}", f"{sizes[-1]:.4g}",
                 *(_slope(law) if law else "" for law in laws), f"{off:.0%}")
            )  # fmt: skip
    return rows


def _slope(law: PowerLaw) -> str:
    return f"{law.exponent:z.2f} ({law.lowest:z.2f} to {law.highest:z.2f})"
