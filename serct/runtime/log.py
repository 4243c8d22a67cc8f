"""Messages and progress, on stderr."""

import io
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

logger = logging.getLogger("serct")
_INTERVAL_S = 10.0  # between the lines that show progress in a log


def accept_every_name() -> None:
    """Let stdout and stderr take any text: what their encoding lacks is written as an escape.

    A terminal of cp1252 or ASCII, or a file name that is not UTF-8, then ends no command. Streams
    that whoever started this process had closed lead to nowhere.
    """
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A stream that cannot seek, but was read from, keeps its own way.
            with suppress(OSError):
                stream.reconfigure(errors="backslashreplace")


def _open_closed_streams() -> None:
    """Give stdin, stdout and stderr a file each, if they have none (`serct models >&-`).

    Else Python has None for them, and the next file that is opened, such as a database, would get
    the number of stdout, to which every child prints.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free: this one.
            os.open(os.devnull, os.O_RDWR)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def setup_logging() -> None:
    """Send this project's messages to stderr, one line each."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


@contextmanager
def progress(total: int, label: str, unit: str = "it") -> Iterator[Callable[..., None]]:
    """Show on stderr how far a long step is and when it will end.

    On a terminal as a bar; in a log as a line every ten seconds.

    Yields:
        A function to call with the number of units just finished (1 if left out).
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            task = bars.add_task(label, total=total)
            yield lambda count=1: bars.advance(task, count)
    else:
        done, started = 0, time.monotonic()
        last_line = started

        def advance(count: int = 1) -> None:
            nonlocal done, last_line
            done += count
            now = time.monotonic()
            if now - last_line < _INTERVAL_S or not done:
                return
            last_line = now
            left_s = (now - started) / done * max(0, total - done)
            logger.info("%s: %d of %d %s, about %d s left", label, done, total, unit, left_s)

        yield advance
