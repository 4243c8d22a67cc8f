"""The user's cache: where it is, what it holds, and that it stays whole and small."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from serct.runtime import cache
from serct.runtime.cache import FeatureCache, cache_folder


def digest(number: int) -> bytes:
    return number.to_bytes(32, "big")


def rows(*numbers: int) -> tuple[list[bytes], np.ndarray]:
    return [digest(number) for number in numbers], np.array(
        [[number, -number] for number in numbers]
    )


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SERCT_CACHE", str(tmp_path))
    return tmp_path / "features"


def test_the_folder_is_the_users_choice() -> None:
    assert cache_folder({"SERCT_CACHE": "~/there"}) == Path.home() / "there"
    assert cache_folder({"SERCT_CACHE": ""}) == cache_folder({})
    assert "serct" in str(cache_folder({}))


def test_features_are_added_to_those_that_are_there() -> None:
    kept = FeatureCache("tess-1")
    assert kept.read() == {}
    kept.add(*rows(1, 2))
    kept.add(*rows(2, 3))
    assert {key: row.tolist() for key, row in FeatureCache("tess-1").read().items()} == {
        digest(number): [number, -number] for number in (1, 2, 3)
    }
    assert FeatureCache("tess-2").read() == {}


def test_a_file_keeps_what_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_MAX_ROWS", 4)
    kept = FeatureCache("tess-1")
    kept.add(*rows(1, 2, 3))
    kept.add(*rows(4, 5, 6))
    assert set(kept.read()) == {digest(number) for number in (3, 4, 5, 6)}
    kept.add(*rows(*range(10, 16)))
    assert set(kept.read()) == {digest(number) for number in range(10, 16)}


def test_files_that_were_not_used_for_longest_are_removed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for age, name in enumerate(("new", "old", "read", "older")):
        FeatureCache(name).add(*rows(1))
        os.utime(folder / f"{name}.npz", (1e9 - age, 1e9 - age))
    FeatureCache("read").read()
    size = (folder / "new.npz").stat().st_size
    monkeypatch.setattr(cache, "MAX_BYTES", 3 * size)
    FeatureCache("newest").add(*rows(1))
    assert {path.stem for path in folder.iterdir()} == {"newest", "read", "new"}


def test_a_folder_that_takes_no_file_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SERCT_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        FeatureCache("tess-1").add(*rows(1))
    assert "features are not kept for the next time: cannot write" in caplog.text


@pytest.mark.slow
def test_processes_at_once_leave_a_whole_file(folder: Path) -> None:
    code = """
import logging, sys
import numpy as np
from serct.runtime.cache import FeatureCache
logging.raiseExceptions = True
failed = []
logging.getLogger("serct").warning = lambda *text: failed.append(text)
own, kept = int(sys.argv[1]), FeatureCache("tess-1")
for turn in range(40):
    kept.add([own.to_bytes(32, "big")], np.full((1, 2000), float(own)))
    for digest, row in kept.read().items():
        assert (row == int.from_bytes(digest, "big")).all()
sys.exit(str(failed) if failed else 0)
"""
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(number)], stderr=subprocess.PIPE)
        for number in (1, 2, 3)
    ]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    assert [path.name for path in folder.iterdir()] == ["tess-1.npz"]
    found = FeatureCache("tess-1").read()
    assert set(found) <= {digest(number) for number in (1, 2, 3)}
    assert found
