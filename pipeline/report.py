"""Write the tables, the plots and the page of all results."""

from pathlib import Path

from pipeline.stage import run
from serct.config.params import Params
from serct.reports.report import write_report


def report(params: Params, data: Path, out: Path) -> None:
    """Write the report of every model and corpus that params.yaml names."""
    write_report(data, out, params.pipeline)


if __name__ == "__main__":
    run(__doc__, report)
