"""Nothing half-written is ever seen."""

import os
import signal
import subprocess
import sys
import tempfile
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


def killed_at(event: str, number: int, code: str, cwd: Path) -> None:
    """Run Python that is killed before the so-manieth event of a kind."""
    hook = (
        "import os, pathlib, signal, sys\n"
        "from serct.runtime import atomic\n"
        f"left = [{number}]\n"
        "def hook(event, arguments):\n"
        f"    if event == {event!r}:\n"
        "        left[0] -= 1\n"
        "        if not left[0]: os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.addaudithook(hook)\n"
    )
    process = subprocess.run([sys.executable, "-c", hook + code], cwd=cwd, timeout=60)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("event", "number", "visible", "kept"),
    [
        ("os.rename", 1, "old", "old"),
        ("os.rename", 2, None, "old"),
        ("shutil.rmtree", 1, "new", "new"),
    ],
    ids=["before the swap", "in the swap", "after it"],
)
def test_a_kill_around_the_swap_loses_neither_content(
    tmp_path: Path, event: str, number: int, visible: str | None, kept: str
) -> None:
    target = tmp_path / "out"
    with atomic.replacing_folder(target) as folder:
        (folder / "x").write_text("old")
    code = "with atomic.replacing_folder(pathlib.Path('out')) as f: (f / 'x').write_text('new')"
    killed_at(event, number, code, tmp_path)
    assert ((target / "x").read_text() if target.exists() else None) == visible
    with pytest.raises(RuntimeError, match="again"), atomic.replacing_folder(target):
        raise RuntimeError("the next run fails again")
    assert (target / "x").read_text() == kept
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_the_next_write_removes_what_a_killed_one_left_of_the_file(tmp_path: Path) -> None:
    killed_at("os.rename", 1, "atomic.write_text(pathlib.Path('a.txt'), 'new')", tmp_path)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".a.txt.")
    others = [f".a.txt.{os.getppid()}.partial", ".b.txt.999999999.partial", ".a.txt.b.partial"]
    for name in others:
        (tmp_path / name).write_text("of a process that still writes, or of another file")
    atomic.write_text(tmp_path / "a.txt", "whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*others, "a.txt"])


def test_content_is_on_the_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, rename = os.fsync, Path.rename

    def noted_sync(descriptor: int) -> None:
        done.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    def noted_rename(self: Path, target: Path) -> Path:
        done.append(f"{self.name} -> {target.name}")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(Path, "rename", noted_rename)
    with atomic.replacing_folder(tmp_path / "out") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "x").write_text("x")
    parts = {".out.partial", "deep"}
    assert done[0] == "x"
    assert set(done[1:3]) == parts
    assert done[3:] == [".out.partial -> out", tmp_path.name]


def test_a_link_to_a_folder_is_replaced_and_its_target_stays(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "x").write_text("kept")
    (tmp_path / "out").symlink_to(elsewhere)
    with atomic.replacing_folder(tmp_path / "out") as folder:
        (folder / "x").write_text("new")
    assert (tmp_path / "out" / "x").read_text() == "new"
    assert (elsewhere / "x").read_text() == "kept"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["elsewhere", "out"]


def test_who_may_read_the_folder_may_read_its_files(tmp_path: Path) -> None:
    def write(path: Path) -> None:
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(b"x")
        Path(file.name).replace(path)
        assert path.stat().st_mode & 0o777 == 0o600

    with atomic.replacing_file(tmp_path / "a") as partial:
        write(partial)
    with atomic.replacing_folder(tmp_path / "b") as folder:
        (folder / "deep").mkdir()
        write(folder / "deep" / "x")
        (folder / "program").touch(0o700)
    usual = tmp_path.joinpath("usual")
    usual.touch()
    rights = usual.stat().st_mode
    assert (tmp_path / "a").stat().st_mode == rights
    assert (tmp_path / "b/deep/x").stat().st_mode == rights
    assert (tmp_path / "b/program").stat().st_mode == rights | 0o100


def test_what_a_library_writes_beside_a_file_is_removed_with_it(tmp_path: Path) -> None:
    code = (
        "with atomic.replacing_file(pathlib.Path('a.txt')) as p:\n"
        "    p.with_name('.tmp123').write_text('half'); os.rename(p.with_name('.tmp123'), p)"
    )
    killed_at("os.rename", 1, code, tmp_path)
    (left,) = tmp_path.iterdir()
    assert left.name.endswith(".partial")
    atomic.write_text(tmp_path / "a.txt", "whole")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
