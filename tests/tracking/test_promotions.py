"""The record of promotions: only ever added to, and damage is told from what a crash leaves."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from serct.errors import TrackingError
from serct.tracking.promotions import (
    FILE,
    Entry,
    Promoted,
    append_promotion,
    next_time,
    read_promotions,
)
from tests.conftest import ROOT


def entry(version: str, at: str = "2031-02-03T04:05:06+00:00") -> Entry:
    champion = Promoted(
        version=version, name="serct", corpus="tess", fingerprint="f" * 64, weights="w" * 64
    )
    return Entry(
        action="promote", at=at, by="Zoë", why="größer, 更好",
        champion=champion, previous=None, gates=({"gate": "UA", "found": "0.9"},),
    )  # fmt: skip


@pytest.fixture
def record(tmp_path: Path) -> Path:
    append_promotion(tmp_path, entry("1"))
    append_promotion(tmp_path, entry("2"))
    return tmp_path / FILE


def test_wherever_a_crash_cuts_a_line_it_was_no_promotion(record: Path) -> None:
    content = record.read_bytes()
    first = content.index(b"\n") + 1
    for length in range(first, len(content)):
        record.write_bytes(content[:length])
        assert read_promotions(record.parent) == [entry("1")]
    append_promotion(record.parent, entry("2"))
    assert record.read_bytes() == content


@pytest.mark.parametrize("tail", [b"\0" * 700, b"{\0", b"x", b'{"a": 1} ', b"{}\xc3", b"\xff{"])
def test_another_end_is_damage_that_is_kept(record: Path, tail: bytes) -> None:
    content = record.read_bytes() + tail
    record.write_bytes(content)
    expected = rf"{FILE}: damaged: ends in {len(tail)} bytes that are neither a promotion nor the"
    with pytest.raises(TrackingError, match=expected):
        read_promotions(record.parent)
    with pytest.raises(TrackingError, match=expected):
        append_promotion(record.parent, entry("3"))
    assert record.read_bytes() == content


def test_whatever_the_last_line_end_becomes_is_an_error(record: Path) -> None:
    content = record.read_bytes()
    for byte in range(256):
        if byte != ord("\n"):
            record.write_bytes(content[:-1] + bytes([byte]))
            with pytest.raises(TrackingError, match=f"{FILE}: damaged: ends in"):
                read_promotions(record.parent)


def test_a_link_to_nowhere_is_no_empty_record(record: Path, tmp_path: Path) -> None:
    record.rename(tmp_path / "share")
    record.symlink_to(tmp_path / "share")
    append_promotion(record.parent, entry("3"))
    assert len(read_promotions(record.parent)) == 3
    (tmp_path / "share").unlink()
    for use in (read_promotions, lambda data: append_promotion(data, entry("4"))):
        with pytest.raises(TrackingError, match=rf"{FILE}: a link to .*/share, which is not there"):
            use(record.parent)


def test_a_line_of_older_format_has_no_digest(record: Path) -> None:
    old = entry("0").as_json() | {"format_version": 2}
    del old["content_sha256"]
    record.write_text(json.dumps(old) + "\n" + record.read_text())
    assert [each.champion.version for each in read_promotions(record.parent)] == ["0", "1", "2"]
    record.write_text(record.read_text().replace('"version": "2"', '"version": "1"'))
    with pytest.raises(
        TrackingError, match=rf"{FILE}, line 3: damaged or edited: .*; expected a promotion"
    ):
        read_promotions(record.parent)


def at(second: int) -> str:
    return f"2021-02-03T04:05:{second:02d}+00:00"


def test_git_keeps_the_lines_of_both_branches_and_the_reader_sorts_them(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=n", "-c", "user.email=e")
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True)

    def commit(version: str, time: str) -> None:
        append_promotion(data, entry(version, time))
        git("add", ".")
        git("commit", "--quiet", "--message", version)

    data = tmp_path / "data"
    git("init", "--quiet", "--initial-branch=main")
    shutil.copy(ROOT / ".gitattributes", tmp_path)
    commit("1", at(1))
    git("checkout", "--quiet", "-b", "other")
    commit("3", at(3))
    git("checkout", "--quiet", "main")
    commit("2", at(2))
    commit("4", at(4))
    git("merge", "--quiet", "--no-edit", "other")
    lines = (data / FILE).read_text().splitlines()
    assert [json.loads(line)["champion"]["version"] for line in lines] != ["1", "2", "3", "4"]
    assert [each.champion.version for each in read_promotions(data)] == ["1", "2", "3", "4"]


def test_a_line_of_a_clock_that_is_behind_is_still_the_last(tmp_path: Path) -> None:
    assert next_time(tmp_path) > at(59)
    append_promotion(tmp_path, entry("1", at(59).replace("2021", "2121")))
    assert next_time(tmp_path) == at(59).replace("2021", "2121")
    append_promotion(tmp_path, entry("2", next_time(tmp_path)))
    assert [each.champion.version for each in read_promotions(tmp_path)] == ["1", "2"]
