"""Unpacking: what is inside arrives, what leads outside is refused, nothing half is left."""

import io
import stat
import tarfile
import zipfile
from pathlib import PurePosixPath

import pytest

from serct.data.archives import extract
from serct.errors import DownloadError

MEGABYTE = 1 << 20


def make_zip(path, members, mode=None):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            if mode:
                info.external_attr = mode << 16
            file.writestr(info, content)
    return path


def make_tar(path, members, compression="gz", **attributes):
    with tarfile.open(path, f"w:{compression}") as file:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in attributes.items():
                setattr(info, key, value)
            file.addfile(info, io.BytesIO(content))
    return path


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_members_arrive_and_shadow_copies_do_not(tmp_path, make):
    members = [("a/b.wav", b"one"), ("c.wav", b"two"), ("__MACOSX/a/._b.wav", b"shadow")]
    archive = make(tmp_path / "any.name", members)
    extract(archive, tmp_path / "out", MEGABYTE)
    assert contents(tmp_path / "out") == {"a/b.wav": b"one", "c.wav": b"two"}


@pytest.mark.parametrize("compression", ["", "bz2", "xz"])
def test_other_compressions(tmp_path, compression):
    archive = make_tar(tmp_path / "corpus", [("a.wav", b"one")], compression)
    extract(archive, tmp_path / "out", MEGABYTE)
    assert contents(tmp_path / "out") == {"a.wav": b"one"}


def test_only_what_is_wanted(tmp_path):
    archive = make_zip(tmp_path / "a.zip", [("a.wav", b"one"), ("big.txt", b"x" * 1000)])
    extract(archive, tmp_path / "out", 10, wanted=lambda path: path.suffix == ".wav")
    assert contents(tmp_path / "out") == {"a.wav": b"one"}


def test_wanted_sees_relative_paths(tmp_path):
    seen = []
    archive = make_zip(tmp_path / "a.zip", [("a/b.wav", b"")])
    extract(archive, tmp_path / "out", 10, wanted=lambda path: not seen.append(path))
    assert seen == [PurePosixPath("a/b.wav")]


UNSAFE = ["../evil.wav", "a/../../evil.wav", "/evil.wav", "C:/evil.wav", "..\\evil.wav", "a\\b.wav"]


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize("name", UNSAFE)
def test_names_that_lead_outside(tmp_path, make, name):
    archive = make(tmp_path / "a.zip", [("good.wav", b"one"), (name, b"evil")])
    with pytest.raises(DownloadError, match="unsafe name"):
        extract(archive, tmp_path / "deep" / "out", MEGABYTE)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.zip", "deep"]


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_tar(tmp_path, kind):
    archive = make_tar(tmp_path / "a.tar", [("link", b"")], type=kind, linkname="/etc/hosts")
    with pytest.raises(DownloadError, match="'link' is a link or device"):
        extract(archive, tmp_path / "out", MEGABYTE)
    assert not (tmp_path / "out").exists()


def test_links_in_zip(tmp_path):
    archive = make_zip(tmp_path / "a.zip", [("link", b"/etc/hosts")], stat.S_IFLNK | 0o777)
    with pytest.raises(DownloadError, match="'link' is a link or device"):
        extract(archive, tmp_path / "out", MEGABYTE)


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_size_limit(tmp_path, make):
    members = [("a.wav", b"\0" * 600_000), ("b.wav", b"\0" * 600_000)]
    archive = make(tmp_path / "bomb", members)
    assert archive.stat().st_size < 10_000, "compresses well, as bombs do"
    with pytest.raises(DownloadError, match=f"unpacks to more than {MEGABYTE} bytes"):
        extract(archive, tmp_path / "out", MEGABYTE)
    assert not (tmp_path / "out").exists()


def test_header_that_lies_about_the_size(tmp_path):
    archive = make_zip(tmp_path / "a.zip", [("a.wav", b"\0" * 500_000)])
    data = archive.read_bytes()
    size = (500_000).to_bytes(4, "little")
    archive.write_bytes(data.replace(size, (10).to_bytes(4, "little")))
    with pytest.raises(DownloadError, match=r"damaged|larger than announced"):
        extract(archive, tmp_path / "out", 100)
    assert not (tmp_path / "out").exists()


def test_the_same_name_twice(tmp_path):
    archive = make_tar(tmp_path / "a.tar", [("a.wav", b"one"), ("a.wav", b"two")])
    with pytest.raises(DownloadError, match=r"holds 'a\.wav' twice"):
        extract(archive, tmp_path / "out", MEGABYTE)


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_damaged_archives_leave_nothing(tmp_path, make):
    archive = make(tmp_path / "a", [("a.wav", b"one"), ("b.wav", bytes(range(256)) * 1000)])
    data = bytearray(archive.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 20] = b"!" * 20
    archive.write_bytes(data)
    with pytest.raises(DownloadError, match="damaged or unreadable archive"):
        extract(archive, tmp_path / "out", MEGABYTE)
    archive.write_bytes(data[: middle + 20])
    with pytest.raises(DownloadError, match=r"damaged or unreadable|a zip archive that is cut off"):
        extract(archive, tmp_path / "out", MEGABYTE)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_is_no_archive(tmp_path):
    (tmp_path / "page.zip").write_text("<html>Please log in</html>")
    with pytest.raises(DownloadError, match=r"page\.zip: neither a zip nor a tar archive"):
        extract(tmp_path / "page.zip", tmp_path / "out", MEGABYTE)


def test_encrypted_zip(tmp_path):
    archive = make_zip(tmp_path / "a.zip", [("a.wav", b"one")])
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(data)
    with pytest.raises(DownloadError, match=r"'a\.wav' is encrypted"):
        extract(archive, tmp_path / "out", MEGABYTE)


def test_failure_keeps_what_was_there(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.wav").write_bytes(b"old")
    archive = make_zip(tmp_path / "a.zip", [("../evil", b"")])
    with pytest.raises(DownloadError):
        extract(archive, tmp_path / "out", MEGABYTE)
    assert contents(tmp_path / "out") == {"old.wav": b"old"}
