"""Several processes train one model: real ones, over gloo on loopback, against one alone."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.torch import load_file

from serct.config.reader import read_yaml
from serct.config.section import merge
from serct.runtime import distributed
from tests.conftest import ROOT, shrink

pytestmark = pytest.mark.slow

# What is drawn anew in each process is switched off: what remains must not depend on their number.
SAME = {
    "models": {
        "mel_conformer": {
            "width": 16,
            "channels": [4, 8, 8],
            "num_layers": 1,
            "dropout": 0.0,
            "num_masks": 0,
            "classifier_dropout": 0.0,
            "train": {"augment": None},
        },
        "serct": {"dropout": 0.0},
    },
    "train": {"epochs": 3, "batch_size": 7, "device": "cpu"},
}


@pytest.fixture
def params(tmp_path: Path) -> Path:
    shrink(ROOT / "params.yaml", tmp_path / "params.yaml", **SAME)
    return tmp_path / "params.yaml"


def command(
    params: Path, shards: Path, model: str, out: Path, num_processes: int, restarts: int = 0
) -> list[str]:
    starter = [sys.executable]
    if num_processes > 1:
        starter += [
            "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num_processes),
            "--max-restarts", str(restarts), "--monitor-interval", "0.2",
        ]  # fmt: skip
    return [
        *starter, "-m", "pipeline.train", "--params", str(params), "--model", model,
        "--shards", str(shards), "--state", f"{out}.state", "--out", str(out),
    ]  # fmt: skip


def start(arguments: list[str], folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        arguments,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def train(arguments: list[str], folder: Path) -> str:
    with start(arguments, folder) as process:
        output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    return output


def history(model: Path) -> list[dict[str, float]]:
    with (model / "history.csv").open() as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.mark.parametrize("model", ["serct", "mel_conformer"])
def test_two_processes_train_what_one_trains(
    params: Path, tone_shards: Path, tmp_path: Path, model: str
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    train(command(params, tone_shards, model, one, 1), tmp_path)
    output = train(command(params, tone_shards, model, two, 2), tmp_path)
    assert "epoch 3/3" in output
    alone, together = history(one), history(two)
    for first, second in zip(alone, together, strict=True):
        assert first == pytest.approx(second, abs=2e-4)
        # Counts are counted, not averaged.
        assert first["validation_ua"] == second["validation_ua"]
    weights, others = (load_file(folder / "weights.safetensors") for folder in (one, two))
    for name, tensor in weights.items():
        np.testing.assert_allclose(tensor, others[name], atol=2e-3, err_msg=name)
    assert json.loads((two / "run.json").read_text())["processes"] == 2


FEATURES = """
import sys
from pathlib import Path
import numpy as np
import torch
from serct.config.reader import read_params
from serct.data.dataset import ShardDataset
from serct.evaluation.windows import Windows
from serct.models import read_model_params
from serct.runtime import distributed

params, shards, out = map(Path, sys.argv[1:])
params = read_params(params)
model = read_model_params(params, "mfcc_svm").build(params.train, 3, 16_000)
with distributed.joined("cpu"):
    for splits in (["train"], ["train", "test"]):
        windows = Windows.of_recordings(ShardDataset(shards, splits))
        begun = []
        found = windows.features(model, 1, begun.append)
        np.save(out / f"{'-'.join(splits)}-{distributed.rank()}.npy", found)
        (out / f"{'-'.join(splits)}-{distributed.rank()}.txt").write_text(str(sum(begun)))
"""


def test_two_processes_divide_the_features_that_the_cache_lacks(
    params: Path, tone_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "features.py"
    script.write_text(FEATURES)
    for count in (1, 2):
        monkeypatch.setenv("SERCT_CACHE", str(tmp_path / f"cache{count}"))
        (tmp_path / str(count)).mkdir()
        starter = command(params, tone_shards, "", tmp_path, count)
        starter = starter[: starter.index("pipeline.train") - 1]
        train(
            [*starter, str(script), str(params), str(tone_shards), str(tmp_path / str(count))],
            tmp_path,
        )
    for splits in ("train", "train-test"):
        expected = np.load(tmp_path / "1" / f"{splits}-0.npy")
        for rank in (0, 1):
            np.testing.assert_array_equal(
                np.load(tmp_path / "2" / f"{splits}-{rank}.npy"), expected
            )
        begun = [int((tmp_path / "2" / f"{splits}-{rank}.txt").read_text()) for rank in (0, 1)]
        assert min(begun) > 0
        assert sum(begun) == len(expected), "one window each"


def test_a_lost_process_changes_nothing(params: Path, tone_shards: Path, tmp_path: Path) -> None:
    data = merge(read_yaml(params), {"train": {"epochs": 12}})
    params.write_text(yaml.safe_dump(data))
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(command(params, tone_shards, "serct", whole, 2), tmp_path)
    with start(command(params, tone_shards, "serct", broken, 2, restarts=1), tmp_path) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        before = []
        for line in lines:
            before.append(line)
            if "epoch 3/12" in line:
                break
        victim = worker(process.pid)
        os.kill(victim, signal.SIGKILL)
        output = "".join([*before, *lines])
        process.wait(timeout=200)
    assert process.returncode == 0, output
    assert re.search(r"resuming after epoch \d+", output)
    assert history(whole) == history(broken)
    weights, others = (load_file(folder / "weights.safetensors") for folder in (whole, broken))
    assert all((weights[name] == others[name]).all() for name in weights)


def worker(parent: int) -> int:
    """Give the second process that torchrun started."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        for child in children:
            if b"RANK=1\0" in Path(f"/proc/{child}/environ").read_bytes():
                return int(child)
    raise AssertionError("no second process")


def test_mistakes_are_explained(params: Path, tone_shards: Path, tmp_path: Path) -> None:
    data: dict[str, Any] = merge(read_yaml(params), {"train": {"batch_size": 1}})
    params.write_text(yaml.safe_dump(data))
    arguments = command(params, tone_shards, "serct", tmp_path / "out", 2)
    with start(arguments, tmp_path) as process:
        output, _ = process.communicate(timeout=200)
    assert process.returncode != 0
    assert "a batch has 1 clips, expected at least one for each of 2 processes" in output
    assert not (tmp_path / "out").exists()


def test_one_process_is_a_group_of_one() -> None:
    assert (distributed.rank(), distributed.size()) == (0, 1)
    batches = [np.arange(3), np.arange(2)]
    assert [part.tolist() for part in distributed.share(batches)] == [[0, 1, 2], [0, 1]]
