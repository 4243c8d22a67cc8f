"""Search: learns from validation alone, shared by processes, taken up after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from serct.config.params import Params
from serct.config.reader import read_params
from serct.config.section import merge
from serct.data.dataset import ShardDataset
from serct.errors import ParamsError, SerctError
from serct.experiments.search import run as search
from serct.experiments.search.run import run_search
from serct.experiments.search.space import check_space
from tests.conftest import ROOT, shrink

SPACE = {
    "train.learning_rate": {"low": 0.0001, "high": 0.03, "log": True},
    "num_layers": {"low": 0, "high": 1},
    "classifier_widths": {"choices": [[8], [16, 8]]},
}


def make_workspace(folder: Path, tone_shards: Path, **changes: Any) -> Params:
    """A workspace whose corpus, the tones, is preprocessed."""
    (folder / "data" / "shards").mkdir(parents=True)
    (folder / "data" / "shards" / "tess").symlink_to(tone_shards)
    section = {"epochs": 3, "space": SPACE} | changes
    data = yaml.safe_load((ROOT / "params.yaml").read_text())
    data["search"] = {**data["search"], **section}
    source = folder / "whole.yaml"
    source.write_text(yaml.safe_dump(data))
    return shrink(source, folder / "params.yaml")


@pytest.mark.slow
def test_it_finds_writes_and_shows_the_best_without_the_test_part(
    tmp_path: Path, tone_shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    params = make_workspace(tmp_path, tone_shards)
    read: list[str] = []

    class Watched(ShardDataset):
        def __init__(self, root: Path, splits: Any, *arguments: Any) -> None:
            read.extend(splits)
            super().__init__(root, splits, *arguments)

    monkeypatch.setattr(search, "ShardDataset", Watched)
    found = run_search(tmp_path, params, 6)
    assert set(read) == {"train", "validation"}
    assert len(found.trials) == 6
    assert found.best_ua == max(row["validation_ua"] or 0 for row in found.trials)
    assert set(found.importance) <= set(SPACE)
    overlay = yaml.safe_load((found.folder / "best.yaml").read_text())
    entry = merge(params.models["serct"], overlay["models"]["serct"])
    assert entry["train"]["learning_rate"] == found.best["train.learning_rate"]
    assert entry["classifier_widths"] in ([8], [16, 8])
    assert json.loads((found.folder / "trials.json").read_text())[0]["trial"] == 0
    assert not list(found.folder.glob("*.safetensors"))
    page = (found.folder / "index.html").read_text()
    assert page.count("<svg role") == 2
    assert page.count('<th scope="row"') == 6
    assert f"<strong>{found.best_ua:.4f}</strong>" in page
    # Enough have ended: nothing is trained, and the answer is the same.
    monkeypatch.setattr(search, "fit", lambda *arguments: pytest.fail("trained again"))
    again = run_search(tmp_path, params, 6)
    assert again.best == found.best
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    [experiment] = [e for e in client.search_experiments() if e.name == "serct"]
    runs = client.search_runs([experiment.experiment_id])
    [parent] = [run for run in runs if "serct.search" in run.data.tags]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId")]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert "epoch/validation_ua" in children[0].data.metrics


SEARCHING = """
import sys, pathlib, torch
from serct.config.reader import read_params
from serct.experiments.search.run import run_search
torch.set_num_threads(1)
root = pathlib.Path(sys.argv[1])
print("ready", flush=True)
run_search(root, read_params(root / "params.yaml"), int(sys.argv[2]))
"""


def start(workspace: Path, num_trials: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SEARCHING, str(workspace), str(num_trials)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


@pytest.mark.slow
def test_two_processes_share_one_search(tmp_path: Path, tone_shards: Path) -> None:
    params = make_workspace(tmp_path, tone_shards)
    processes = [start(tmp_path, 8) for _ in range(2)]
    assert [process.wait(timeout=200) for process in processes] == [0, 0]
    for process in processes:
        assert process.stdout is not None
        process.stdout.close()
    found = run_search(tmp_path, params, 8)
    assert len(found.trials) == 8
    learning_rates = {row["train.learning_rate"] for row in found.trials}
    assert len(learning_rates) == 8  # no proposal twice


@pytest.mark.slow
def test_a_trial_cut_off_by_kill_9_is_taken_up(tmp_path: Path, tone_shards: Path) -> None:
    params = make_workspace(tmp_path, tone_shards, epochs=400, first_look=400)
    process = start(tmp_path, 1)
    deadline = time.monotonic() + 100
    while not list(tmp_path.glob("data/search/*/*.safetensors")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
    [state] = tmp_path.glob("data/search/*/*.safetensors")
    [folder] = tmp_path.glob("data/search/*")
    study = optuna.load_study(study_name=folder.name, storage=search._journal(folder))
    [cut_off] = study.trials
    search._take_up(study)
    [failed, waiting] = study.trials
    assert (failed.state.name, waiting.state.name) == ("FAIL", "WAITING")
    assert waiting.system_attrs["fixed_params"] == cut_off.params
    assert state.exists()
    assert params.search.epochs == 400


def test_wrong_sections_are_named(tmp_path: Path, tone_shards: Path) -> None:
    space = {"train.learning_rates": {"low": 0.1, "high": 0.2}}
    params = make_workspace(tmp_path / "a", tone_shards, space=space)
    with pytest.raises(ParamsError, match=r"train\.learning_rates is not a key of models\.serct"):
        run_search(tmp_path / "a", params, 1)
    params = make_workspace(tmp_path / "b", tone_shards, model="serkt")
    with pytest.raises(ParamsError, match=r"search\.model is 'serkt', expected one of: .*serct"):
        run_search(tmp_path / "b", params, 1)
    for bounds in ({"low": 3, "high": 3}, {"low": 0.0, "high": 1.0, "log": True}):
        folder = tmp_path / f"c{len(bounds)}"
        params = make_workspace(folder, tone_shards, space={"dropout": bounds})
        with pytest.raises(ParamsError, match=r"search\.space"):
            run_search(folder, params, 1)


@pytest.mark.slow
def test_values_that_do_not_go_together_end_a_trial_and_are_told(
    tmp_path: Path, tone_shards: Path
) -> None:
    space = {"num_heads": {"choices": [3, 5]}, "dropout": {"low": 0.0, "high": 0.1}}
    params = make_workspace(tmp_path, tone_shards, space=space)
    with pytest.raises(SerctError, match=r"no trial is complete.*multiple of num_heads"):
        run_search(tmp_path, params, 2)


def test_a_database_that_is_not_there(tmp_path: Path, tone_shards: Path) -> None:
    params = make_workspace(tmp_path, tone_shards)
    with pytest.raises(SerctError, match="the search's database cannot be opened"):
        run_search(tmp_path, params, 1, storage="sqlite:////nowhere/at/all.db")


def test_the_committed_section_fits_its_model() -> None:
    check_space(read_params(ROOT / "params.yaml"))
