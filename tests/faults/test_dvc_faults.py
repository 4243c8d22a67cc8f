"""`dvc repro`, killed in a stage together with DVC, then run again."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from serct.experiments.workspace import prepare_workspace, stage_environment
from tests.conftest import ROOT, shrink, write_tones

pytestmark = pytest.mark.slow

# Python runs this when it starts, also in what DVC starts.
KILLER = """
import os, signal, sys
if os.environ["KILLED_STAGE"] in sys.orig_argv:
    from pathlib import Path
    from tests.faults.stage_process import on_changes
    def act(count):
        if count == int(os.environ["KILLED_AT"]):
            os.killpg(0, signal.SIGKILL)
    on_changes(Path.cwd(), act)
"""


def dvc(
    workspace: Path, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=workspace,
        env=stage_environment(os.environ) | {"OMP_NUM_THREADS": "1"} | (environment or {}),
        capture_output=True,
        text=True,
        timeout=400,
        start_new_session=True,
    )


def repro(workspace: Path, *arguments: str) -> None:
    result = dvc(workspace, "repro", *arguments)
    assert result.returncode == 0, result.stdout + result.stderr


def lock_of(workspace: Path) -> dict[str, Any]:
    """Return dvc.lock; of what a training made only which files there are, as it holds times."""

    def plain(entry: dict[str, Any]) -> dict[str, Any]:
        is_timed = entry["path"].startswith(("data/models", "data/reports"))
        hidden = ("md5", "size") if is_timed else ()
        return {key: value for key, value in entry.items() if key not in hidden}

    stages = yaml.safe_load((workspace / "dvc.lock").read_text())["stages"]
    return {
        name: {
            kind: [plain(each) for each in value] if kind in ("deps", "outs") else value
            for kind, value in stage.items()
        }
        for name, stage in stages.items()
    }


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("faults")
    pitches = {"angry": 1500.0, "happy": 600.0, "sad": 200.0}
    corpora = {
        "first": {
            "reader": "folder", "path": str(write_tones(base / "first", pitches)), "language": "en",
        }
    }  # fmt: skip
    lists = {
        "corpora": ["first"], "train_corpora": ["first"], "zero_shot_corpora": ["first"],
        "models": ["serct"],
    }  # fmt: skip
    folder, _ = prepare_workspace(base / "ws", None, ["seed=3"])
    shrink(ROOT / "params.yaml", folder / "params.yaml", corpora=corpora, pipeline=lists, seed=3)
    repro(folder)
    return folder


@pytest.mark.parametrize(
    ("stage", "name", "number", "left"),
    [
        ("pipeline.preprocess", "preprocess@first", 4, "data/shards/.first.partial"),
        ("pipeline.train", "train@serct-first", 22, "data/models/.first-serct.partial"),
    ],
)
def test_a_kill_changes_nothing_that_dvc_records(
    workspace: Path, tmp_path: Path, stage: str, name: str, number: int, left: str
) -> None:
    before = lock_of(workspace)
    (tmp_path / "sitecustomize.py").write_text(KILLER)
    killed = dvc(
        workspace,
        "repro",
        "--force",
        "--single-item",
        name,
        environment={
            "KILLED_STAGE": stage,
            "KILLED_AT": str(number),
            "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
        },
    )
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    assert (workspace / left).exists()
    # DVC may take the output from its cache, and then the stage does not run.
    repro(workspace)
    assert lock_of(workspace) == before
    assert dvc(workspace, "status").stdout.strip() == "Data and pipelines are up to date."
    repro(workspace, "--force", "--single-item", name)
    assert not list((workspace / "data").rglob(".*.partial"))
    assert lock_of(workspace) == before


def test_leftovers_of_stages_that_are_gone_are_no_data(workspace: Path) -> None:
    repro(workspace)
    for folder in ("shards", "models", "reports/evaluate", "reports/zero_shot"):
        for name in (".gone.partial", ".gone.previous"):
            (workspace / "data" / folder / name).mkdir()
            (workspace / "data" / folder / name / "x").write_text("left")
    (workspace / "data" / "models" / "first-serct" / ".card.json.7.partial").write_text("left")
    assert dvc(workspace, "status").stdout.strip() == "Data and pipelines are up to date."
    before = (workspace / "dvc.lock").read_text()
    repro(workspace, "--force", "--single-item", "zero_shot_targets")
    assert (workspace / "dvc.lock").read_text() == before
