"""What all stages share: options for names and paths, params from a file, one-line errors."""

import argparse
import inspect
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from serct.config.reader import read_params
from serct.runtime.disk import one_line_errors
from serct.runtime.log import accept_every_name, setup_logging
from serct.runtime.loopback import avoid_proxies
from serct.runtime.machine import keep_freed_memory

_HELP = {
    str: {
        "corpus": "an entry of corpora",
        "encoder": "an entry of encoders",
        "model": "an entry of models",
    },
    Path: {
        "raw": "folder of the corpus as its authors lay it out",
        "manifest": "manifest of the corpus",
        "encoders": "folder of pretrained encoders; one that is not there is obtained",
        "shards": "folder of one corpus' shards, or of all corpora's",
        "targets": "list of the zero-shot corpora",
        "state": "where an unfinished training is kept",
        "model": "folder of the trained model",
        "data": "folder of all artefacts",
        "metrics": "file of the scores that `dvc metrics` compares",
        "out": "folder or file to write",
    },
}


def run(description: str | None, work: Callable[..., object]) -> None:
    """Run a stage as a program.

    Args:
        description: Shown by ``--help``.
        work: The stage. It takes the params first; each further parameter, a ``str`` or a ``Path``,
            becomes an option of the same name, a required one unless it has a default.
    """
    accept_every_name()
    avoid_proxies()
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    for name, parameter in list(inspect.signature(work).parameters.items())[1:]:
        kind = parameter.annotation
        is_required = parameter.default is inspect.Parameter.empty
        default = {} if is_required else {"default": parameter.default}
        parser.add_argument(
            f"--{name}", type=kind, required=is_required, help=_HELP[kind][name], **default
        )
    arguments = vars(parser.parse_args())
    setup_logging()
    keep_freed_memory()
    # An exception, so that temporary files are removed and runs are closed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with one_line_errors():
        work(read_params(arguments.pop("params")), **arguments)
