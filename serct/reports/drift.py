"""The page of a service's drift: what it met and predicted beside the validation part."""

from collections.abc import Mapping, Sequence
from typing import Any

from serct.reports.page import DASH, Cell, Table, render

_COLUMNS = ("", "validation", "service")


def drift_rows(found: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return a row a version and quantity, as text, from the response of `GET /v1/drift`."""
    return [
        {
            "version": version["version"] or "folder",
            "model": version["model"]["name"],
            "quantity": each["title"],
            "predictions": str(_num(each, "current")),
            "reference": str(_num(each, "reference")) if version["reference"] else DASH,
            "distance": _number(each["distance"]),
            "threshold": _number(each["threshold"]),
            "verdict": verdict(each),
        }
        for version in found
        for each in version["quantities"]
    ]


def verdict(quantity: Mapping[str, Any]) -> str:
    """Return what a quantity of the response means."""
    if quantity["distance"] is None:
        return "not measured"
    return "DRIFT" if quantity["is_drifting"] else "as in validation"


def drift_page(found: Sequence[Mapping[str, Any]], service: str, at: str) -> str:
    """Return one HTML page without scripts or links to elsewhere.

    Args:
        found: The response of `GET /v1/drift`.
        service: Its address.
        at: When that was, as text.
    """
    versions = [
        {**version, "tables": [_bars(each) for each in version["quantities"]]} for version in found
    ]
    rows = [{key: row[key] for key in row if key != "model"} for row in drift_rows(found)]
    summary = Table.from_rows("Distance to the validation part", rows, num_names=2)
    return render(
        "reports/drift.html.j2", versions=versions, summary=summary, service=service, at=at
    )


def _bars(quantity: Mapping[str, Any]) -> Table:
    bins = quantity["bins"]
    sums = [_num(quantity, side) for side in ("reference", "current")]
    rows = tuple(
        (
            Cell(each["name"]),
            *(_share(each[side], total) for side, total in zip(_SIDES, sums, strict=True)),
        )
        for each in bins
        if each["reference"] or each["current"]
    )
    unit = f", in {quantity['unit']}" if quantity["unit"] else ""
    distance = "" if quantity["distance"] is None else (
        f": distance {_number(quantity['distance'])}, threshold {_number(quantity['threshold'])}"
    )  # fmt: skip
    caption = f"{quantity['title']}{unit}{distance} ({verdict(quantity)})"
    return Table(caption, _COLUMNS, rows)


_SIDES = ("reference", "current")


def _share(number: int | None, total: int) -> Cell:
    if number is None or not total:
        return Cell(DASH)
    return Cell(f"{number / total:.1%} ({number})", share=number / total)


def _num(quantity: Mapping[str, Any], side: str) -> int:
    return sum(each[side] or 0 for each in quantity["bins"])


def _number(value: float | None) -> str:
    return DASH if value is None else f"{value:.3f}"
