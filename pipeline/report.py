"""Write tables, plots, model cards, the page of all results and the scores; show all in MLflow."""

from pathlib import Path

from pipeline.stage import run
from serct.config.params import Params
from serct.data.corpora import read_licences
from serct.reports.report import write_report
from serct.reports.results import tabulate_scores
from serct.runtime.atomic import write_json
from serct.tracking.run_logger import show_results


def report(params: Params, data: Path, out: Path, metrics: Path) -> None:
    """Write the report of every model and corpus that params.yaml names."""
    licences = read_licences(params, params.pipeline.train_corpora)
    results = write_report(data, out, params.pipeline, licences)
    write_json(metrics, tabulate_scores(results))
    show_results(params.tracking, data, params.pipeline)


if __name__ == "__main__":
    run(__doc__, report)
