"""Train one model on one corpus."""

from functools import partial
from pathlib import Path

from pipeline.stage import run
from serct.config.params import Params
from serct.runtime.executors import open_executor
from serct.training.experiment import train_and_track


def train(
    params: Params,
    model: str,
    shards: Path,
    state: Path,
    out: Path,
    encoders: Path = Path("data/encoders"),
) -> None:
    """Write the trained model to ``--out``."""
    work = partial(train_and_track, params, model, shards, state, out, encoders)
    with open_executor(params.executor) as executor:
        executor.train(work, state.stem, state.parent)


if __name__ == "__main__":
    run(__doc__, train)
