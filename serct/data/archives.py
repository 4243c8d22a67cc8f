"""Unpack zip and tar archives safely: only plain files, only inside the folder, up to a size."""

import gzip
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from lzma import LZMAError
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, NamedTuple

from serct.errors import DownloadError
from serct.runtime import atomic

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
_CHUNK_BYTES = 1 << 20
# Copies of metadata in every zip that was packed on a Mac.
_IGNORED_FOLDER = "__MACOSX"


class _Member(NamedTuple):
    """A plain file in an archive: its name, announced size, and how to read it."""

    name: str
    num_bytes: int
    open: Callable[[], AbstractContextManager[IO[bytes]]]


def extract(
    archive: Path,
    destination: Path,
    max_bytes: int,
    wanted: Callable[[PurePosixPath], bool] = lambda path: True,
) -> None:
    """Unpack an archive into a folder, whole or not at all.

    Permissions and owners are not restored. The limit holds for the sizes in the headers and, as
    headers can be wrong, again for the bytes that are written.

    Args:
        archive: A zip or tar file, also compressed; recognised by its content.
        destination: Is replaced.
        max_bytes: Limit of the wanted members' sizes together.
        wanted: Which members to unpack. Unsafe members are refused, wanted or not.

    Raises:
        DownloadError: If the archive is of another kind, damaged or encrypted, holds links,
            devices, or names that lead outside, or exceeds ``max_bytes``.
    """
    with atomic.replacing_folder(destination) as folder:
        num_written = num_announced = 0
        seen: set[PurePosixPath] = set()
        try:
            for member in _members(archive):
                path = _safe_path(archive, member.name)
                if path.parts[0] == _IGNORED_FOLDER or not wanted(path):
                    continue
                if path in seen:
                    raise DownloadError(f"{archive}: holds {member.name!r} twice")
                seen.add(path)
                num_announced += member.num_bytes
                if num_announced > max_bytes:
                    raise DownloadError(f"{archive}: unpacks to more than {max_bytes} bytes")
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                num_written += _copy(archive, member, target, max_bytes - num_written)
        except (
            zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, LZMAError,
            EOFError, NotImplementedError,
        ) as error:  # fmt: skip
            raise DownloadError(f"{archive}: damaged or unreadable archive ({error})") from error


def _copy(archive: Path, member: _Member, target: Path, max_bytes: int) -> int:
    num_written = 0
    with member.open() as source, target.open("wb") as file:
        while chunk := source.read(_CHUNK_BYTES):
            num_written += len(chunk)
            if num_written > max_bytes:
                raise DownloadError(f"{archive}: {member.name!r} is larger than announced")
            file.write(chunk)
    return num_written


def _safe_path(archive: Path, name: str) -> PurePosixPath:
    """Return a member's path after checking that it stays inside the folder on every system."""
    windows, path = PureWindowsPath(name), PurePosixPath(name)
    if windows.drive or windows.root or path.is_absolute() or ".." in windows.parts:
        raise DownloadError(f"{archive}: unsafe name {name!r}, it leads outside the folder")
    if "\\" in name or "\0" in name or not path.parts:
        raise DownloadError(f"{archive}: unsafe name {name!r}")
    return path


def _members(archive: Path) -> Iterator[_Member]:
    if zipfile.is_zipfile(archive):
        yield from _zip_members(archive)
    elif tarfile.is_tarfile(archive):
        yield from _tar_members(archive)
    else:
        with archive.open("rb") as file:
            is_begun = file.read(4) == b"PK\3\4"
        # The list of a zip's members is at its end.
        found = "a zip archive that is cut off" if is_begun else "neither a zip nor a tar archive"
        raise DownloadError(f"{archive}: {found}")


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DownloadError(f"{archive}: {info.filename!r} is a link or device, not a file")
            if info.flag_bits & 1:
                raise DownloadError(f"{archive}: {info.filename!r} is encrypted")
            # The class reads a NUL as the end of a name; the name as stored must be safe too.
            _safe_path(archive, info.orig_filename)
            if not info.is_dir():
                yield _Member(info.filename, info.file_size, partial(file.open, info))


def _tar_members(archive: Path) -> Iterator[_Member]:
    with tarfile.open(archive) as file:
        for info in file:
            if info.isdir():
                continue
            if not info.isreg():
                raise DownloadError(f"{archive}: {info.name!r} is a link or device, not a file")
            yield _Member(info.name, info.size, partial(_open_tar_member, file, info))
        # The checksum of a compressed tar is at its very end, after what tarfile reads.
        while file.fileobj and file.fileobj.read(_CHUNK_BYTES):
            pass


def _open_tar_member(file: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    content = file.extractfile(info)
    if content is None:
        raise tarfile.ReadError(f"{info.name!r} has no content")
    return content
