"""MLflow as a projection of files: what a live training shows, a rebuild shows again."""

import base64
import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from serct import tracking
from serct.config.params import TrackingParams
from serct.errors import TrackingError
from serct.runtime.machine import user_name
from serct.tracking import Store
from serct.tracking.connection import Connection
from serct.tracking.folders import ModelFolder, ResultsFolder
from serct.tracking.run_logger import RunLogger, show_results, tracked
from tests.edited import edit_record
from tests.fake_results import (
    make_card,
    make_pipeline,
    write_json,
    write_model,
    write_results,
    write_test,
    write_zero_shot,
)

NAME = "tess-serct"


@pytest.fixture
def root(tmp_path: Path, new_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with an empty store."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "DVC_STAGE"):
        monkeypatch.delenv(name, raising=False)
    root = tmp_path / "my workspace"
    root.mkdir()
    monkeypatch.chdir(root)
    shutil.copy(new_database, root / "mlflow.db")
    return root


@pytest.fixture
def store(root: Path) -> Store:
    return open_store(root)


@pytest.fixture(scope="module")
def one_version(tmp_path_factory: pytest.TempPathFactory, new_database: Path) -> Path:
    """A workspace with one registered version, not to be changed."""
    root = tmp_path_factory.mktemp("one_version")
    shutil.copy(new_database, root / "mlflow.db")
    open_store(root).ensure(ModelFolder.read(write_trained(root)))
    return root


def open_store(root: Path) -> Store:
    return tracking.open_store(root, "serct", "serct")


def known_before_training(corpus: str = "tess", model: str = "serct") -> dict[str, Any]:
    card = make_card(corpus, model)
    for told_by_training in ("num_parameters", "best_epoch", "validation"):
        del card[told_by_training]
    return card


def write_trained(
    root: Path, corpus: str = "tess", model: str = "serct", ua: float = 0.8765, **changes: Any
) -> Path:
    """Write a model's folder with weights; a better model began earlier."""
    validation = {"loss": 0.4, "wa": 0.9, "ua": ua, "wf1": 0.89}
    write_model(root / "data", corpus, model, validation=validation, **changes)
    folder = root / "data" / "models" / f"{corpus}-{model}"
    (folder / "weights.safetensors").write_bytes(f"weights {ua}".encode())
    return folder


def rows(folder: Path) -> list[dict[str, float]]:
    with (folder / "history.csv").open(encoding="utf-8", newline="") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def train(store: Store, folder: Path) -> str:
    """Do what a long training does, and the report after it."""
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    run_id = store.begin(card)
    log_epochs(store, run_id, rows(folder))
    store.finish(run_id, ModelFolder.read(folder))
    assert store.ensure(ModelFolder.read(folder)) == (run_id, False)
    store.register(run_id, ModelFolder.read(folder))
    return run_id


def log_epochs(store: Store, run_id: str, epochs: list[dict[str, float]]) -> None:
    at_ms = int(time.time() * 1000)
    store.log_epochs(run_id, [(row, at_ms) for row in epochs])


def log_results(store: Store, folder: Path, results: Path) -> None:
    store.log_results(ModelFolder.read(folder), ResultsFolder.read(results))


def client(store: Store) -> MlflowClient:
    return MlflowClient(store.uri, registry_uri=store.uri)


def all_runs(store: Store) -> list[Any]:
    experiment = client(store).get_experiment_by_name("serct")
    assert experiment is not None
    return list(client(store).search_runs([experiment.experiment_id]))


def alias(store: Store, name: str = "challenger") -> str:
    return str(client(store).get_model_version_by_alias("serct", name).version)


def snapshot(store: Store) -> dict[str, Any]:
    """All that people see of the runs and versions, without ids and times of logging."""
    found = {}
    for run in all_runs(store):
        histories = {
            key: [(m.step, m.value) for m in client(store).get_metric_history(run.info.run_id, key)]
            for key in run.data.metrics
        }
        transient = ("serct.pid", "serct.process_started", "serct.host", "serct.rebuilt")
        local = (
            "serct.git_commit", "mlflow.source.git.commit", "serct.dvc_stage", "mlflow.source.name",
        )  # fmt: skip
        tags = {k: v for k, v in run.data.tags.items() if k not in (*transient, *local)}
        files = sorted(f.path for f in client(store).list_artifacts(run.info.run_id))
        inputs = sorted((i.dataset.name, i.dataset.digest) for i in run.inputs.dataset_inputs)
        found[run.info.run_name] = (
            run.info.status,
            run.data.params,
            histories,
            tags,
            files,
            inputs,
        )
    versions = [
        (v.version, v.aliases, v.model, v.validation_ua, v.test_ua, v.fingerprint)
        for v in store.versions()
    ]
    return {"runs": found, "versions": versions}


def test_importing_costs_nothing() -> None:
    code = "import sys, serct.tracking; print({'mlflow', 'torch', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


class TestLiveTraining:
    def test_run_tells_what_was_trained(
        self, root: Path, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DVC_EXP_NAME", "tardy-tapir")
        monkeypatch.setenv("DVC_STAGE", "train@serct-tess")
        run_id = store.begin(known_before_training())
        run = client(store).get_run(run_id)
        card = make_card("tess", "serct")
        expected = {
            "serct.fingerprint": card["fingerprint"],
            "serct.synthetic": "false",
            "serct.manifest_digest": card["digests"]["manifest"],
            "serct.pid": str(os.getpid()),
            "serct.host": socket.gethostname(),
            "serct.dvc_stage": "train@serct-tess",
            "DVC_EXP_NAME": "tardy-tapir",
            "mlflow.source.name": "train@serct-tess",
            "mlflow.source.type": "LOCAL",
            "mlflow.user": user_name(),
            "thesis.test.ua": "0.9893",
        }
        assert expected.items() <= run.data.tags.items()
        assert run.info.run_name == "serct on tess (random), tardy-tapir"
        assert run.info.status == "RUNNING"
        assert run.data.params["training.learning_rate"] == "0.001"
        assert run.data.params["model.architecture"] == "serct"
        assert run.data.params["audio.num_samples"] == "144000"

    def test_model_without_a_thesis_row_has_no_thesis_tags(self, store: Store) -> None:
        run_id = store.begin(known_before_training("demo_en"))
        tags = client(store).get_run(run_id).data.tags
        assert tags["serct.synthetic"] == "true"
        assert not [key for key in tags if key.startswith("thesis")]

    def test_finished_run_holds_curves_files_data_and_model(self, root: Path, store: Store) -> None:
        folder = write_trained(root)
        manifest = root / "data" / "manifests" / "tess.csv"
        manifest.parent.mkdir()
        manifest.write_text("emotion,split\nsad,train\nsad,train\nhappy,test\n", encoding="utf-8")
        run_id = train(store, folder)
        run = client(store).get_run(run_id)
        curve = client(store).get_metric_history(run_id, "epoch/validation_ua")
        assert [(m.step, m.value) for m in curve] == [
            (int(row["epoch"]), row["validation_ua"]) for row in rows(folder)
        ]
        assert run.info.status == "FINISHED"
        assert run.data.metrics["validation_ua"] == 0.8765
        files = {file.path for file in client(store).list_artifacts(run_id)}
        assert {"card.json", "card.md", "history.csv", "run.json", "curves.png"} <= files
        inputs = {i.dataset.name: (i.tags[0].value, i.dataset) for i in run.inputs.dataset_inputs}
        assert {context for context, _ in inputs.values()} == {"train", "validation", "test"}
        assert json.loads(inputs["tess/train"][1].profile) == {
            "num_rows": 2,
            "emotions": {"sad": 2},
        }
        version = client(store).get_model_version_by_alias("serct", "challenger")
        assert version.run_id == run_id
        assert version.description.startswith("# serct, trained on tess")
        assert "Article 5(1)(f)" in version.description
        assert version.tags["corpus"] == "tess"
        assert "mlruns" in {path.name for path in root.iterdir()}

    def test_finishing_twice_changes_nothing(self, root: Path, store: Store) -> None:
        folder = write_trained(root)
        run_id = train(store, folder)
        ended, before = client(store).get_run(run_id).info.end_time, snapshot(store)
        store.finish(run_id, ModelFolder.read(folder))
        assert client(store).get_run(run_id).info.end_time == ended
        assert snapshot(store) == before

    def test_killed_training_goes_on_without_doubled_epochs(self, root: Path, store: Store) -> None:
        folder = write_trained(root)
        run_id = store.begin(known_before_training())
        log_epochs(store, run_id, rows(folder)[:5])
        store.end(run_id, "KILLED")
        assert client(store).get_run(run_id).info.status == "KILLED"

        assert store.begin(known_before_training()) == run_id
        assert client(store).get_run(run_id).info.status == "RUNNING"
        log_epochs(store, run_id, rows(folder)[4:])
        store.finish(run_id, ModelFolder.read(folder))
        steps = [m.step for m in client(store).get_metric_history(run_id, "epoch/train_loss")]
        assert steps == list(range(1, 13))

    def test_training_anew_after_the_end_makes_a_new_run(self, root: Path, store: Store) -> None:
        folder = write_trained(root)
        first = train(store, folder)
        assert store.begin(known_before_training()) != first

    def test_run_of_a_living_process_is_left_alone(self, store: Store) -> None:
        first = store.begin(known_before_training())
        parent = os.getppid()
        import psutil

        started = str(psutil.Process(parent).create_time())
        client(store).set_tag(first, "serct.pid", str(parent))
        client(store).set_tag(first, "serct.process_started", started)
        assert store.begin(known_before_training()) != first

    def test_one_row_history_with_empty_cells(self, root: Path, store: Store) -> None:
        run_id = train(store, write_trained(root, model="svm"))
        metrics = client(store).get_run(run_id).data.metrics
        assert "epoch/train_loss" not in metrics
        assert metrics["epoch/validation_ua"] == pytest.approx(0.1)

    def test_system_metrics_are_watched(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("serct.tracking.run_logger._SYSTEM_METRICS_INTERVAL_S", 0.05)
        run_id = store.begin(known_before_training())
        with RunLogger(lambda _: (store, run_id), system_metrics=True) as run:
            run.open()
            time.sleep(0.6)
        found = client(store).get_run(run_id).data.metrics
        assert "system/cpu_utilization_percentage" in found

    def test_watching_never_stops_a_training(
        self, store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*args: Any, **named: Any) -> None:
            raise RuntimeError("no sensors")

        monkeypatch.setattr(
            "mlflow.system_metrics.system_metrics_monitor.SystemMetricsMonitor", broken
        )
        with RunLogger(lambda _: (store, "unknown"), system_metrics=True) as run:
            run.open()
        assert "cannot log system metrics: no sensors" in caplog.text


class TestShortAndLong:
    """`tracked`, whose constant decides how long a short training is."""

    TRACKING = TrackingParams(experiment="serct", registered_model="serct", system_metrics=False)

    def test_a_short_training_opens_nothing(self, root: Path) -> None:
        before = (root / "mlflow.db").read_bytes()
        with tracked(self.TRACKING, known_before_training()) as run:
            run.log_epoch({"epoch": 1, "train_loss": 1.0})
            run.finish(write_trained(root))
        assert run.id is None
        assert (root / "mlflow.db").read_bytes() == before

    def test_a_long_one_catches_up_and_goes_on_live(
        self, root: Path, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = write_trained(root)
        monkeypatch.setattr("serct.tracking.run_logger._SHORT_S", 0.05)
        begun_ms = time.time() * 1000
        with tracked(self.TRACKING, known_before_training()) as run:
            first, second, third, *_ = rows(folder)
            run.log_epoch(first)
            assert run.id is None
            time.sleep(0.06)
            run.log_epoch(second)
            assert run.id is not None
            run.log_epoch(third)
            curve = client(store).get_metric_history(run.id, "epoch/train_loss")
            assert [(m.step, m.value) for m in curve] == [
                (row["epoch"], row["train_loss"]) for row in (first, second, third)
            ]
            assert curve[1].timestamp - curve[0].timestamp >= 50
            info = client(store).get_run(run.id).info
            assert (info.status, abs(info.start_time - begun_ms) < 50) == ("RUNNING", True)
            run.finish(folder)
        assert client(store).get_run(run.id).info.status == "FINISHED"
        # Versions are numbered in one order, whatever took long: by the report.
        assert store.versions() == []
        assert tracking.sync_store(store, root / "data").actions == ("tess-serct: version",)

    def test_an_error_ends_the_run_of_a_long_one(
        self, root: Path, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("serct.tracking.run_logger._SHORT_S", 0.0)

        def interrupted() -> None:
            with tracked(self.TRACKING, known_before_training()) as run:
                run.log_epoch({"epoch": 1, "train_loss": 1.0})
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert [run.info.status for run in all_runs(store)] == ["KILLED"]


class TestReaping:
    @pytest.mark.slow
    def test_killed_process_leaves_no_run_running(self, root: Path, store: Store) -> None:
        code = (
            "import json, sys, time\n"
            "from pathlib import Path\n"
            "from serct.tracking import open_store\n"
            "store = open_store(Path(sys.argv[1]), 'serct', 'serct')\n"
            "print(store.begin(json.loads(sys.argv[2])), flush=True)\n"
            "time.sleep(600)\n"
        )
        argv = [sys.executable, "-c", code, str(root), json.dumps(known_before_training())]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            run_id = process.stdout.readline().strip()
            assert store.reap() == []
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert client(store).get_run(run_id).info.status == "RUNNING"
        assert store.reap() == [run_id]
        assert client(store).get_run(run_id).info.status == "KILLED"
        assert store.begin(known_before_training()) == run_id

    def test_number_of_an_ended_process_given_out_again(self, store: Store) -> None:
        run_id = store.begin(known_before_training())
        client(store).set_tag(run_id, "serct.process_started", "1000000000.0")
        assert store.reap() == [run_id]

    def test_runs_of_other_machines_are_left_alone(self, store: Store) -> None:
        run_id = store.begin(known_before_training())
        client(store).set_tag(run_id, "serct.host", "elsewhere")
        client(store).set_tag(run_id, "serct.pid", "1")
        assert store.reap() == []


class TestResults:
    def test_scores_join_the_finished_run(self, root: Path, store: Store) -> None:
        folder = write_trained(root)
        run_id = train(store, folder)
        before = client(store).get_run(run_id).info
        write_test(root / "data", "tess", "serct")
        write_zero_shot(root / "data", "tess", "serct", ["emodb"])
        evaluated = root / "data" / "reports" / "evaluate" / NAME
        zero_shot = root / "data" / "reports" / "zero_shot" / NAME
        log_results(store, folder, evaluated)
        log_results(store, folder, zero_shot)

        run = client(store).get_run(run_id)
        assert (run.info.status, run.info.end_time) == ("FINISHED", before.end_time)
        test = json.loads((evaluated / "metrics.json").read_text(encoding="utf-8"))
        target = json.loads((zero_shot / "metrics.json").read_text(encoding="utf-8"))
        masked = target["targets"]["emodb"]["masked"]
        expected = {
            f"{prefix}_{name}": found[name]
            for prefix, found in (("test", test), ("zero_shot_emodb", masked))
            for name in ("wa", "ua", "wf1", "loss")
        }
        assert expected == {k: v for k, v in run.data.metrics.items() if k in expected}
        assert len(run.data.metrics) == len(expected) + 4 + 1 + len(rows(folder)[0]) - 1
        # Bars in MLflow's pages, which draws a metric of a later step as a point.
        for key in ("validation_ua", *expected):
            (found,) = client(store).get_metric_history(run_id, key)
            assert found.step == 0
        assert run.data.tags["thesis.zero_shot.emodb.ua"] == "0.3712"
        files = [
            file.path
            for kind in ("evaluation", "zero_shot")
            for file in client(store).list_artifacts(run_id, kind)
        ]
        assert {"evaluation/confusion.png", "zero_shot/confusion-emodb.png"} <= set(files)
        assert {"evaluation/predictions.csv", "evaluation/metrics.json"} <= set(files)

    def test_same_results_are_logged_once_new_ones_again(self, root: Path, store: Store) -> None:
        folder = write_trained(root)
        run_id = train(store, folder)
        results = root / "data" / "reports" / "evaluate" / NAME
        write_test(root / "data", "tess", "serct", ua=0.5)
        log_results(store, folder, results)
        log_results(store, folder, results)
        assert len(client(store).get_metric_history(run_id, "test_ua")) == 1
        write_test(root / "data", "tess", "serct", ua=0.25)
        log_results(store, folder, results)
        assert client(store).get_run(run_id).data.metrics["test_ua"] == 0.25

    def test_results_of_another_model_are_refused(self, root: Path, store: Store) -> None:
        folder = write_trained(root)
        write_test(root / "data", "tess", "serct", fingerprint="other")
        with pytest.raises(TrackingError, match=r"fingerprint other, but .*tess-serct has"):
            log_results(store, folder, root / "data" / "reports" / "evaluate" / NAME)

    def test_run_that_is_gone_is_rebuilt_first(self, root: Path, store: Store) -> None:
        folder = write_trained(root)
        write_test(root / "data", "tess", "serct")
        log_results(store, folder, root / "data" / "reports" / "evaluate" / NAME)
        (run,) = all_runs(store)
        assert run.data.tags["serct.rebuilt"] == "true"
        assert "test_ua" in run.data.metrics

    def test_logged_models_rank_by_the_test_part(self, root: Path, store: Store) -> None:
        for model, ua in (("cnn", 0.25), ("serct", 0.75), ("lstm", 0.5)):
            folder = write_trained(root, model=model)
            write_test(root / "data", "tess", model, ua=ua)
            write_zero_shot(root / "data", "tess", model, ["emodb"])
            for stage in ("evaluate", "zero_shot"):
                log_results(store, folder, root / "data" / "reports" / stage / folder.name)
        order = {"field_name": "metrics.test_ua", "ascending": False, "dataset_name": "tess/test"}
        ranked = client(store).search_logged_models([store.experiment_id], order_by=[order])
        assert [each.model_type for each in ranked] == ["serct", "lstm", "cnn"]
        scores = {metric.key: metric.dataset_name for metric in ranked[0].metrics}
        assert scores["validation_ua"] == "tess/validation"
        assert scores["zero_shot_emodb_ua"] is None  # a file of before says no digest

    def test_a_run_of_an_older_version_keeps_its_names(self, root: Path, store: Store) -> None:
        folder = write_trained(root)
        run_id = train(store, folder)
        client(store).log_metric(run_id, "test/ua", 0.5)
        assert store.versions()[0].test_ua == 0.5
        assert tracking.sync_store(store, root / "data").actions == ()
        assert len(all_runs(store)) == 1
        write_test(root / "data", "tess", "serct", ua=0.75)
        tracking.sync_store(store, root / "data")
        assert store.versions()[0].test_ua == 0.75


class TestSync:
    @pytest.mark.slow
    def test_lost_database_shows_the_same_again(
        self, root: Path, store: Store, new_database: Path
    ) -> None:
        write_results(root / "data", make_pipeline(["cnn", "serct"]))
        for model, ua, start in (("cnn", 0.7, "04:00"), ("serct", 0.9, "05:00")):
            folder = write_trained(root, model=model, ua=ua)
            facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
            write_json(
                folder / "run.json",
                {**facts, "started_at": f"2026-01-01T{start}:00+00:00", "seconds": 30.0},
            )
            train(store, folder)
            for stage in ("evaluate", "zero_shot"):
                log_results(store, folder, root / "data" / "reports" / stage / folder.name)
        before = snapshot(store)
        assert tracking.sync_store(store, root / "data").actions == ()

        shutil.rmtree(root / "mlruns")
        (root / "mlflow.db").unlink()
        moved = root.with_name("rebuilt")  # MLflow keeps a database once opened
        shutil.copytree(root / "data", moved / "data")
        shutil.copy(new_database, moved / "mlflow.db")
        rebuilt = open_store(moved)
        report = tracking.sync_store(rebuilt, moved / "data")
        assert report.models == 2
        assert report.problems == ()
        assert report.actions == tuple(
            f"tess-{model}: {action}"
            for model in ("cnn", "serct")
            for action in ("run and version", "results of evaluate", "results of zero_shot")
        )
        assert snapshot(rebuilt) == before
        (serct,) = [run for run in all_runs(rebuilt) if "serct on" in run.info.run_name]
        start_ms = 1767243600000  # 2026-01-01 05:00 UTC
        assert serct.info.start_time == start_ms
        assert serct.info.end_time == start_ms + 30_000
        curve = client(rebuilt).get_metric_history(serct.info.run_id, "epoch/train_loss")
        assert [m.timestamp for m in curve[:3]] == [start_ms + 1500 * n for n in (1, 2, 3)]

        again = tracking.sync_store(rebuilt, moved / "data")
        assert str(again) == "nothing to do: 2 models are all shown"
        assert snapshot(rebuilt) == before

    def test_a_model_that_params_name_no_more_is_found(self, store: Store, root: Path) -> None:
        folder, data = write_trained(root), root / "data"
        (data / "unused" / "models").mkdir(parents=True)
        folder.rename(data / "unused" / "models" / NAME)
        assert tracking.sync_store(store, data, [NAME]).actions == ()
        assert tracking.sync_store(store, data).actions == (f"{NAME}: run and version",)
        assert tracking.sync_store(store, data).actions == ()

    def test_the_card_with_scores_describes_the_version(self, root: Path, store: Store) -> None:
        folder, data = write_trained(root), root / "data"
        tracking.sync_store(store, data)
        tested = f"# Tested\n{make_card('tess', 'serct')['fingerprint']}"
        old, new = (data / "reports" / name for name in (f"evaluate/{NAME}", "cards"))
        for place, name, text in (
            (old, "model_card.md", f"{tested} by serct 0.2"), (new, f"{NAME}.md", tested),
        ):  # fmt: skip
            place.mkdir(parents=True)
            (place / name).write_text(text, encoding="utf-8")
            assert tracking.sync_store(store, data).actions == (f"{NAME}: model card",)
            version = client(store).get_model_version_by_alias("serct", "challenger")
            assert version.description == text
        edit_record(folder / "card.json", fingerprint="of another training")
        assert tracking.sync_store(store, data).actions == (f"{NAME}: run and version",)
        assert not client(store).get_model_version("serct", "2").description.startswith("# Tested")

    def test_a_dvc_experiment_has_its_name_also_when_rebuilt(
        self, root: Path, store: Store
    ) -> None:
        folder = write_trained(root)
        edit_record(folder / "run.json", dvc_experiment="tardy-tapir", dvc_baseline="0abc")
        store.ensure(ModelFolder.read(folder))
        (run,) = all_runs(store)
        assert run.info.run_name == "serct on tess (random), tardy-tapir"
        tags = {"DVC_EXP_NAME": "tardy-tapir", "DVC_EXP_BASELINE_REV": "0abc"}
        assert tags.items() <= run.data.tags.items()

    def test_what_is_shown_already_opens_nothing(self, root: Path, store: Store) -> None:
        data, pipeline = root / "data", make_pipeline(["serct"])
        write_results(data, pipeline)
        write_trained(root)
        write_trained(root, model="cnn")  # another experiment left it
        tracking_params = TestShortAndLong.TRACKING
        show_results(tracking_params, data, pipeline)
        (run,) = all_runs(store)
        assert {"test_ua", "zero_shot_emodb_ua"} <= set(run.data.metrics)
        page = client(store).get_experiment(store.experiment_id).tags
        assert f"#/experiments/{store.experiment_id}/runs?" in page["mlflow.note.content"]
        assert "zero_shot_emodb_ua" in page["mlflow.sharedViewState.scores"]

        client(store).delete_run(run.info.run_id)
        show_results(tracking_params, data, pipeline)
        assert all_runs(store) == []
        write_test(data, "tess", "serct", ua=0.5)
        show_results(tracking_params, data, pipeline)
        assert [run.data.metrics["test_ua"] for run in all_runs(store)] == [0.5]

    def test_no_store_is_a_warning(self, root: Path, caplog: pytest.LogCaptureFixture) -> None:
        write_results(root / "data", make_pipeline(["serct"]))
        write_trained(root)
        (root / "mlflow.db").write_bytes(b"this is no database" * 100)
        show_results(TestShortAndLong.TRACKING, root / "data", make_pipeline(["serct"]))
        assert "cannot open the store" in caplog.text
        assert "then run `serct sync`" in caplog.text

    def test_nothing_in_the_model_folder_changes(self, root: Path, store: Store) -> None:
        folder = write_trained(root)
        content = {path: path.read_bytes() for path in folder.iterdir()}
        for path in folder.iterdir():
            path.chmod(0o444)
        folder.chmod(0o555)
        try:
            tracking.sync_store(store, root / "data")
            assert {path: path.read_bytes() for path in folder.iterdir()} == content
        finally:
            folder.chmod(0o755)

    def test_training_killed_between_files_and_finish_is_completed(
        self, root: Path, store: Store
    ) -> None:
        folder = write_trained(root)
        run_id = store.begin(known_before_training())
        store.end(run_id, "KILLED")
        assert tracking.sync_store(store, root / "data").actions == ("tess-serct: run and version",)
        assert store.ensure(ModelFolder.read(folder))[0] == run_id
        assert client(store).get_run(run_id).info.status == "FINISHED"

    def test_repetition_with_other_weights_is_another_version(
        self, root: Path, store: Store
    ) -> None:
        folder = write_trained(root)
        first = train(store, folder)
        (folder / "weights.safetensors").write_bytes(b"trained again, on a GPU")
        assert store.ensure(ModelFolder.read(folder))[0] != first
        assert len(store.versions()) == 2

    def test_deleted_version_is_registered_again(self, root: Path, store: Store) -> None:
        train(store, write_trained(root))
        client(store).delete_model_version("serct", "1")
        assert tracking.sync_store(store, root / "data").actions == ("tess-serct: version",)
        assert alias(store) == "2"  # numbers are not given out again

    def test_broken_folder_is_a_problem_and_stops_no_other(self, root: Path, store: Store) -> None:
        write_trained(root)
        broken = write_trained(root, model="cnn")
        (broken / "card.json").write_text("{", encoding="utf-8")
        report = tracking.sync_store(store, root / "data")
        assert report.actions == ("tess-serct: run and version",)
        assert len(report.problems) == 1
        assert "tess-cnn/card.json: not readable as JSON" in report.problems[0]
        assert str(report).startswith("built tess-serct: run and version\nproblem: ")


class TestRegistry:
    @pytest.mark.parametrize("scores", [(0.7, 0.9), (0.9, 0.7)])
    def test_best_on_validation_is_challenger_in_any_order(
        self, root: Path, store: Store, scores: tuple[float, float]
    ) -> None:
        for model, ua in zip(("cnn", "serct"), scores, strict=True):
            train(store, write_trained(root, model=model, ua=ua))
        best = "1" if scores[0] > scores[1] else "2"
        assert alias(store) == best

    def test_new_manifest_makes_a_new_challenger(self, root: Path, store: Store) -> None:
        train(store, write_trained(root, ua=0.9))
        digests = {"manifest": "another", "shards": "another"}
        folder = write_trained(root, ua=0.5, digests=digests, fingerprint="another")
        train(store, folder)
        assert alias(store) == "2"

    def test_versions_are_listed_with_aliases_and_scores(self, root: Path, store: Store) -> None:
        folder = write_trained(root)
        train(store, folder)
        store.set_aliases("1", None, {"serct.promote.why": "the first"})
        write_test(root / "data", "tess", "serct", ua=0.5)
        log_results(store, folder, root / "data" / "reports" / "evaluate" / NAME)
        (version,) = store.versions()
        assert version.aliases == ("challenger", "champion")
        assert (version.validation_ua, version.test_ua) == (0.8765, 0.5)
        (row,) = tracking.list_versions(store.versions())
        assert row["aliases"] == "challenger, champion"
        assert row["test UA"] == "0.5000"
        store.set_aliases("1", "1", {})
        assert store.versions()[0].aliases == ("challenger", "champion", "previous")
        with pytest.raises(TrackingError, match=r"'serct' has no '7', it has version 1 \(serct"):
            store.set_aliases("7", "1", {})
        assert store.version("@champion").version == "1"

    def test_addresses_lead_to_the_folder(self, root: Path, store: Store) -> None:
        folder = write_trained(root)
        run_id = train(store, folder)
        for uri in ("models:/serct@challenger", "models:/serct/1", f"runs:/{run_id}"):
            found = tracking.find_model(uri, root)
            assert (found / "weights.safetensors").read_bytes() == b"weights 0.8765"
            assert (found / "card.json").exists()
        assert tracking.find_model(folder) == folder
        assert tracking.find_model("models:/serct/1") == found

    def test_another_card_with_equal_weights_is_refused(self, root: Path, store: Store) -> None:
        train(store, write_trained(root))
        folder = tracking.find_model("models:/serct/1", root)
        edit_record(folder / "card.json", fingerprint="of a training with another max_error")
        with pytest.raises(TrackingError, match=r"card\.json: not the card that was logged: fing"):
            tracking.find_model("models:/serct/1", root)

    def test_other_weights_than_were_registered_are_refused(self, root: Path, store: Store) -> None:
        """Its card is of a version that lists no files, so the registry alone can tell."""
        run_id = train(store, write_trained(root))
        folder = tracking.find_model("models:/serct/1", root)
        [model] = client(store).get_run(run_id).outputs.model_outputs
        (folder / "weights.safetensors").write_bytes(b"weights 0.8764")
        message = r"not the weights that were logged: SHA-256 [0-9a-f]{64}, expected [0-9a-f]{64}"
        for uri in ("serct/1", "serct@challenger", model.model_id):
            with pytest.raises(TrackingError, match=message):
                tracking.find_model(f"models:/{uri}", root)
        # As serct 0.2 logged it.
        client(store).delete_logged_model_tag(model.model_id, "serct.weights")
        for uri in ("models:/serct/1", f"runs:/{run_id}"):
            with pytest.raises(TrackingError, match=message):
                tracking.find_model(uri, root)

    @pytest.mark.parametrize(
        ("uri", "message"),
        [
            (
                "models:/serct@champion",
                r"'serct' has no '@champion', it has version 1 \(serct on tess, ",
            ),
            (
                "models:/serct/9",
                r"has no '9', it has version 1 \(serct on tess, \w{7}, @challenger\)",
            ),
            ("models:/other/1", r"no registered model 'other', there is serct"),
            ("models:/m-0", r"cannot find 'models:/m-0'"),
            ("runs:/0123", r"cannot find 'runs:/0123'"),
            ("models:/serct/x", r"'serct' has no 'x', it has version 1 "),
            ("models:/", r"'models:/' is not a model's address, expected models:/"),
        ],
    )
    def test_unknown_addresses_say_what_there_is(
        self, one_version: Path, uri: str, message: str
    ) -> None:
        with pytest.raises(TrackingError, match=message):
            tracking.find_model(uri, one_version)

    def test_no_store_is_said_and_not_made(self, root: Path) -> None:
        (root / "mlflow.db").unlink()
        with pytest.raises(TrackingError, match="no tracking store here"):
            tracking.find_model("models:/serct@challenger", root)
        assert not (root / "mlflow.db").exists()


class FakePredictor:
    """Stands for `serct.inference.predictor.Predictor` where only the wrapping is tested."""

    class card:  # noqa: N801  stands for an attribute
        emotions = ("angry", "sad")

    @classmethod
    def load(cls, folder: str) -> "FakePredictor":
        assert (Path(folder) / "card.json").exists()
        return cls()

    def predict_file(self, file: Any) -> dict[str, float]:
        sad = 0.75 if file.getvalue() == b"\0sigh" else 0.0
        return {"angry": 1 - sad, "sad": sad}

    def analyse_file(self, file: Any) -> SimpleNamespace:
        from serct.errors import AudioError

        content = file.getvalue()
        if content == b"\0noise":
            raise AudioError("not audio")
        probabilities = None if content == b"\0hush" else self.predict_file(file)
        emotion = {b"\0sigh": "sad", b"\0shout": "angry", b"\0hush": "no_speech"}[content]
        return SimpleNamespace(
            probabilities=probabilities,
            emotion=emotion,
            duration_s=2.0,
            analysed_s=1.5,
            speech_s=1.0,
        )


def invoke(model: Any, body: dict[str, Any]) -> Any:
    """Send a request to MLflow's scoring server of a model."""
    from fastapi.testclient import TestClient
    from mlflow.pyfunc.scoring_server import init

    return TestClient(init(model)).post("/invocations", json=body)


class TestPyfunc:
    @pytest.fixture
    def loaded(self, root: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Any:
        import mlflow

        predictor = SimpleNamespace(Predictor=FakePredictor)
        monkeypatch.setitem(sys.modules, "serct.inference.predictor", predictor)
        monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        train(store, write_trained(root, emotions=["angry", "sad"]))
        folder = tracking.find_model("models:/serct@challenger", root)
        return mlflow.pyfunc.load_model(str(folder.parent.parent))

    def test_answers_a_row_for_each_file(self, loaded: Any) -> None:
        import pandas as pd

        columns = ["angry", "sad", "emotion", "duration_s", "analysed_s", "speech_s"]
        answers = loaded.predict(pd.DataFrame({"audio": [b"\0sigh", b"\0shout", b"\0hush"]}))
        assert list(answers.columns) == columns
        assert answers["emotion"].tolist() == ["sad", "angry", "no_speech"]
        np.testing.assert_array_equal(answers["sad"], [0.75, 0.0, 0.0])
        assert answers.iloc[0, 3:].tolist() == [2.0, 1.5, 1.0]
        assert loaded.metadata.signature.inputs.input_names() == ["audio"]
        assert loaded.metadata.signature.outputs.input_names() == columns

    def test_base64_in_every_form_of_a_request(self, loaded: Any) -> None:
        text = base64.b64encode(b"\0sigh").decode()
        for sent in (text, f"{text[:4]}\n{text[4:]}"):
            for body in (
                {"dataframe_split": {"columns": ["audio"], "data": [[sent], [sent]]}},
                {"dataframe_records": [{"audio": sent}, {"audio": sent}]},
                {"inputs": {"audio": [sent, sent]}},
                {"instances": [{"audio": sent}, {"audio": sent}]},
            ):
                response = invoke(loaded, body)
                assert response.status_code == 200, response.text
                emotions = [row["emotion"] for row in response.json()["predictions"]]
                assert emotions == ["sad", "sad"]

    def test_text_that_is_no_base64_is_named(self, loaded: Any) -> None:
        for value in ("@@@@", "data:audio/wav;base64,AHNpZ2g=", "AHNpZ2g", "/data/a.wav"):
            response = invoke(loaded, {"inputs": {"audio": [value]}})
            assert response.status_code == 400
            message = response.json()["message"]
            assert f"row 0: found text that begins with '{value}', expected the bytes" in message

    def test_bad_audio_is_the_clients_fault(self, loaded: Any) -> None:
        import pandas as pd
        from mlflow.exceptions import MlflowException

        with pytest.raises(MlflowException, match="row 1: not audio") as caught:
            loaded.predict(pd.DataFrame({"audio": [b"\0sigh", b"\0noise"]}))
        assert caught.value.get_http_status_code() == 400

    def test_answers_are_those_of_the_predictor(
        self,
        root: Path,
        store: Store,
        trained: dict[str, Path],
        tones: Path,
        spoken: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        import mlflow
        import pandas as pd

        from serct.inference.predictor import Predictor

        monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        for name, recording in (("serct", spoken), ("svm", next(tones.rglob("*.wav")))):
            run_id = store.ensure(ModelFolder.read(trained[name]))[0]
            folder = tracking.find_model(f"runs:/{run_id}", root)
            model = mlflow.pyfunc.load_model(str(folder.parent.parent))
            answer = model.predict(pd.DataFrame({"audio": [recording.read_bytes()]})).iloc[0]
            predictor = Predictor.load(trained[name])
            found = predictor.analyse_file(recording)
            expected = predictor.predict_file(recording)
            assert answer["emotion"] == found.emotion
            assert (found.emotion == "no_speech") == (recording != spoken)
            assert answer[list(expected)].to_dict() == pytest.approx(expected, abs=1e-12)
            assert answer["speech_s"] == pytest.approx(found.speech_s)


class TestStore:
    def test_artifacts_lie_beside_the_database(
        self, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)
        store = open_store(root)
        experiment = client(store).get_experiment_by_name("serct")
        assert experiment is not None
        assert Path(experiment.artifact_location) == root / "mlruns" / "serct"
        train(store, write_trained(root))
        assert list(elsewhere.iterdir()) == []

    def test_address_from_the_environment(
        self, root: Path, tmp_path: Path, new_database: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = tmp_path / "other.db"
        shutil.copy(new_database, other)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other}")
        assert open_store(root).uri == f"sqlite:///{other}"
        train(open_store(root), write_trained(root))
        assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{other}"

    def test_no_global_address_is_left_behind(self, root: Path, store: Store) -> None:
        train(store, write_trained(root))
        assert "MLFLOW_TRACKING_URI" not in os.environ

    def test_unreachable_server_is_a_tracking_error(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with pytest.raises(TrackingError, match=r"http://127.0.0.1:9: cannot open the store"):
            open_store(root)
        (problem,) = tracking.store_problems(root)
        assert problem.endswith("start the server or unset MLFLOW_TRACKING_URI")

    def test_a_database_that_is_replaced_is_read_anew(self, root: Path, one_version: Path) -> None:
        """As by a service, while somebody deletes the database and runs `serct sync`."""
        assert tracking.known_versions("models:/serct", root) == []
        shutil.copy(one_version / "mlflow.db", root / "new.db")
        (root / "new.db").replace(root / "mlflow.db")
        assert [v.version for v in tracking.known_versions("models:/serct", root)] == ["1"]

    def test_no_message_has_the_password_of_the_store(self, root: Path) -> None:
        uri = "postgresql://anna:s3cret@127.0.0.1/mlflow"
        with (
            pytest.raises(
                TrackingError, match=r"^postgresql://anna:\*\*\*@127\.0\.0\.1/mlflow: "
            ) as found,
            Connection(root, uri).errors("list versions"),
        ):
            raise RuntimeError(f"no connection to {uri}")
        assert "s3cret" not in str(found.value)

    def test_broken_database_is_explained(self, root: Path) -> None:
        (root / "mlflow.db").write_bytes(b"this is no database" * 100)
        with pytest.raises(TrackingError, match=r"mlflow.db: cannot open the store"):
            open_store(root)
        (problem,) = tracking.store_problems(root)
        assert "delete" in problem
        assert "serct sync" in problem

    def test_good_store_and_no_store_have_no_problems(self, root: Path, store: Store) -> None:
        assert tracking.store_problems(root) == []
        assert tracking.store_problems(root.parent) == []

    def test_moved_workspace_is_explained(self, root: Path, store: Store, tmp_path: Path) -> None:
        moved = tmp_path / "moved"
        root.rename(moved)
        (problem,) = tracking.store_problems(moved)
        assert f"keeps its artifacts in {root}/mlruns/serct" in problem
        with pytest.raises(
            TrackingError, match=r"was moved or copied. Run `serct relocate`; or delete"
        ):
            open_store(moved)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "name", ["a?b=c", "a%20b", "50% off", "#1", "é & ü;'\"[1]:2\\", "a%3Fb?#%%"]
    )
    def test_a_workspace_may_have_any_name(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)
        place = tmp_path / "places"
        root = place / name / "ws"
        root.mkdir(parents=True)
        store = open_store(root)
        train(store, write_trained(root, emotions=["angry", "sad"]))
        assert (root / "mlflow.db").exists()
        store.set_aliases("1", None, {})
        folder = store.folder("@champion")
        assert folder.is_relative_to(root)
        assert tracking.find_model("models:/serct", root) == folder
        assert tracking.store_problems(root) == []
        assert tracking.artifact_place(root, "serct") is not None
        assert tracking.sync_store(store, root / "data").actions == ()
        assert [path.name for path in place.iterdir()] == [name]
        assert list(elsewhere.iterdir()) == []
        with monkeypatch.context() as patch:
            patch.setitem(
                sys.modules, "serct.inference.predictor", SimpleNamespace(Predictor=FakePredictor)
            )
            assert store.predict_as_served("1", b"\0sigh")["emotion"] == "sad"
        for new in ("plain", name):  # from such a name, and to it
            moved = tmp_path / "moved" / new / "ws"
            moved.parent.mkdir(parents=True)
            root.rename(moved)
            root = moved
            assert tracking.store_problems(root)
            assert tracking.relocate(root, "serct") >= 4
            assert tracking.relocate(root, "serct") == 0
            assert tracking.store_problems(root) == []
            assert open_store(root).folder("1").is_relative_to(root)

    def test_addresses_that_cannot_be_taken_make_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        not_text = tmp_path / os.fsdecode(b"caf\xe9")
        with pytest.raises(TrackingError, match="a name in it is not UTF-8, and MLflow's database"):
            open_store(not_text)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/a.db?timeout=9")
        with pytest.raises(TrackingError, match=r"a.db\?timeout=9, expected a sqlite address with"):
            open_store(tmp_path / "ws")
        assert list(tmp_path.iterdir()) == []

    def test_a_quoted_address_from_the_environment(
        self, root: Path, tmp_path: Path, new_database: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = tmp_path / "a?b"
        other.mkdir()
        shutil.copy(new_database, other / "m.db")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/a%3Fb/m.db")
        assert open_store(root).database == other / "m.db"
        assert [path.name for path in tmp_path.iterdir() if "%" in path.name] == []

    @pytest.mark.parametrize("is_copied", [False, True])
    def test_a_moved_or_copied_workspace_keeps_its_runs(
        self, root: Path, store: Store, tmp_path: Path, is_copied: bool
    ) -> None:
        folder = write_trained(root)
        run_id = train(store, folder)
        before = [version.version for version in store.versions()]
        moved = tmp_path / "elsewhere" / "moved"
        moved.parent.mkdir()
        if is_copied:
            shutil.copytree(root, moved)
        else:
            root.rename(moved)
        assert tracking.relocate(moved, "serct") >= 4
        assert tracking.relocate(moved, "serct") == 0
        assert tracking.store_problems(moved) == []
        found = open_store(moved)
        assert [version.version for version in found.versions()] == before
        card = found.folder(before[0]) / "card.json"
        assert card.resolve().is_relative_to(moved)
        assert card.read_bytes() == (moved / "data/models/tess-serct/card.json").read_bytes()
        assert str(moved) in client(found).get_run(run_id).info.artifact_uri
        if is_copied:
            assert tracking.store_problems(root) == []

    def test_what_cannot_be_relocated_is_explained(
        self, root: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        moved = tmp_path / "moved"
        moved.mkdir()
        with pytest.raises(TrackingError, match="no such database"):
            tracking.relocate(moved, "serct")
        shutil.copy(root / "mlflow.db", moved / "mlflow.db")
        with pytest.raises(TrackingError, match="artifacts were not moved with the database"):
            tracking.relocate(moved, "serct")
        with pytest.raises(TrackingError, match="no experiment 'other'"):
            tracking.relocate(root, "other")
        (moved / "mlflow.db").write_bytes(b"no database at all" * 100)
        with pytest.raises(TrackingError, match="not a database of MLflow"):
            tracking.relocate(moved, "serct")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
        with pytest.raises(TrackingError, match="not a database of the workspace"):
            tracking.relocate(root, "serct")

    def test_deleted_experiment_is_explained(self, root: Path, store: Store) -> None:
        experiment = client(store).get_experiment_by_name("serct")
        assert experiment is not None
        client(store).delete_experiment(experiment.experiment_id)
        with pytest.raises(TrackingError, match="experiment 'serct' was deleted"):
            open_store(root)

    def test_error_names_store_and_action(self, store: Store) -> None:
        with pytest.raises(TrackingError, match=r"sqlite:///.*mlflow.db: cannot log epochs"):
            store.log_epochs("no-such-run", [({"epoch": 1, "train_loss": 1.0}, 0)])

    def test_unfit_folder_is_a_tracking_error(self, root: Path, store: Store) -> None:
        folder = write_trained(root)
        run_id = store.begin(known_before_training())
        (folder / "history.csv").write_text("epoch,train_loss\n1,much\n", encoding="utf-8")
        with pytest.raises(TrackingError, match=r"history.csv: not readable .* 'much'"):
            store.finish(run_id, ModelFolder.read(folder))
        facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        write_json(folder / "run.json", {**facts, "started_at": "yesterday"})
        with pytest.raises(
            TrackingError, match=r"run.json: started_at is 'yesterday', expected ISO 8601"
        ):
            store.finish(run_id, ModelFolder.read(folder))

    def test_server_command(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        argv, environment = tracking.server_command(root, "127.0.0.1", 5001)
        assert argv[:4] == [sys.executable, "-m", "mlflow", "server"]
        assert argv[argv.index("--backend-store-uri") + 1] == f"sqlite:///{root}/mlflow.db"
        assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://example.org:5000")
        with pytest.raises(TrackingError, match="already a server"):
            tracking.server_command(root, "127.0.0.1", 5001)


@pytest.mark.slow
class TestProcesses:
    def test_four_processes_start_on_no_database_at_once(self, root: Path) -> None:
        (root / "mlflow.db").unlink()
        code = (
            "import json, sys\n"
            "from pathlib import Path\n"
            "from serct.tracking import open_store\n"
            "from serct.tracking.folders import ModelFolder\n"
            "store = open_store(Path(sys.argv[1]), 'serct', 'serct')\n"
            "folder = ModelFolder.read(Path(sys.argv[3]))\n"
            "store.finish(store.begin(json.loads(sys.argv[2])), folder)\n"
            "store.ensure(folder)\n"
            "store.register(store.ensure(folder)[0], folder)\n"
        )
        models = {"serct": 0.9, "cnn": 0.8, "lstm": 0.7, "svm": 0.6}
        processes = []
        for model, ua in models.items():
            folder = write_trained(root, model=model, ua=ua)
            card = json.dumps(known_before_training(model=model))
            argv = [sys.executable, "-c", code, str(root), card, str(folder)]
            processes.append(subprocess.Popen(argv, stderr=subprocess.PIPE, text=True))
        for process in processes:
            _, problems = process.communicate(timeout=300)
            assert process.returncode == 0, problems
            assert problems == ""
        store = open_store(root)
        versions = store.versions()
        assert sorted(v.version for v in versions) == ["1", "2", "3", "4"]
        assert [v.model for v in versions if "challenger" in v.aliases] == ["serct"]

    def test_server_shows_the_runs(
        self, root: Path, store: Store, free_port: Callable[[], int]
    ) -> None:
        train(store, write_trained(root))
        port = free_port()
        argv, environment = tracking.server_command(root, "127.0.0.1", port)
        log = root / "server.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                argv, env=environment, stdout=output, stderr=output, start_new_session=True
            )
        try:
            remote = MlflowClient(f"http://127.0.0.1:{port}")
            found = None
            for _ in range(120):
                try:
                    found = remote.get_experiment_by_name("serct")
                    break
                except Exception:
                    assert process.poll() is None, log.read_text()
                    time.sleep(0.5)
            assert found is not None
            (run,) = remote.search_runs([found.experiment_id])
            assert run.info.status == "FINISHED"
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=30)

    @pytest.fixture
    def free_port(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

        def find() -> int:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                return int(probe.getsockname()[1])

        return find
