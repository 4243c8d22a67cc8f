"""Stages side by side: the lock file of one after the other, in less time; failures stop it."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from serct.errors import ParamsError
from serct.experiments.parallel import only, read_graph, rebuild

STEP = (
    "import pathlib, sys, time; out, seconds, *needed = sys.argv[1:];"
    "[pathlib.Path(n).read_text() for n in needed]; time.sleep(float(seconds));"
    "pathlib.Path(out).write_text(out); print(out, 'made')"
)


def write_project(root: Path, seconds: float = 0.0, failing: str = "") -> Path:
    """Write two branches of two stages, and one stage that needs both."""
    root.mkdir(parents=True)
    (root / "step.py").write_text(STEP)

    def stage(out: str, *needed: str) -> dict[str, object]:
        command = "python step.py" if out != failing else "python no_such_file.py"
        return {
            "cmd": f"{command} {out} {seconds} {' '.join(needed)}",
            "deps": ["step.py", *needed],
            "outs": [out],
        }

    stages = {
        "read": {
            "foreach": ["a", "b"],
            "do": {
                "cmd": f"python step.py ${{item}}1 {seconds}",
                "deps": ["step.py"],
                "outs": ["${item}1"],
            },
        },
        "a2": stage("a2", "a1"),
        "b2": stage("b2", "b1"),
        "end": stage("end", "a2", "b2"),
    }
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    subprocess.run(
        [sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"], cwd=root, check=True
    )
    return root


def test_what_a_target_needs_is_kept_and_a_wrong_one_named() -> None:
    graph = {
        "read@a": frozenset[str](),
        "read@b": frozenset[str](),
        "a2": frozenset({"read@a"}),
        "end": frozenset({"a2", "read@b"}),
    }
    assert set(only(graph, ["a2"])) == {"read@a", "a2"}
    assert set(only(graph, ["read"])) == {"read@a", "read@b"}
    assert only(graph, []) == graph
    with pytest.raises(ParamsError, match="no stage 'nope', expected one of: a2, end, read@a"):
        only(graph, ["nope"])


@pytest.mark.slow
def test_the_lock_file_is_that_of_one_after_the_other(tmp_path: Path) -> None:
    serial, parallel = (write_project(tmp_path / name, seconds=4.0) for name in ("s", "p"))
    started = time.monotonic()
    assert rebuild(serial, 1, flags=["--quiet"]) == 0
    serial_s = time.monotonic() - started
    lines: list[str] = []
    started = time.monotonic()
    assert rebuild(parallel, 2, show=lines.append) == 0
    parallel_s = time.monotonic() - started
    # The same entries; DVC puts each where the file ended when its stage was done.
    locks = [yaml.safe_load((root / "dvc.lock").read_text()) for root in (serial, parallel)]
    assert locks[0] == locks[1]
    # 5 stages of 4 s against 3 rounds of them, and DVC's own start each time.
    assert parallel_s < serial_s
    assert "[read@a] a1 made" in lines
    assert any("running: read@a, read@b" in line for line in lines)
    assert lines[-1] == "=== 5 of 5 stages done"
    # Nothing is left to do, for either way of running.
    again: list[str] = []
    assert rebuild(parallel, 2, show=again.append) == 0
    assert not any("made" in line for line in again)
    result = subprocess.run(
        [sys.executable, "-m", "dvc", "status"], cwd=parallel, capture_output=True, text=True
    )
    assert "up to date" in result.stdout


@pytest.mark.slow
def test_a_failure_starts_nothing_new_and_loses_nothing(tmp_path: Path) -> None:
    root = write_project(tmp_path / "p", failing="a2")
    lines: list[str] = []
    assert rebuild(root, 2, show=lines.append) != 0
    assert any(line.startswith("a2 failed with exit code") for line in lines)
    assert any("no_such_file.py" in line for line in lines)
    assert not (root / "end").exists()
    assert set(yaml.safe_load((root / "dvc.lock").read_text())["stages"]) >= {"read@a", "read@b"}


@pytest.mark.slow
def test_only_what_a_target_needs_runs(tmp_path: Path) -> None:
    root = write_project(tmp_path / "p")
    assert len(read_graph(root)) == 5
    assert rebuild(root, 2, ["a2"], show=lambda line: None) == 0
    assert (root / "a2").exists()
    assert not (root / "b1").exists()
