"""Logs the run of a stage; without a server there is a warning, and the results stay.

Files are written first and are the truth. If MLflow cannot be reached, a warning is
logged, and `serct sync` builds the run from the files later.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from serct.config.params import TrackingParams
from serct.errors import TrackingError
from serct.runtime import distributed
from serct.runtime.log import logger
from serct.tracking.folders import ModelFolder, ResultsFolder
from serct.tracking.runs import Store, open_store

# Short enough that a training of half a minute shows a curve.
_SYSTEM_METRICS_INTERVAL_S = 2.0
_NOT_TRACKED = "not tracked: %s; fix it, then run `serct sync`"


class RunLogger:
    """Logs the run of one training, or nothing if tracking is out of reach.

    Attributes:
        id: MLflow's id of the run, None if there is none.
    """

    def __init__(self, store: Store | None = None, run_id: str | None = None) -> None:
        self.id = run_id
        self._store = store

    def __enter__(self) -> "RunLogger":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the run too if an error ends the block; otherwise it goes on."""
        if kind is not None:
            is_killed = issubclass(kind, KeyboardInterrupt | SystemExit)
            self.end("KILLED" if is_killed else "FAILED")

    def log_epoch(self, row: Mapping[str, Any]) -> None:
        """Log one row of the history."""
        self._try(lambda store, run_id: store.log_epoch(run_id, row))

    def finish(self, folder: Path) -> None:
        """Log the finished model's folder, register it and end the run."""
        self._try(lambda store, run_id: store.finish(run_id, ModelFolder.read(folder)))

    def end(self, status: Literal["FINISHED", "FAILED", "KILLED"] = "FINISHED") -> None:
        """End the run, which registers nothing."""
        self._try(lambda store, run_id: store.end(run_id, status))

    def _try(self, action: Callable[[Store, str], None]) -> None:
        if self._store is not None and self.id is not None:
            with _only_warn(_NOT_TRACKED):
                action(self._store, self.id)

    @contextmanager
    def system_metrics(self, enabled: bool = True) -> Iterator[None]:
        """Log the load of CPU, memory and GPU during the block."""
        if not enabled or self._store is None or self.id is None:
            yield
            return
        errors = self._store.errors
        monitor: Any = None
        with _only_warn("%s"), errors("log system metrics"):
            from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

            started = SystemMetricsMonitor(  # type: ignore[no-untyped-call]
                self.id,
                sampling_interval=_SYSTEM_METRICS_INTERVAL_S,
                resume_logging=True,
                tracking_uri=self._store.uri,
            )
            started.start()  # type: ignore[no-untyped-call]
            monitor = started
        try:
            yield
        finally:
            if monitor is not None:
                with _only_warn("%s"), errors("log system metrics"):
                    monitor.finish()


@contextmanager
def tracked(tracking: TrackingParams, card: dict[str, Any]) -> Iterator[RunLogger]:
    """Open a run around a training; an error that ends the training also ends the run.

    Args:
        tracking: Names in MLflow.
        card: Keys of `card.json` that are set before training.
    """
    if distributed.rank() > 0:
        # Of the processes that train together only the first one logs.
        yield RunLogger()
        return
    run = _begin(tracking, _stage_root(), lambda store: store.begin(card))
    with run, run.system_metrics(tracking.system_metrics):
        yield run


@dataclass(frozen=True)
class Trials:
    """The runs of a search's trials, below the search's own; may be sent to other processes.

    Attributes:
        tracking: Names in MLflow.
        root: The workspace.
        parent: The search's own run, None if tracking is lost: then trials have none either.
    """

    tracking: TrackingParams
    root: Path
    parent: str | None

    @contextmanager
    def trial(self, card: dict[str, Any]) -> Iterator[RunLogger]:
        """Open a run around one trial; ``card`` as for `tracked`."""
        run = RunLogger()
        if self.parent is not None:
            run = _begin(self.tracking, self.root, lambda store: store.begin(card, self.parent))
        with run:
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
    run = _begin(tracking, root, lambda store: store.begin_search(name))
    with run:
        yield Trials(tracking, root, run.id)
    run.end()


def add_to_run(tracking: TrackingParams, model: Path, results: Path) -> None:
    """Add a folder of results to the run of the model they belong to."""
    with _only_warn(_NOT_TRACKED):
        store = open_store(_stage_root(), tracking.experiment, tracking.registered_model)
        store.log_results(ModelFolder.read(model), ResultsFolder.read(results))


def _begin(tracking: TrackingParams, root: Path, begin: Callable[[Store], str]) -> RunLogger:
    """Open the store and a run in it; without them the result logs nothing."""
    with _only_warn(_NOT_TRACKED):
        store = open_store(root, tracking.experiment, tracking.registered_model)
        return RunLogger(store, begin(store))
    return RunLogger()


def _stage_root() -> Path:
    # DVC sets DVC_ROOT; a temporary experiment still tracks in the real workspace.
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


@contextmanager
def _only_warn(text: str) -> Iterator[None]:
    try:
        yield
    except TrackingError as error:
        logger.warning(text, error)
