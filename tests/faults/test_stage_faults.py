"""Each stage under each fault: what it says, what it leaves, and that a rerun ends the same."""

import csv
import json
import os
import shutil
from pathlib import Path

import pytest

from serct.experiments.workspace import prepare_workspace
from tests.conftest import ROOT, shrink, write_tones
from tests.faults.stage_process import (
    CANNOT_MOUNT,
    CountChanges,
    Deny,
    KillBefore,
    LimitFiles,
    Mount,
    run_program,
)

# Command and outputs of each stage, in their order; {out} is the folder that holds the output.
STAGES = {
    "download": ("--corpus first --out {out}/first", "data/raw"),
    "manifest": (
        "--corpus first --raw data/raw/first --out {out}/first.csv", "data/manifests",
    ),
    "preprocess": (
        "--corpus first --raw data/raw/first --manifest data/manifests/first.csv "
        "--out {out}/first",
        "data/shards",
    ),
    "train": (
        "--model serct --shards data/shards/first --state data/training/first-serct.safetensors "
        "--out {out}/first-serct",
        "data/models",
    ),
    "evaluate": (
        "--model data/models/first-serct --shards data/shards/first --out {out}/first-serct",
        "data/reports/evaluate",
    ),
    "zero_shot_targets": ("--shards data/shards --out {out}/zero_shot_targets.json", "data"),
    "zero_shot": (
        "--model data/models/first-serct --shards data/shards "
        "--targets data/zero_shot_targets.json --out {out}/first-serct",
        "data/reports/zero_shot",
    ),
    "report": ("--data data --out {out} --metrics {out}/metrics.json", "data/reports"),
}  # fmt: skip
OUTPUTS = {
    "download": ["data/raw/first"],
    "manifest": ["data/manifests/first.csv"],
    "preprocess": ["data/shards/first"],
    "train": ["data/models/first-serct"],
    "evaluate": ["data/reports/evaluate/first-serct"],
    "zero_shot_targets": ["data/zero_shot_targets.json"],
    "zero_shot": ["data/reports/zero_shot/first-serct"],
    "report": [
        f"data/reports/{name}"
        for name in ("index.html", "report.md", "results.csv", "cards", "curves", "confusion")
    ],
}


def command(stage: str, out: str | None = None) -> str:
    options, usual = STAGES[stage]
    return f"pipeline.{stage} {options.format(out=out or usual)}"


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which every stage that is needed here ran undisturbed."""
    base = tmp_path_factory.mktemp("undisturbed")
    pitches = {"angry": 1500.0, "happy": 600.0, "sad": 200.0}
    corpora = {}
    for name, num_each in (("first", 12), ("second", 5)):
        path = write_tones(base / name, pitches, num_each)
        corpora[name] = {"reader": "folder", "path": str(path), "language": "en"}
    lists = {
        "corpora": ["first", "second"], "train_corpora": ["first"],
        "zero_shot_corpora": ["second"], "models": ["serct"],
    }  # fmt: skip
    workspace, _ = prepare_workspace(base / "ws", None, ["seed=3"])
    shrink(ROOT / "params.yaml", workspace / "params.yaml", corpora=corpora, pipeline=lists, seed=3)
    for stage in STAGES:
        run = command(stage)
        is_of_each = stage in ("download", "manifest", "preprocess")
        for each in [run, run.replace("first", "second")] if is_of_each else [run]:
            outcome = run_program(workspace, each)
            assert outcome.code == 0, outcome.text
    return workspace


def copy_without(built: Path, tmp_path: Path, stage: str) -> Path:
    """Copy a workspace without the outputs of a stage, as DVC removes them before it runs one."""
    workspace = tmp_path / "ws"
    shutil.copytree(built, workspace, symlinks=True)
    for output in OUTPUTS[stage]:
        path = workspace / output
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return workspace


def content(workspace: Path) -> dict[str, object]:
    """Return every file and folder below data/, without what tells when and how fast it was."""
    found: dict[str, object] = {}
    for path in sorted((workspace / "data").rglob("*")):
        name = str(path.relative_to(workspace))
        if path.is_dir():
            found[name] = "folder"
        elif path.name == "run.json":
            found[name] = sorted(json.loads(path.read_text()))
        elif path.name == "history.csv":
            rows = csv.DictReader(path.read_text().splitlines())
            found[name] = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
        else:
            found[name] = path.read_bytes()
    return found


def leftovers(workspace: Path) -> list[str]:
    return [path.name for path in (workspace / "data").rglob(".*")]


def check_rerun(built: Path, workspace: Path, stage: str) -> None:
    outcome = run_program(workspace, command(stage))
    assert outcome.code == 0, outcome.text
    assert leftovers(workspace) == []
    after, before = content(workspace), content(built)
    differing = [name for name in {*after, *before} if after.get(name) != before.get(name)]
    assert differing == []


def check_one_sentence(text: str, *expected: str) -> None:
    assert "Traceback" not in text
    (line,) = [line for line in text.splitlines() if line.startswith("error:")]
    assert any(words in line for words in expected), line


def largest(built: Path, stage: str) -> int:
    files = [
        path
        for output in OUTPUTS[stage]
        for path in [built / output, *(built / output).rglob("*")]
        if path.is_file()
    ]
    return max(path.stat().st_size for path in files)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["start", "middle", "end"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_stage_is_made_good_by_the_next_run(
    built: Path, tmp_path: Path, stage: str, part: str
) -> None:
    workspace = copy_without(built, tmp_path, stage)
    assert run_program(workspace, command(stage), CountChanges()).code == 0
    num_changes = int((workspace / "changes.txt").read_text())
    assert num_changes >= 3
    number = {"start": 1, "middle": (num_changes + 1) // 2, "end": num_changes}[part]
    for output in OUTPUTS[stage]:
        path = workspace / output
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    outcome = run_program(workspace, command(stage), KillBefore(number))
    assert outcome.code == -9, outcome.text
    check_rerun(built, workspace, stage)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_disk_that_takes_half_of_the_output(built: Path, tmp_path: Path, stage: str) -> None:
    workspace = copy_without(built, tmp_path, stage)
    outcome = run_program(workspace, command(stage), LimitFiles(largest(built, stage) // 2))
    assert outcome.code == 1, outcome.text
    check_one_sentence(outcome.text, "larger than a file may be here")
    assert leftovers(workspace) == []
    check_rerun(built, workspace, stage)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_folder_without_permission(built: Path, tmp_path: Path, stage: str) -> None:
    workspace = copy_without(built, tmp_path, stage)
    folder = STAGES[stage][1]
    outcome = run_program(workspace, command(stage), Deny(folder))
    (workspace / folder).chmod(0o755)
    assert outcome.code == 1, outcome.text
    check_one_sentence(outcome.text, f"cannot write {folder}/")
    assert "permission denied" in outcome.text
    assert leftovers(workspace) == []
    check_rerun(built, workspace, stage)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["full", "read-only"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_file_system_that_is(built: Path, tmp_path: Path, stage: str, kind: str) -> None:
    workspace = tmp_path / "ws"
    shutil.copytree(built, workspace, symlinks=True)
    (workspace / "data" / "other").mkdir()
    outcome = run_program(workspace, command(stage, "data/other"), Mount("data/other", kind))
    if outcome.code == CANNOT_MOUNT:
        pytest.skip("this process may not mount file systems")
    assert outcome.code == 1, outcome.text
    if kind == "full":
        check_one_sentence(outcome.text, "error: the disk is full: cannot write data/other")
        assert "0 MB are free)" in outcome.text
    else:
        check_one_sentence(outcome.text, "error: cannot write data/other")
        assert "the file system is read-only" in outcome.text


MODEL = "data/models/first-serct"
INPUTS = [
    ("manifest", "data/raw/first/angry/s0_00.wav"),
    ("preprocess", "data/raw/first/angry/s0_00.wav"),
    ("train", "data/shards/first/meta.json"),
    ("evaluate", f"{MODEL}/card.json"),
    ("zero_shot_targets", "data/shards/second/meta.json"),
    ("zero_shot", "data/shards/second/meta.json"),
    ("report", "data/reports/zero_shot/first-serct/metrics.json"),
]


@pytest.mark.slow
@pytest.mark.parametrize("share", [0, 0.5], ids=["nothing", "half"])
@pytest.mark.parametrize(("stage", "name"), INPUTS)
def test_an_input_of_which_is_left(
    built: Path, tmp_path: Path, stage: str, name: str, share: float
) -> None:
    """As after a loss of power: the file is there, and its content is not."""
    workspace = copy_without(built, tmp_path, stage)
    path = workspace / name
    os.truncate(path, int(path.stat().st_size * share))
    outcome = run_program(workspace, command(stage))
    assert outcome.code == 1, outcome.text
    assert "Traceback" not in outcome.text
    assert outcome.text.count("error:") == 1
    # Files of a corpus are named as its manifest does.
    assert name.removeprefix("data/raw/first/") in outcome.text.partition("error:")[2]
    assert leftovers(workspace) == []


@pytest.mark.slow
@pytest.mark.parametrize("share", [0, 0.5], ids=["nothing", "half"])
def test_what_training_can_do_without(built: Path, tmp_path: Path, share: float) -> None:
    workspace, name = (
        copy_without(built, tmp_path, "train"),
        "data/training/first-serct.safetensors",
    )
    # Long after the first epoch's state, before the model.
    outcome = run_program(workspace, command("train"), KillBefore(10))
    assert outcome.code == -9, outcome.text
    path = workspace / name
    os.truncate(path, int(path.stat().st_size * share))
    outcome = run_program(workspace, command("train"))
    assert "Traceback" not in outcome.text
    assert outcome.code == 1, outcome.text
    assert f"error: {name}: damaged: " in outcome.text
    assert "delete it to train from the first epoch" in outcome.text
    path.unlink()
    outcome = run_program(workspace, command("train"))
    assert outcome.code == 0, outcome.text
    after, before = content(workspace), content(built)
    assert after[f"{MODEL}/weights.safetensors"] == before[f"{MODEL}/weights.safetensors"]
    assert leftovers(workspace) == []


@pytest.mark.slow
def test_the_report_can_do_without_a_database_of_mlflow(built: Path, tmp_path: Path) -> None:
    workspace = copy_without(built, tmp_path, "report")
    path = workspace / "mlflow.db"
    os.truncate(path, path.stat().st_size // 2)
    outcome = run_program(workspace, command("report"))
    assert outcome.code == 0, outcome.text
    assert "Traceback" not in outcome.text
    assert "not tracked: " in outcome.text
    assert content(workspace) == content(built)
    assert leftovers(workspace) == []
