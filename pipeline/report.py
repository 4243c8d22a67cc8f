"""Gather all results into tables, plots and one page."""

from pipeline.stage import Arguments, run
from serct.config.params import Params
from serct.reports.report import write_report


def report(params: Params, arguments: Arguments) -> None:
    """Write the report of every model and corpus that params.yaml names."""
    write_report(arguments.data, arguments.out, params.pipeline)


if __name__ == "__main__":
    run(__doc__, report, paths={"data": "folder of all artefacts", "out": "folder to make"})
