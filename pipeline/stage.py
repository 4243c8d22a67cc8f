"""What all stages share: paths come as arguments, params from a file, problems as one message."""

import argparse
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from serct.config.params import Params
from serct.config.reader import read_params
from serct.errors import SerctError
from serct.runtime.log import setup_logging
from serct.runtime.machine import keep_freed_memory

Arguments = argparse.Namespace


def run(
    description: str | None,
    work: Callable[[Params, Arguments], object],
    names: Mapping[str, str] | None = None,
    paths: Mapping[str, str] | None = None,
) -> None:
    """Run a stage as a program.

    Args:
        description: Shown by ``--help``.
        work: The stage; gets the params and the parsed arguments.
        names: Required text arguments and their help.
        paths: Required path arguments and their help.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    for name, text in (names or {}).items():
        parser.add_argument(f"--{name}", required=True, help=text)
    for name, text in (paths or {}).items():
        parser.add_argument(f"--{name}", type=Path, required=True, help=text)
    arguments = parser.parse_args()
    setup_logging()
    keep_freed_memory()
    # Ending by exception lets temporary files go and runs be closed.
    signal.signal(signal.SIGTERM, _terminate)
    try:
        work(read_params(arguments.params), arguments)
    except SerctError as error:
        sys.exit(f"error: {error}")


def _terminate(signal_number: int, frame: Any) -> None:
    sys.exit(128 + signal_number)
