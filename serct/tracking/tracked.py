"""Tracking that never stands in the way of results.

Files are written first and are the truth. If MLflow is out of reach, a warning says so, and
`serct sync` builds the run from the files later.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from serct.config.params import TrackingParams
from serct.errors import TrackingError
from serct.runtime import distributed
from serct.runtime.log import logger
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

    def end(self) -> None:
        """Close the run, which registers nothing."""
        self._call(lambda store, run_id: store.end(run_id))

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
    if distributed.rank() > 0:
        # The first of the processes that train together talks for all.
        yield run
        return
    with _warnings_for_problems():
        store = _open(tracking, _stage_root())
        run = TrackedRun(store, store.begin(card))
    with _ending(run), run.watched(tracking.system_metrics):
        yield run


@dataclass(frozen=True)
class Trials:
    """The runs of a search's trials, below the search's own; may travel to other processes.

    Attributes:
        tracking: Names in MLflow.
        root: The workspace.
        parent: The search's own run, None if tracking is lost: then trials have none either.
    """

    tracking: TrackingParams
    root: Path
    parent: str | None

    @contextmanager
    def trial(self, card: dict[str, Any]) -> Iterator[TrackedRun]:
        """Open a run around one trial; ``card`` as for `tracked`."""
        run = TrackedRun()
        if self.parent is not None:
            with _warnings_for_problems():
                store = _open(self.tracking, self.root)
                run = TrackedRun(store, store.begin(card, self.parent))
        with _ending(run):
            yield run
        run.end()


@contextmanager
def tracked_search(tracking: TrackingParams, name: str, root: Path) -> Iterator[Trials]:
    """Open a run around a search, or go on with it.

    Args:
        tracking: Names in MLflow.
        name: Of the search, the same for all that take part.
        root: The workspace.
    """
    run = TrackedRun()
    with _warnings_for_problems():
        store = _open(tracking, root)
        run = TrackedRun(store, store.begin_search(name))
    with _ending(run):
        yield Trials(tracking, root, run.id)
    run.end()


@contextmanager
def _ending(run: TrackedRun) -> Iterator[None]:
    """Let whatever ends the block in an error end the run too."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        run.fail("KILLED")
        raise
    except BaseException:
        run.fail("FAILED")
        raise


def add_to_run(tracking: TrackingParams, model: Path, results: Path) -> None:
    """Add a folder of results to the run of the model they belong to."""
    with _warnings_for_problems():
        _open(tracking, _stage_root()).log_results(model, results)


def _stage_root() -> Path:
    # DVC says where the workspace is; a temporary experiment still tracks in the real one.
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def _open(tracking: TrackingParams, root: Path) -> Store:
    return open_store(root, tracking.experiment, tracking.registered_model)


@contextmanager
def _warnings_for_problems() -> Iterator[None]:
    try:
        yield
    except TrackingError as error:
        logger.warning("not tracked: %s; mend it, then run `serct sync`", error)
