"""The store: all that stages and commands ask of MLflow."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from serct.errors import TrackingError
from serct.runtime import machine
from serct.tracking import completion, registry, results, runs
from serct.tracking.connection import Connection, talking
from serct.tracking.folders import ModelFolder, ResultsFolder
from serct.tracking.opening import open_connection
from serct.tracking.served import served_answer
from serct.tracking.sync import SyncReport, sync

logger = logging.getLogger("serct")

# Short enough that a training of half a minute shows a curve.
SYSTEM_METRICS_INTERVAL_S = 2.0


class Store:
    """Runs and registered versions of one workspace.

    Every method raises `TrackingError` and nothing else when the store cannot be used or the
    files are not what they should be. Files are written before they are shown here, so a caller
    may go on without tracking; `sync` makes up for it.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.uri = connection.uri

    def begin(self, card: Mapping[str, Any], parent: str | None = None) -> str:
        """Open the run of a training that begins now, or go on with the one that was cut off.

        Args:
            card: What is known of the model card before training.
            parent: The run of the search it is a trial of, None for a training of its own.

        Returns:
            The run's id.
        """
        with talking(self.uri, "begin a run"):
            runs.reap(self._connection)
            fingerprint = str(card["fingerprint"])
            with self._connection.lock:
                run_id = runs.resumable(self._connection, fingerprint) or runs.create(
                    self._connection, card, runs.now_ms()
                )
                runs.occupy(self._connection, run_id, machine.git_commit())
                runs.set_tags(self._connection, run_id, {runs.PARENT: parent})
            return run_id

    def begin_search(self, name: str) -> str:
        """Open the run above the trials of a search, or go on with it; gives its id."""
        with talking(self.uri, "begin a search"):
            runs.reap(self._connection)
            with self._connection.lock:
                run_id = runs.search_run(self._connection, name)
                runs.occupy(self._connection, run_id, machine.git_commit())
            return run_id

    def end(self, run_id: str) -> None:
        """End the run of a search or a trial, which register nothing."""
        with talking(self.uri, "end a run"):
            self._connection.client.set_terminated(run_id, "FINISHED")

    def log_epoch(self, run_id: str, row: Mapping[str, Any]) -> None:
        """Log one row of the history; an epoch that the run has already is left as it is."""
        with talking(self.uri, f"log epoch {row.get('epoch')}"):
            runs.log_history(self._connection, run_id, [(row, runs.now_ms())])

    @contextmanager
    def watch_system(self, run_id: str, enabled: bool = True) -> Iterator[None]:
        """Log the load of CPU, memory and GPU meanwhile; never an error, at worst a warning."""
        monitor = self._start_monitor(run_id) if enabled else None
        try:
            yield
        finally:
            if monitor is not None:
                with _only_warning(), talking(self.uri, "log system metrics"):
                    monitor.finish()

    def _start_monitor(self, run_id: str) -> Any:
        with _only_warning(), talking(self.uri, "log system metrics"):
            from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

            monitor = SystemMetricsMonitor(  # type: ignore[no-untyped-call]
                run_id,
                sampling_interval=SYSTEM_METRICS_INTERVAL_S,
                resume_logging=True,
                tracking_uri=self.uri,
            )
            monitor.start()  # type: ignore[no-untyped-call]
            return monitor
        return None

    def finish(self, run_id: str, model_folder: Path) -> None:
        """Complete the run of a training that just ended, register its model, end it.

        Args:
            run_id: From `begin`.
            model_folder: What the training wrote, complete.
        """
        with talking(self.uri, f"finish the run of {model_folder}"):
            folder = ModelFolder.read(model_folder)
            completion.finish(self._connection, run_id, folder, runs.now_ms())

    def fail(self, run_id: str, status: Literal["FAILED", "KILLED"]) -> None:
        """End a run whose training did not come to its end."""
        with talking(self.uri, "end a run"):
            self._connection.client.set_terminated(run_id, status)

    def reap(self) -> list[str]:
        """End the runs whose process on this machine is gone; gives their ids."""
        with talking(self.uri, "look for dead runs"):
            return runs.reap(self._connection)

    def ensure(self, model_folder: Path) -> str:
        """Give the id of the finished run of a model's folder, built from files if missing."""
        with talking(self.uri, f"show {model_folder}"):
            return completion.ensure(self._connection, ModelFolder.read(model_folder))[0]

    def log_results(self, model_folder: Path, results_folder: Path) -> None:
        """Add results (of the stage evaluate or zero_shot) to the run of the model they are of.

        The run's status and end stay; a run that no longer exists is built from files first.
        """
        with talking(self.uri, f"log {results_folder}"):
            folder, found = ModelFolder.read(model_folder), ResultsFolder.read(results_folder)
            completion.ensure(self._connection, folder)
            results.log_results(self._connection, folder, found)

    def sync(self, data: Path) -> SyncReport:
        """Build from a workspace's data folder whatever the store lacks."""
        return sync(self._connection, data)

    def versions(self) -> list[registry.Version]:
        """List all registered versions, the oldest first."""
        with talking(self.uri, "list versions"):
            return registry.list_versions(
                self._connection.client, self._connection.registered_model
            )

    def version(self, which: str) -> registry.Version:
        """Find a version by "3" or "@challenger".

        Raises:
            TrackingError: If there is none; says what there is.
        """
        with talking(self.uri, f"find version {which}"):
            found = registry.find_version(
                self._connection.client, self._connection.registered_model, which
            )
            number = str(found.version)
        known = self.versions()
        for version in known:
            if version.version == number:
                return version
        raise TrackingError(f"{self.uri}: version {number} was not registered by serct")

    def folder(self, version: str) -> Path:
        """Give the local folder, with card.json in it, of a version."""
        with talking(self.uri, f"fetch version {version}"):
            found = registry.find_version(
                self._connection.client, self._connection.registered_model, version
            )
            return registry.fetch_folder(
                self._connection.client, self.uri, registry.logged_model_id(found)
            )

    def answer_as_served(self, version: str, audio: bytes) -> dict[str, Any]:
        """Answer for one audio file with a version as `mlflow models serve` would."""
        with talking(self.uri, f"load version {version} as MLflow does"):
            return served_answer(self._connection, version, audio)

    def appoint(self, champion: str, previous: str | None, tags: Mapping[str, str]) -> None:
        """Point `champion` and `previous` (None: to none) to versions; tag the champion."""
        with talking(self.uri, f"make version {champion} the champion"):
            registry.appoint(self._connection, champion, previous)
            registry.set_tags(self._connection, champion, dict(tags))


def open_store(root: Path, experiment: str, registered_model: str) -> Store:
    """Open the tracking store of a workspace, made first if there is none.

    Args:
        root: The workspace; its store is mlflow.db there unless ``MLFLOW_TRACKING_URI`` is set.
        experiment: Name of MLflow's experiment.
        registered_model: Name that versions are registered under.

    Raises:
        TrackingError: If the store cannot be opened, or belongs to a workspace that was moved.
    """
    return Store(open_connection(root.resolve(), experiment, registered_model))


def list_versions(store: Store) -> list[dict[str, str]]:
    """Give the registered versions as rows of text for a table, the oldest first."""
    return [
        {
            "version": found.version,
            "aliases": ", ".join(found.aliases),
            "model": found.model,
            "corpus": f"{found.corpus} (synthetic)" if found.synthetic else found.corpus,
            "validation UA": f"{found.validation_ua:.4f}",
            "test UA": "" if found.test_ua is None else f"{found.test_ua:.4f}",
            "fingerprint": found.fingerprint[:12],
        }
        for found in store.versions()
    ]


@contextmanager
def _only_warning() -> Iterator[None]:
    try:
        yield
    except TrackingError as error:
        logger.warning("%s", error)
