"""Nothing half-written is ever seen."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serct.runtime import atomic


def test_a_failed_write_leaves_the_old_content(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    atomic.write_text(target, "old")

    def write_half() -> None:
        with atomic.replacing_file(target) as partial:
            partial.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_half()
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_failed_folder_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with atomic.replacing_folder(target) as partial:
        (partial / "x").write_text("old")

    def fill_half() -> None:
        with atomic.replacing_folder(target) as partial:
            (partial / "x").write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fill_half()
    assert (target / "x").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_kill_in_the_middle_leaves_no_result(tmp_path: Path) -> None:
    target = tmp_path / "out"
    code = (
        "import sys, time, pathlib; from serct.runtime import atomic\n"
        "with atomic.replacing_folder(pathlib.Path(sys.argv[1])) as folder:\n"
        "    (folder / 'half').write_text('x'); print('ready', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(target)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not target.exists()
    with atomic.replacing_folder(target) as folder:
        (folder / "whole").write_text(str(time.time()))
    assert [p.name for p in target.iterdir()] == ["whole"]
