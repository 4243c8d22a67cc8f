"""Train one model on one corpus and register it."""

from pipeline.stage import Arguments, run
from serct.executors import train as train_anywhere
from serct.params import Params


def train(params: Params, arguments: Arguments) -> None:
    """Write the trained model to ``--out``."""
    train_anywhere(params, arguments.model, arguments.shards, arguments.state, arguments.out)


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
