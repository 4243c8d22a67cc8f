"""Train one model on one corpus and register it."""

from functools import partial

from pipeline.stage import Arguments, run
from serct.config.params import Params
from serct.runtime.executors import open_executor
from serct.training.experiment import train_and_track


def train(params: Params, arguments: Arguments) -> None:
    """Write the trained model to ``--out``."""
    state = arguments.state
    work = partial(train_and_track, params, arguments.model, arguments.shards, state, arguments.out)
    with open_executor(params.executor) as executor:
        executor.train(work, state.stem, state.parent)


if __name__ == "__main__":
    run(
        __doc__,
        train,
        names={"model": "an entry of models"},
        paths={
            "shards": "the corpus to train on",
            "state": "where an unfinished training is kept",
            "out": "folder of the model to make",
        },
    )
