"""Shows in MLflow what stages do; without a server there is a warning, and the results stay.

Files are written first and are the truth. A training that lasts logs its run live. The last stage
shows everything else, once: importing MLflow and opening its database takes seconds. If MLflow
cannot be reached, a warning is logged, and `serct sync` builds all from the files later.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from serct.config.params import PipelineParams, TrackingParams
from serct.errors import TrackingError
from serct.runtime import distributed
from serct.runtime.log import logger
from serct.tracking.connection import Connection
from serct.tracking.folders import ModelFolder
from serct.tracking.run_content import now_ms
from serct.tracking.runs import Store, open_store
from serct.tracking.shown_mark import ShownMark
from serct.tracking.sync import sync_store

# A training that ends earlier opens no run; at the end of each epoch it is decided anew.
_SHORT_S = 20.0
# Short enough that a training of half a minute shows a curve.
_SYSTEM_METRICS_INTERVAL_S = 2.0
_NOT_TRACKED = "not tracked: %s; fix it, then run `serct sync`"


class RunLogger:
    """Logs the run of one training, or nothing if tracking is out of reach.

    Attributes:
        id: MLflow's id of the run, None as long as none is open.
    """

    def __init__(
        self,
        begin: Callable[[int], tuple[Store, str]] | None = None,
        after_s: float = 0.0,
        system_metrics: bool = False,
    ) -> None:
        """Prepare to log; nothing is opened yet.

        Args:
            begin: Opens the store and a run in it, from when training began in ms since 1970;
                None: nothing is logged.
            after_s: The run is opened at the end of the first epoch that ends so late.
            system_metrics: Whether to log the load of CPU, memory and GPU while it is open.
        """
        self.id: str | None = None
        self._store: Store | None = None
        self._begin = begin
        self._after_s = after_s
        self._has_system_metrics = system_metrics
        self._monitor: Any = None
        self._started_ms, self._started_s = now_ms(), time.monotonic()
        self._waiting: list[tuple[Mapping[str, Any], int]] = []

    def __enter__(self) -> "RunLogger":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the run too if an error ends the block; otherwise it goes on."""
        self._stop_monitor()
        if kind is not None:
            is_killed = issubclass(kind, KeyboardInterrupt | SystemExit)
            self.end("KILLED" if is_killed else "FAILED")

    def open(self) -> None:
        """Open the run, unless it is open or could not be opened before."""
        begin, self._begin = self._begin, None
        if begin is not None:
            with _only_warn(_NOT_TRACKED):
                self._store, self.id = begin(self._started_ms)
                if self._has_system_metrics:
                    self._start_monitor(self._store, self.id)

    def log_epoch(self, row: Mapping[str, Any]) -> None:
        """Log one row of the history, and those that came before the run was open."""
        self._waiting.append((row, now_ms()))
        if time.monotonic() - self._started_s >= self._after_s:
            self.open()
        rows = self._waiting
        if self._try(lambda store, run_id: store.log_epochs(run_id, rows)):
            self._waiting = []

    def finish(self, folder: Path) -> None:
        """Log the finished model's folder and end the run, if it is open."""
        self._try(lambda store, run_id: store.finish(run_id, ModelFolder.read(folder)))

    def end(self, status: Literal["FINISHED", "FAILED", "KILLED"] = "FINISHED") -> None:
        """End the run, which registers nothing."""
        self._try(lambda store, run_id: store.end(run_id, status))

    def _try(self, action: Callable[[Store, str], None]) -> bool:
        """Do something with the run if it is open; return whether that was done."""
        if self._store is None or self.id is None:
            return False
        with _only_warn(_NOT_TRACKED):
            action(self._store, self.id)
            return True
        return False

    def _start_monitor(self, store: Store, run_id: str) -> None:
        with _only_warn("%s"), store.errors("log system metrics"):
            from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

            monitor = SystemMetricsMonitor(  # type: ignore[no-untyped-call]
                run_id,
                sampling_interval=_SYSTEM_METRICS_INTERVAL_S,
                resume_logging=True,
                tracking_uri=store.uri,
            )
            monitor.start()  # type: ignore[no-untyped-call]
            self._monitor = monitor

    def _stop_monitor(self) -> None:
        if self._monitor is not None and self._store is not None:
            with _only_warn("%s"), self._store.errors("log system metrics"):
                self._monitor.finish()
            self._monitor = None


@contextmanager
def tracked(tracking: TrackingParams, card: dict[str, Any]) -> Iterator[RunLogger]:
    """Log a training that lasts; an error that ends it also ends its run.

    A short one opens nothing: importing MLflow and opening its database would take longer than
    the training. `show_results` makes its run from the files.

    Args:
        tracking: Names in MLflow.
        card: Keys of `card.json` that are set before training.
    """
    if distributed.rank() > 0:
        # Of the processes that train together only the first one logs.
        yield RunLogger()
        return
    root = workspace_of_stage()

    def begin(started_ms: int) -> tuple[Store, str]:
        store = open_store(root, tracking.experiment, tracking.registered_model)
        return store, store.begin(card, started_ms=started_ms)

    with RunLogger(begin, _SHORT_S, tracking.system_metrics) as run:
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
            run = _opened(self.tracking, self.root, lambda store: store.begin(card, self.parent))
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
    run = _opened(tracking, root, lambda store: store.begin_search(name))
    with run:
        yield Trials(tracking, root, run.id)
    run.end()


def _opened(tracking: TrackingParams, root: Path, begin: Callable[[Store], str]) -> RunLogger:
    """Open the store and a run in it at once; without them the result logs nothing."""

    def open_run(started_ms: int) -> tuple[Store, str]:
        store = open_store(root, tracking.experiment, tracking.registered_model)
        return store, begin(store)

    run = RunLogger(open_run)
    run.open()
    return run


def show_results(tracking: TrackingParams, data: Path, pipeline: PipelineParams) -> None:
    """Show the models and results of a pipeline in MLflow; a warning if that is not possible.

    MLflow is not even imported if it shows them already.

    Args:
        tracking: Names in MLflow.
        data: The folder that holds ``models`` and ``reports``.
        pipeline: Which models and corpora; no other folder is read.
    """
    names = [f"{corpus}-{model}" for corpus in pipeline.train_corpora for model in pipeline.models]
    with _only_warn(_NOT_TRACKED):
        root = workspace_of_stage()
        mark = ShownMark(Connection.of(root), tracking, data, names)
        if mark.is_set():
            return
        store = open_store(root, tracking.experiment, tracking.registered_model)
        report = sync_store(store, data, names)
        store.introduce(pipeline)
        for problem in report.problems:
            logger.warning(_NOT_TRACKED, problem)
        if not report.problems:
            mark.set()


def workspace_of_stage() -> Path:
    """Return the workspace of the stage that this process runs.

    DVC sets DVC_ROOT: a temporary experiment still tracks in the real workspace.
    """
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


@contextmanager
def _only_warn(text: str) -> Iterator[None]:
    try:
        yield
    except TrackingError as error:
        logger.warning(text, error)
