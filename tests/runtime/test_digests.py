"""Digests of files: what is missing, unreadable or changed is named."""

import hashlib
from pathlib import Path

import pytest

from serct.config.record import sealed
from serct.errors import CheckpointError
from serct.runtime.digests import check_files, file_digest, file_digests

EMPTY = hashlib.sha256(b"").hexdigest()


def test_digests_are_those_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1234")
    (tmp_path / "b").touch()
    assert file_digest(tmp_path / "a", "md5") == hashlib.md5(b"1234").hexdigest()
    found = file_digests(tmp_path, ("b", "a", "missing"))
    assert found == {"b": EMPTY, "a": hashlib.sha256(b"1234").hexdigest()}
    check_files(tmp_path, found, "list.json", CheckpointError)
    check_files(tmp_path / "nowhere", {}, "list.json", CheckpointError)


def test_what_differs_is_named_with_both_digests(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1234")
    found = hashlib.sha256(b"1234").hexdigest()
    with pytest.raises(CheckpointError) as caught:
        check_files(tmp_path, {"a": EMPTY}, "list.json", CheckpointError)
    assert str(caught.value) == (
        f"{tmp_path / 'a'}: damaged: SHA-256 {found}, expected {EMPTY} as list.json says"
    )
    with pytest.raises(CheckpointError, match=r"b: no such file, but list\.json"):
        check_files(tmp_path, {"b": EMPTY}, "list.json", CheckpointError)
    (tmp_path / "c").mkdir()
    with pytest.raises(CheckpointError, match=r"c: not readable: .*Is a directory"):
        check_files(tmp_path, {"c": EMPTY}, "list.json", CheckpointError)


def test_a_seal_depends_on_content_alone() -> None:
    first = sealed({"b": 1.0, "a": {"d": [1, None], "c": "ü"}})
    again = sealed({"content_sha256": "old", "a": {"c": "ü", "d": [1, None]}, "b": 1.0})
    assert first == again
    expected = hashlib.sha256(b'{"a":{"c":"\\u00fc","d":[1,null]},"b":1.0}').hexdigest()
    assert first["content_sha256"] == expected
    for other in ({"b": 1.0000000000000002}, {"b": 1}, {"a": {"d": [1], "c": "ü"}}):
        assert sealed({**first, **other})["content_sha256"] != expected
