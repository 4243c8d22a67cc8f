"""Write the tables of measured results into the pages: ``make tables``.

A page holds each table between two comments, ``<!-- table: NAME -->`` and ``<!-- end -->``;
``tables.md.j2`` has a macro of that name.
"""

import argparse
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, median, stdev

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from docs._tables import form, results
from docs._tables.results import ROOT

_TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_COPIED = ("params.yaml", "dvc.lock", "data/reports/results.csv")


def written() -> Iterator[tuple[Path, str]]:
    """Yield each file that holds tables or follows from results, with what it must contain."""
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    functions = (
        results.measured, results.exponents, results.run, results.study, results.thesis,
        results.unseen, results.further_corpora, results.other_speakers, results.beside_published,
    )  # fmt: skip
    pages.globals |= {f.__name__: f for f in functions}
    pages.filters |= {f.__name__: f for f in (*form.FORMS, mean, median, stdev)}
    macros = pages.get_template("tables.md.j2").module

    def table(found: re.Match[str]) -> str:
        text = str(getattr(macros, found[2])()).strip()
        return f"{found[1]}{re.sub(r'(?<=[|])  (?=[|])', ' ', text)}\n{found[3]}"

    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        text = page.read_text("utf-8")
        if _TABLE.search(text):
            yield page, _TABLE.sub(table, text)
    yield from ((ROOT / "results" / path, text) for path, text in _metrics())


def _metrics() -> Iterator[tuple[str, str]]:
    runs = sorted((ROOT / "results").glob("*/results.csv"))
    scores = {path.parent.name: results.metrics(path) for path in runs}
    for profile, found in {**scores, "full_size": results.full_size_metrics()}.items():
        yield f"{profile}/metrics.json", json.dumps(found, indent=2) + "\n"


def main() -> None:
    """Write what differs; first, if asked to, copy the results of a workspace."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workspace", type=Path, help="whose results to put into results/")
    parser.add_argument("--profile", default="cpu", help="the folder in results/")
    arguments = parser.parse_args()
    if arguments.workspace:
        folder = ROOT / "results" / arguments.profile
        folder.mkdir(parents=True, exist_ok=True)
        for name in _COPIED:
            shutil.copyfile(arguments.workspace / name, folder / Path(name).name)
    for path, text in list(written()):
        if not path.exists() or path.read_text("utf-8") != text:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")
            print(path.relative_to(ROOT))  # noqa: T201


if __name__ == "__main__":
    main()
