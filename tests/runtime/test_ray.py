"""A real Ray cluster of two nodes on this machine, against one process."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from serct.config.params import LocalExecutor, RayExecutor
from serct.config.reader import read_yaml
from serct.config.section import merge
from serct.errors import SerctError
from serct.experiments.search.run import _journal, run_search
from serct.experiments.workspace import prepare_workspace, stage_environment
from serct.inference.predictor import Predictor
from serct.inference.scoring import score_folder
from serct.runtime.executors import InProcessExecutor, open_executor
from serct.tracking.process_tags import PID
from tests.conftest import TINY, write_tones
from tests.experiments.test_search import make_workspace as make_search
from tests.runtime.test_distributed import SAME, history
from tests.service_process import running

pytestmark = pytest.mark.slow
ray = pytest.importorskip("ray")
optuna = pytest.importorskip("optuna")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Give the address of a cluster of two nodes with one core each."""
    # Ray's workers are nice to all others, and tests beside these would leave them next to nothing.
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_worker_niceness="0")
    from ray.cluster_utils import Cluster

    nodes = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    try:
        yield str(nodes.address)
    finally:
        nodes.shutdown()


def make_workspace(folder: Path, tones: Path, executor: dict[str, Any] | None) -> Path:
    """Make a workspace with two corpora of tones and one model, worked on where told."""
    workspace, _ = prepare_workspace(folder, None, ["seed=3"])
    corpus = {"reader": "folder", "path": str(tones), "language": "en"}
    content = merge(TINY, SAME) | {
        "corpora": {"tones": corpus},
        "pipeline": {
            "corpora": ["tones"], "train_corpora": ["tones"], "zero_shot_corpora": [],
            "models": ["serct"],
        },
    }  # fmt: skip
    if executor:
        content["executor"] = executor
    path = workspace / "params.yaml"
    path.write_text(yaml.safe_dump(merge(read_yaml(path), content), sort_keys=False))
    return workspace


def on_two_nodes(address: str, **changes: Any) -> dict[str, Any]:
    found = {
        "name": "ray", "address": address, "workers": 2, "cpus": 1, "gpus": 0, "max_failures": 2,
    }  # fmt: skip
    return found | changes


def repro(workspace: Path, target: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", target],
        cwd=workspace,
        env=stage_environment(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> str:
    try:
        output, _ = process.communicate(timeout=280)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"not finished after 280 s, having printed:\n{process.communicate()[0]}")
    assert process.returncode == 0, output
    return output


def test_a_cluster_makes_the_same_shards_and_scores(cluster: str, tmp_path: Path) -> None:
    tones = write_tones(tmp_path / "tones", {"angry": 1500.0, "happy": 600.0, "sad": 200.0})
    here = make_workspace(tmp_path / "here", tones, None)
    there = make_workspace(tmp_path / "there", tones, on_two_nodes(cluster))
    finish(repro(here, "evaluate"))
    output = finish(repro(there, "evaluate"))
    assert "epoch 3/3" in output
    shards = [sorted((each / "data/shards/tones").iterdir()) for each in (here, there)]
    assert [path.name for path in shards[0]] == [path.name for path in shards[1]]
    assert len(shards[0]) > 4
    for first, second in zip(*shards, strict=True):
        assert first.read_bytes() == second.read_bytes(), first.name
    alone, together = (history(each / "data/models/tones-serct") for each in (here, there))
    for row, other in zip(alone, together, strict=True):
        assert row == pytest.approx(other, abs=2e-4)
    scores = [
        json.loads((each / "data/reports/evaluate/tones-serct/metrics.json").read_text())
        for each in (here, there)
    ]
    for name in ("wa", "ua", "wf1"):
        assert scores[0][name] == scores[1][name]


def test_a_lost_worker_changes_nothing(cluster: str, tmp_path: Path) -> None:
    tones = write_tones(tmp_path / "tones", {"angry": 1500.0, "happy": 600.0, "sad": 200.0})
    whole = make_workspace(tmp_path / "whole", tones, on_two_nodes(cluster))
    broken = make_workspace(tmp_path / "broken", tones, on_two_nodes(cluster))
    for each in (whole, broken):
        path = each / "params.yaml"
        path.write_text(yaml.safe_dump(merge(read_yaml(path), {"train": {"epochs": 12}})))
    finish(repro(whole, "train"))
    process = repro(broken, "train")
    state = broken / "data/training/tones-serct.safetensors"
    deadline = time.monotonic() + 200
    while not state.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    workers = [
        each for each in psutil.process_iter(["cmdline"])
        if "RayTrainWorker" in " ".join(each.info["cmdline"] or [])
    ]  # fmt: skip
    assert len(workers) >= 2
    os.kill(workers[-1].pid, signal.SIGKILL)
    output = finish(process)
    assert "resuming after epoch" in output
    assert not list((broken / "data/training").glob(".*-ray"))
    assert history(whole / "data/models/tones-serct") == history(broken / "data/models/tones-serct")


def test_trials_of_a_search_run_on_the_cluster(
    cluster: str, tmp_path: Path, tone_shards: Path
) -> None:
    params = make_search(tmp_path, tone_shards)
    params = params.replace(executor=RayExecutor(**on_two_nodes(cluster)))
    found = run_search(tmp_path, params, 5)
    assert len(found.trials) == 5
    [study] = optuna.get_all_study_summaries(_journal(found.folder))
    trials = optuna.load_study(study_name=study.study_name, storage=_journal(found.folder)).trials
    processes = {trial.user_attrs["process"][PID] for trial in trials}
    assert str(os.getpid()) not in processes
    # Nothing of the engine's own is left beside the search.
    assert [path.name for path in found.folder.parent.iterdir()] == [found.folder.name]
    # The same search goes on here, from what the cluster found.
    params = params.replace(executor=LocalExecutor(name="local"))
    assert len(run_search(tmp_path, params, 6).trials) == 6


def test_parts_are_scored_and_copies_serve(
    cluster: str, served: Path, tones: Path, spoken: Path, tmp_path: Path
) -> None:
    model = served / "data/models/tones-serct"
    section = RayExecutor(**on_two_nodes(cluster))
    with open_executor(section) as executor:
        there = score_folder(tones, tmp_path / "there", model, executor, part_size=12)
        # Nothing is left to do.
        assert score_folder(tones, tmp_path / "there", model, executor, part_size=12) == there
    here = score_folder(tones, tmp_path / "here", model, InProcessExecutor(), part_size=12)
    assert there == here
    for path in (tmp_path / "here").glob("part-*.csv"):
        assert path.read_bytes() == (tmp_path / "there" / path.name).read_bytes()

    params = yaml.safe_load((served / "params.yaml").read_text()) | {
        "executor": on_two_nodes(cluster)
    }
    workspace = tmp_path / "workspace"
    shutil.copytree(served, workspace)
    (workspace / "params.yaml").write_text(yaml.safe_dump(params))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with running(
        "--replicas", "2", "--port", str(port), "--workspace", str(workspace), "--model", str(model)
    ) as service:
        answer = service.post("/v1/predict", "files", ("clip.wav", spoken.read_bytes()))
        assert answer.status_code == 200, answer.text
        [found] = answer.json()["predictions"]
        expected = Predictor.load(model).predict_file(spoken)
        assert found["probabilities"] == pytest.approx(expected, abs=1e-5)
        assert service.get("/ready").status_code == 200


def test_no_cluster_is_explained() -> None:
    executor = RayExecutor(**on_two_nodes("127.0.0.1:1"))
    with (
        pytest.raises(SerctError, match=r"executor.address is '127.0.0.1:1': no Ray cluster there"),
        open_executor(executor),
    ):
        pass
