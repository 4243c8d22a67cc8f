"""Every command where nothing can be written: what only reads works, the others say why not."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
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
    "score": f"score data/raw/first --model {MODEL} --out data/scored --workspace .",
    "export": f"export {MODEL} --out data/exported",
    "promote": "promote 1 --workspace .",
    "sync": "sync --workspace .",
    "repro": "repro --workspace .",
    "search": "search --trials 1 --workspace .",
}


def test_an_output_that_cannot_be_printed_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "serct.cli", "corpora", "list"],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, cwd=ROOT,
        )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == "error: the disk is full: cannot write a file"
    assert "Traceback" not in result.stderr


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
    before = content(built)
    database = (built / "mlflow.db").read_bytes()
    fault = Mount(".", "sealed") if kind == "read-only" else LimitFiles(0)
    outcome = run_program(built, f"serct.cli {WRITING[name]}", fault)
    if outcome.code == CANNOT_MOUNT:
        pytest.skip("this process may not mount file systems")
    assert outcome.code == 1, outcome.text
    if name == "sync" and kind == "full":
        assert "the disk reports an error" in outcome.text
        assert "Traceback" not in outcome.text
    else:
        check_one_sentence(outcome.text, "cannot write", "cannot open the store")
    assert content(built) == before
    assert (built / "mlflow.db").read_bytes() == database
