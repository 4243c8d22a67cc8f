"""Puts the answers of `benchmarks/gpu.py` where the pages' tables read them.

    python benchmarks/gpu_results.py build/gpu.json && python -m docs._tables

A GPU has its files: `full_size-<gpu>.json`, `bench-<gpu>.json` and `gpu_step-<gpu>.json`. A
training replaces the row of the same model, seed, rate and number of epochs; rows of another day
or commit than their file's say so themselves.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from serct.runtime.atomic import write_json

RESULTS = Path(__file__).resolve().parent / "results"
KEY = ("model", "seed", "learning_rate", "epochs")
ORIGIN = ("date", "commit", "torch")

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    for path in put(arguments.report, arguments.results):
        print(path)


def put(path: Path, results: Path) -> list[Path]:
    """Put a report's answers into a folder of results; return the files that were written.

    Raises:
        SystemExit: If its numbers are of a rehearsal, or nobody could repeat them.
    """
    report = json.loads(path.read_text("utf-8"))
    about = report["about"]
    if about["rehearsal"]:
        raise SystemExit(f"{path}: about.rehearsal is true: its scores and times mean nothing")
    for name, value in (("commit", about["commit"]), ("machine.gpu", about["machine"]["gpu"])):
        if not value:
            raise SystemExit(f"{path}: about.{name} is {value!r}, expected what was measured")
    gpu = about["machine"]["gpu"].split()[-1].lower()
    done = {
        name: step["answer"]
        for name, step in report["steps"].items()
        if step["state"] == "done" and "answer" in step
    }
    contents: dict[str, Any] = {}
    if rows := [answer for answer in done.values() if "model" in answer]:
        before = results / f"full_size-{gpu}.json"
        old = json.loads(before.read_text("utf-8")) if before.exists() else {}
        contents["full_size"] = merged(old.get("results", []), old.get("about", about), rows, about)
    if bench := done.get("bench"):
        contents["bench"] = bench | {"about": bench["about"] | {"commit": about["commit"]}}
    if ways := [answer["variants"] for answer in done.values() if "variants" in answer]:
        variants = {name: parts for found in ways for name, parts in found.items()}
        contents["gpu_step"] = {"about": about, "variants": variants}
    written = []
    for name, content in contents.items():
        written.append(results / f"{name}-{gpu}.json")
        write_json(written[-1], content)
    return written


def merged(
    old: Sequence[Row], old_about: Mapping[str, Any], new: Sequence[Row], about: Mapping[str, Any]
) -> dict[str, Any]:
    """Merge rows of trainings; those of another origin than the whole carry their own."""
    rows = {_key(row): {**_origin(old_about), **row} for row in old}
    rows |= {_key(row): {**row, **_origin(about)} for row in new}
    whole = about if all(_origin(row) == _origin(about) for row in rows.values()) else old_about
    return {
        "about": dict(whole),
        "results": [
            {k: v for k, v in row.items() if k not in ORIGIN or _origin(row) != _origin(whole)}
            for row in rows.values()
        ],
    }


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEY)


def _origin(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in ORIGIN}


if __name__ == "__main__":
    main()
