"""A dvc.lock that cannot be used is moved aside, never one that can."""

import subprocess
import threading
from pathlib import Path

import pytest

from serct.experiments import lock_file
from serct.experiments.lock_file import mend_lock

GOOD = """schema: '2.0'
stages:
  manifest@demo_en:
    cmd: python -m pipeline.manifest
    deps:
    - path: data/raw/demo_en
      md5: 6a1c0f2c2b0e4c0aa7c1cb8dba5e2f31.dir
      size: 10
      nfiles: 1
"""
BROKEN = {
    "empty": b"",
    "zeros of a lost block": b"\0" * 4096,
    "not text": b"\xff\xfe\x00",
    "no mapping": b"schema",
    "no schema": b"stages: {}\n",
    "cut off": GOOD[: GOOD.index("md5") + 2].encode(),
    "not YAML": b"schema: '2.0\nstages",
}


@pytest.fixture(autouse=True)
def _no_long_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_file, "_WAIT_S", 0.01)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_lock_is_moved_aside_and_said(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lock = tmp_path / "dvc.lock"
    for number in (1, 2):
        lock.write_bytes(BROKEN[name])
        mend_lock(tmp_path)
        assert not lock.exists()
        aside = tmp_path / ("dvc.lock.broken" if number == 1 else "dvc.lock.broken-2")
        assert aside.read_bytes() == BROKEN[name]
        assert f"as after a full disk; moved to {aside}: DVC's cache holds" in caplog.text


def test_the_committed_lock_takes_its_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lock = tmp_path / "sub" / "dvc.lock"
    lock.parent.mkdir()
    lock.write_text(GOOD)
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run(
            ["git", "-c", "user.name=n", "-c", "user.email=e@x", *command], cwd=tmp_path, check=True
        )
    lock.write_bytes(b"")
    mend_lock(lock.parent)
    assert lock.read_text() == GOOD
    assert lock.with_name("dvc.lock.broken").read_bytes() == b""
    assert "the committed one is used" in caplog.text


@pytest.mark.parametrize(
    "content", [GOOD, GOOD.replace("\n", "\r\n"), "schema: '2.0'\n", f"<<<<<<< HEAD\n{GOOD}", None]
)
def test_a_usable_lock_stays(content: str | None, tmp_path: Path) -> None:
    """One with conflict markers as well: its owner resolves them."""
    lock = tmp_path / "dvc.lock"
    if content is not None:
        lock.write_text(content, newline="")
    mend_lock(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ([] if content is None else ["dvc.lock"])
    assert content is None or lock.read_bytes() == content.encode()


def test_a_lock_that_another_process_is_writing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_file, "_WAIT_S", 0.3)
    lock = tmp_path / "dvc.lock"
    lock.write_text("")
    writer = threading.Timer(0.05, lock.write_text, [GOOD])
    writer.start()
    mend_lock(tmp_path)
    writer.join()
    assert [path.name for path in tmp_path.iterdir()] == ["dvc.lock"]
