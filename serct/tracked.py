"""Tracking that never stands in the way of results.

Files are written first and are the truth. If MLflow is out of reach, a warning says so, and
`serct sync` builds the run from the files later.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

from serct.errors import TrackingError
from serct.params import TrackingParams
from serct.runtime import logger
from serct.tracking import Store, open_store


class TrackedRun:
    """The run of one training, or nothing if tracking is out of reach.

    Attributes:
        id: MLflow's name for the run, None if there is none.
    """

    def __init__(self, store: Store | None = None, run_id: str | None = None) -> None:
        self.id = run_id
        self._store = store

    def _call(self, action: Callable[[Store, str], object]) -> None:
        if self._store is not None and self.id is not None:
            with _warnings_for_problems():
                action(self._store, self.id)

    def log_epoch(self, row: dict[str, Any]) -> None:
        """Show one line of the history."""
        self._call(lambda store, run_id: store.log_epoch(run_id, row))

    def watched(self, enabled: bool) -> AbstractContextManager[None]:
        """Log the machine's load meanwhile."""
        if self._store is None or self.id is None:
            return nullcontext()
        return self._store.watch_system(self.id, enabled)

    def finish(self, folder: Path) -> None:
        """Add the finished model's folder, register it and close the run."""
        self._call(lambda store, run_id: store.finish(run_id, folder))

    def fail(self, status: Literal["FAILED", "KILLED"]) -> None:
        """Close the run as "FAILED" or "KILLED"."""
        self._call(lambda store, run_id: store.fail(run_id, status))


@contextmanager
def tracked(tracking: TrackingParams, card: dict[str, Any]) -> Iterator[TrackedRun]:
    """Open a run around a training; whatever ends the training also ends the run.

    Args:
        tracking: Names in MLflow.
        card: What is known of the model before it is trained, with the keys of `card.json`.
    """
    run = TrackedRun()
    with _warnings_for_problems():
        store = _open(tracking)
        run = TrackedRun(store, store.begin(card))
    try:
        with run.watched(tracking.system_metrics):
            yield run
    except (KeyboardInterrupt, SystemExit):
        run.fail("KILLED")
        raise
    except BaseException:
        run.fail("FAILED")
        raise


def add_to_run(tracking: TrackingParams, model: Path, results: Path) -> None:
    """Add a folder of results to the run of the model they belong to."""
    with _warnings_for_problems():
        _open(tracking).log_results(model, results)


def _open(tracking: TrackingParams) -> Store:
    # DVC says where the workspace is; a temporary experiment still tracks in the real one.
    root = Path(os.environ.get("DVC_ROOT", ".")).resolve()
    return open_store(root, tracking.experiment, tracking.registered_model)


@contextmanager
def _warnings_for_problems() -> Iterator[None]:
    try:
        yield
    except TrackingError as error:
        logger.warning("not tracked: %s; mend it, then run `serct sync`", error)
