"""Write the tables, the plots and the page of all results, and the scores for DVC."""

from pathlib import Path

from pipeline.stage import run
from serct.config.params import Params
from serct.reports.report import write_report
from serct.reports.results import tabulate_scores
from serct.runtime.atomic import write_json


def report(params: Params, data: Path, out: Path, metrics: Path) -> None:
    """Write the report of every model and corpus that params.yaml names."""
    results = write_report(data, out, params.pipeline)
    write_json(metrics, tabulate_scores(results))


if __name__ == "__main__":
    run(__doc__, report)
