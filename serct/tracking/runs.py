"""Runs: one training each, found by the fingerprint of what was trained."""

import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from serct.config.params import PipelineParams
from serct.errors import TrackingError
from serct.tracking import run_content
from serct.tracking.connection import Connection
from serct.tracking.experiment_page import ensure_experiment, introduce
from serct.tracking.folders import ModelFolder, ResultsFolder
from serct.tracking.models import find_logged_model, log_model
from serct.tracking.process_tags import HOST, PID, is_alive, process_source, process_tags
from serct.tracking.registry import Registry
from serct.tracking.run_content import FINGERPRINT, WEIGHTS, now_ms, run_name, set_tags, source_tags

if TYPE_CHECKING:
    from mlflow.entities import Run


@dataclass(frozen=True)
class Store(Registry):
    """The runs of one experiment, and the registered versions of its models.

    Every method raises `TrackingError` and nothing else when the store cannot be used. Files are
    written before they are shown here, so a caller may go on without tracking; `serct sync`
    builds the rest later.

    Attributes:
        experiment_id: Where runs go.
    """

    experiment_id: str

    def begin(
        self, card: Mapping[str, Any], parent: str | None = None, started_ms: int | None = None
    ) -> str:
        """Open the run of a training that goes on, or go on with the one that was cut off.

        Args:
            card: Keys of the model card that are set before training.
            parent: The run of the search it is a trial of, None for a training of its own.
            started_ms: When it began, in ms since 1970; None: now.

        Returns:
            The run's id.
        """
        with self.errors("begin a run"):
            self.reap()
            with self.lock:
                run_id = self._resumable(str(card["fingerprint"]))
                if run_id is None:
                    facts = process_source()
                    run_id = self._create(
                        card, facts, now_ms() if started_ms is None else started_ms
                    )
                # MLflow shows a run below the one that this tag names.
                tags = {"mlflow.parentRunId": parent}
                self._claim_run(run_id, tags, "train.py" if parent is None else "serct search")
            return run_id

    def begin_search(self, name: str) -> str:
        """Open the run above the trials of a search, or go on with it, and return its id."""
        with self.errors("begin a search"):
            self.reap()
            with self.lock:
                found = self._search(f"tags.`serct.search` = '{name}'")
                run = found[0] if found else self._create_search(name)
                self._claim_run(str(run.info.run_id), {}, "serct search")
            return str(run.info.run_id)

    def log_epochs(self, run_id: str, rows: Iterable[tuple[Mapping[str, Any], int]]) -> None:
        """Log rows of the history; an epoch that the run has already is left as it is.

        Args:
            run_id: The run.
            rows: Each with its time in ms since 1970.
        """
        with self.errors("log epochs"):
            run_content.log_epochs(self.client, run_id, rows)

    def finish(self, run_id: str, folder: ModelFolder) -> None:
        """Complete the run of a training that just ended, and end it.

        `ensure` registers its model, in the order of all models.
        """
        with self.errors(f"finish the run of {folder.path}"):
            self._log_folder(run_id, folder)
            self._end(run_id, now_ms())

    def end(
        self, run_id: str, status: Literal["FINISHED", "FAILED", "KILLED"] = "FINISHED"
    ) -> None:
        """End a run that registers nothing: a search, a trial, a training that was cut off."""
        with self.errors("end a run"):
            self.client.set_terminated(run_id, status)

    def reap(self) -> list[str]:
        """End the runs whose process on this machine is dead, at the time of their last metric.

        Returns:
            Ids of the runs that are now KILLED.
        """
        with self.errors("look for dead runs"):
            host = f"tags.`{HOST}` = '{socket.gethostname()}'"
            running = self._search(f"attributes.status = 'RUNNING' and {host}")
            dead = [run for run in running if not is_alive(run.data.tags)]
            for run in dead:
                self.client.set_terminated(run.info.run_id, "KILLED", self._last_sign_ms(run))
            return [str(run.info.run_id) for run in dead]

    def ensure(self, folder: ModelFolder) -> tuple[str, bool]:
        """Find the finished run of a model's folder, or build it from the files.

        Returns:
            The run's id, and whether it had to be built or completed.
        """
        # two reports, or a report and a sync, may come at once
        with self.errors(f"show {folder.path}"), self.lock:
            if finished := self._finished(folder):
                return str(finished[0].info.run_id), False
            self.reap()
            run_id = self._resumable(folder.fingerprint)
            if run_id is None:
                run_id = self._create(folder.card, folder.run, folder.started_ms)
                source = source_tags(folder.run)
                set_tags(self.client, run_id, {**source, "serct.rebuilt": "true"})
            # Every step may be repeated, and the run is ended last: after a crash, all is done
            # again.
            self._log_folder(run_id, folder)
            self.register(run_id, folder)
            self._end(run_id, folder.ended_ms)
            return run_id, True

    def log_results(self, folder: ModelFolder, results: ResultsFolder) -> bool:
        """Log scores, confusion matrices and files to the runs that made a model.

        A run's status and end stay; a run that no longer exists is built from files first, one
        that has the very same results is left alone.

        Args:
            folder: The model.
            results: Of its test part or of other corpora.

        Returns:
            Whether anything was logged.

        Raises:
            TrackingError: If the results are of another model.
        """
        with self.errors(f"log {results.path}"):
            self.ensure(folder)
            found = results.metrics.get("fingerprint")
            if found != folder.fingerprint:
                raise TrackingError(
                    f"{results.path}: results of the model with fingerprint {found}, but "
                    f"{folder.path} has {folder.fingerprint}: run the stage again"
                )
            tag = f"serct.{results.kind}"
            runs = [
                run for run in self._finished(folder) if run.data.tags.get(tag) != results.digest
            ]
            for run in runs:
                run_id = str(run.info.run_id)
                model_id = find_logged_model(self.client, run_id, folder.weights_digest)
                run_content.log_results(self.client, run_id, folder, results, model_id)
            return bool(runs)

    def introduce(self, pipeline: PipelineParams) -> bool:
        """Explain the metrics on the experiment's page, see `serct.tracking.experiment_page`."""
        with self.errors("explain the metrics"):
            return introduce(self.client, self.experiment_id, pipeline)

    def _log_folder(self, run_id: str, folder: ModelFolder) -> None:
        """Log all that a model's folder holds, once; may be repeated after a crash.

        Args:
            run_id: The run of the training that made the folder.
            folder: The model.
        """
        weights = folder.weights_digest
        if self.client.get_run(run_id).data.tags.get(WEIGHTS) == weights:
            return
        run_content.log_folder(self.client, run_id, folder)
        model_id = find_logged_model(self.client, run_id, weights)
        model_id = model_id or log_model(self.client, run_id, folder)
        run_content.log_validation(self.client, run_id, folder, model_id)
        # The digest marks the run as complete, so it is set last.
        set_tags(self.client, run_id, {WEIGHTS: weights})

    def _end(self, run_id: str, end_ms: int) -> None:
        """End a run, at a time in ms since 1970; a finished one keeps its end."""
        info = self.client.get_run(run_id).info
        if info.status != "FINISHED":
            self.client.set_terminated(run_id, "FINISHED", max(end_ms, info.start_time))

    def _create(self, card: Mapping[str, Any], facts: Mapping[str, Any], start_ms: int) -> str:
        """Make a run with tags and parameters of a training, and return its id.

        Args:
            card: Keys of the model card that are set before training.
            facts: By the keys of run.json; ``dvc_experiment`` becomes part of the run's name.
            start_ms: When training began, in ms since 1970.
        """
        from mlflow.entities import Param

        run = self.client.create_run(
            self.experiment_id,
            start_time=start_ms,
            run_name=run_name(card, facts.get("dvc_experiment")),
            tags=run_content.training_tags(card),
        )
        run_id = str(run.info.run_id)
        params = [Param(key, value) for key, value in run_content.training_params(card).items()]
        self.client.log_batch(run_id, params=params)
        return run_id

    def _create_search(self, name: str) -> "Run":
        return self.client.create_run(
            self.experiment_id, now_ms(), {"serct.search": name}, run_name=f"search {name}"
        )

    def _claim_run(self, run_id: str, tags: Mapping[str, str | None], program: str) -> None:
        """Mark a run as running in this process, within the DVC stage that runs it if any."""
        self.client.update_run(run_id, status="RUNNING")
        source = source_tags(process_source(), program)
        set_tags(self.client, run_id, {**process_tags(), **source, **tags})

    def _resumable(self, fingerprint: str) -> str | None:
        """Return the run that a training begun now goes on with, None for a new one.

        That is the latest run of the fingerprint if it was cut off. One that another process on
        this machine is still writing is left alone; `reap` comes first, so that "running" is true.
        """
        for run in self._search(f"tags.`{FINGERPRINT}` = '{fingerprint}'")[:1]:
            tags, status = run.data.tags, run.info.status
            is_other = tags.get(PID) != str(os.getpid())
            is_taken = status == "RUNNING" and is_other and is_alive(tags)
            if status in ("RUNNING", "KILLED", "FAILED") and not is_taken:
                return str(run.info.run_id)
        return None

    def _finished(self, folder: ModelFolder) -> "list[Run]":
        """Return the finished runs that made a folder's very weights: a repetition makes them."""
        return [
            run
            for run in self._search(f"tags.`{FINGERPRINT}` = '{folder.fingerprint}'")
            if run.info.status == "FINISHED" and run.data.tags.get(WEIGHTS) == folder.weights_digest
        ]

    def _search(self, query: str) -> "list[Run]":
        """Return runs, the latest first."""
        order = ["attributes.start_time DESC"]
        ids = [self.experiment_id]
        return list(self.client.search_runs(ids, query, max_results=1000, order_by=order))

    def _last_sign_ms(self, run: "Run") -> int:
        times = [
            past.timestamp
            # The second is the first one's name up to serct 0.2.
            for key in ("epoch/train_loss", "train/loss", "system/cpu_utilization_percentage")
            for past in self.client.get_metric_history(run.info.run_id, key)
        ]
        return int(max([run.info.start_time, *times]))


def open_store(root: Path, experiment: str, registered_model: str) -> Store:
    """Open the tracking store of a workspace, made first if there is none.

    Args:
        root: The workspace; its store is mlflow.db there unless ``MLFLOW_TRACKING_URI`` is set.
        experiment: Name of MLflow's experiment.
        registered_model: Name that versions are registered under.

    Raises:
        TrackingError: If the store cannot be opened, or belongs to a workspace that was moved.
    """
    store = Connection.of(root)
    with store.errors("open the store"):
        Path(store.lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        # Two processes that both find no database would ruin it for good: each would run all
        # the migrations.
        with store.locked():
            client = store.open_client()
            experiment_id = ensure_experiment(client, store, experiment)
    return Store(store.root, store.uri, client, registered_model, experiment_id)
