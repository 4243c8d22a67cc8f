"""Write what decides each stage that prepares a corpus: its code and its params."""

from pathlib import Path

from pipeline.stage import run
from serct.config.params import Params
from serct.experiments.recipes import set_leftovers_aside, write_corpus_recipes


def corpus_recipes(params: Params, data: Path, out: Path) -> None:
    """Write the recipes to ``--out``, and set aside what params.yaml does not name."""
    set_leftovers_aside(data, params.pipeline, Path("dvc.lock"))
    write_corpus_recipes(params, out)


if __name__ == "__main__":
    run(__doc__, corpus_recipes)
