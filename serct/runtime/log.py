"""Messages and progress, on stderr."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

logger = logging.getLogger("serct")


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
        yield _LineProgress(total, label, unit).advance


class _LineProgress:
    """Progress for logs: a line every `interval_s`, none for what ends sooner."""

    interval_s = 10.0

    def __init__(self, total: int, label: str, unit: str) -> None:
        self.total, self.label, self.unit = total, label, unit
        self.done = 0
        self.started = self.last_line = time.monotonic()

    def advance(self, count: int = 1) -> None:
        self.done += count
        now = time.monotonic()
        if now - self.last_line < self.interval_s or not self.done:
            return
        self.last_line = now
        left_s = (now - self.started) / self.done * max(0, self.total - self.done)
        logger.info(
            "%s: %d of %d %s, about %d s left", self.label, self.done, self.total, self.unit, left_s
        )
