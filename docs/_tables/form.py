"""How numbers are written in the tables."""

import re
from collections.abc import Iterable, Mapping
from typing import Any


def score(value: float | str | None, num_digits: int = 3) -> str:
    """Return a score or a difference of scores without the zero before its point, "" for none."""
    if value is None or value == "":
        return ""
    return re.sub(r"^(-?)0\.", r"\1.", f"{float(value):.{num_digits}f}")


def best(values: Iterable[float]) -> str:
    """Return the highest of some scores, as it is written."""
    return score(max(values))


def mark(value: float, highest: str) -> str:
    """Return a score, in bold if it is as high as the highest."""
    return f"**{score(value)}**" if score(value) == highest else score(value)


def signed(value: float) -> str:
    """Return a difference of scores with its sign."""
    return ("" if value < 0 else "+") + score(abs(value) if value == 0 else value)


def interval(bounds: Mapping[str, Any]) -> str:
    """Return a 95 % interval, and over what it is if that is speakers."""
    over = ", over speakers" if bounds["over"] == "speakers" else ""
    return f"{score(bounds['low'])}-{score(bounds['high'])}{over}"


def figures(value: float, num_figures: int = 3) -> str:
    """Return a number with so many significant figures, and commas between thousands."""
    rounded = float(f"{value:.{num_figures}g}")
    if rounded >= 10 ** (num_figures - 1):
        return f"{rounded:,.0f}"
    return f"{rounded:#.{num_figures}g}"


def spread(times: Mapping[str, float], factor: float = 1.0) -> str:
    """Return a median and the range around it, in seconds times a factor."""
    return "{} ({}-{})".format(
        *(figures(times[k] * factor) for k in ("median_s", "min_s", "max_s"))
    )


def rate(value: float) -> str:
    """Return a learning rate without zeros at either end, as .00001."""
    return f"{value:f}".strip("0")


def parameters(count: float | str) -> str:
    """Return a number of parameters in millions."""
    millions = float(count) / 1e6
    return f"{millions:.{1 if millions >= 1 else 2 if millions >= 0.01 else 3}f} M"


def duration(duration_s: float | str) -> str:
    """Return a time in s or minutes."""
    value = float(duration_s)
    return f"{value:.0f} s" if value < 99.5 else f"{value / 60:.1f} min"


def machine(found: Mapping[str, Any]) -> str:
    """Return the name of a machine, as `serct.runtime.machine` notes it."""
    return found["gpu"] or f"{found['num_cores']} cores of an {found['cpu']}, no GPU"


FORMS = (
    score, best, mark, signed, interval, figures, spread, rate, parameters, duration, machine,
)  # fmt: skip
