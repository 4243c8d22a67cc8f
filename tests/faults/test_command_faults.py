"""Every command where nothing can be written: what only reads works, the others say why not."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, shrink
from tests.faults.stage_process import CANNOT_MOUNT, LimitFiles, Mount, run_program
from tests.faults.test_stage_faults import built, check_one_sentence, content

__all__ = ["built"]  # the fixture

MODEL = "data/models/first-serct"
READING = {
    "predict a folder": f"predict --model {MODEL} data/raw/first/sad/s0_00.wav",
    "predict from the registry": "predict data/raw/first/sad/s0_00.wav --workspace .",
    "models": "models --workspace .",
    "report": "report --workspace .",
    "evaluate": f"evaluate --model {MODEL} --shards data/shards/second",
    "gates": "promote 1 --dry-run --workspace .",
}
WRITING = {
    "score": f"score data/raw/first --model {MODEL} --out {{out}}/scored --workspace .",
    "export": f"export {MODEL} --out {{out}}/exported",
    "promote": "promote 1 --workspace .",
    "sync": "sync --workspace .",
    "repro": "repro --workspace .",
    "search": "search --trials 1 --workspace .",
}


def files(workspace: Path) -> dict[str, object]:
    return {name: kept for name, kept in content(workspace).items() if kept != "folder"}


def test_an_output_that_cannot_be_printed_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "serct.cli", "--version"],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, cwd=ROOT,
        )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == "error: the disk is full: cannot write a file"
    assert "Traceback" not in result.stderr


def test_a_stage_that_may_write_only_half_is_one_line(tones: Path, tmp_path: Path) -> None:
    corpora = {"first": {"reader": "folder", "path": str(tones), "language": "en"}}
    shrink(ROOT / "params.yaml", tmp_path / "params.yaml", corpora=corpora)
    command = [
        sys.executable, "-m", "pipeline.manifest", "--corpus", "first", "--raw", str(tones),
        "--out", "manifests/first.csv",
    ]  # fmt: skip
    limited = subprocess.run(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, timeout=60,
        preexec_fn=lambda: LimitFiles(3000)(tmp_path),
    )  # fmt: skip
    assert (limited.returncode, limited.stderr) == (
        1,
        "error: cannot write manifests/first.csv: larger than a file may be here, see "
        "`ulimit -f`\n",
    )
    assert list((tmp_path / "manifests").iterdir()) == []
    free = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (free.returncode, free.stderr) == (0, "")
    assert [path.name for path in (tmp_path / "manifests").iterdir()] == ["first.csv"]


@pytest.mark.slow
@pytest.mark.parametrize("name", READING)
def test_what_only_reads_works_on_a_read_only_disk(built: Path, name: str) -> None:
    outcome = run_program(built, f"serct.cli {READING[name]}", Mount(".", "sealed"))
    if outcome.code == CANNOT_MOUNT:
        pytest.skip("this process may not mount file systems")
    assert outcome.code == 0, outcome.text
    assert "Traceback" not in outcome.text


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["read-only", "full"])
@pytest.mark.parametrize("name", WRITING)
def test_what_writes_says_why_it_cannot(built: Path, name: str, kind: str) -> None:
    card = built / "data/reports/cards/first-serct.md"
    text = card.read_text()
    # So that a sync has something to show.
    card.write_text(f"{text}\nWritten for {name} on a {kind} disk.\n")
    try:
        check_that_it_cannot(built, name, kind)
    finally:
        card.write_text(text)


def check_that_it_cannot(built: Path, name: str, kind: str) -> None:
    before, database = files(built), (built / "mlflow.db").read_bytes()
    (built / "full").mkdir(exist_ok=True)
    if kind == "read-only":
        fault: Mount | LimitFiles = Mount(".", "sealed")
    else:
        fault = Mount("full", "full") if "{out}" in WRITING[name] else LimitFiles(0)
    outcome = run_program(built, f"serct.cli {WRITING[name].format(out='full')}", fault)
    if outcome.code == CANNOT_MOUNT:
        pytest.skip("this process may not mount file systems")
    assert outcome.code == 1, outcome.text
    if name == "sync":
        # It goes on with the next folder, and gives the reason for each.
        assert "Traceback" not in outcome.text
        assert f"{built}/mlflow.db: " in outcome.text.partition("problem:")[2]
    else:
        check_one_sentence(outcome.text, "cannot write")
    assert files(built) == before
    assert (built / "mlflow.db").read_bytes() == database
