"""Write files and folders whole or not at all, so that nobody reads half of one.

Everything is written under a temporary name beside its destination, stored on the disk, and renamed
when it is complete. So a process that is killed at any moment, and a machine that loses power,
leave either the old content or the new, or none where there was none.

What a killed process leaves, `.NAME.PID.partial`, `.NAME.partial` or `.NAME.previous`, is removed
by the next one that writes NAME. `.dvcignore` names these patterns: DVC never records them.

Whatever made a file, who may read the folder may read it: some libraries keep theirs to the owner.
"""

import errno
import json
import math
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from serct.runtime.disk import disk_errors

# File systems store many files together much faster than one after the other.
_NUM_SYNCS = 16
_READ_AND_WRITE = 0o666


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write; rename it to ``path`` on success, remove it on error.

    Raises:
        DiskError: If the disk is full, read-only or failing.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        # A folder, since some libraries write first beside the file that they are given.
        scratch = path.with_name(f".{path.name}.{os.getpid()}.partial")
        _remove(scratch)
        scratch.mkdir()
        partial = scratch / path.name
        try:
            yield partial
            _finish(partial, scratch)
            partial.replace(path)
            _sync(path.parent)
        finally:
            _remove(scratch)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder to fill; on success it replaces ``path``, on error it is removed.

    Raises:
        DiskError: If the disk is full, read-only or failing.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # One name for all processes: what a killed one left is cleared by the next.
        partial, previous = (
            path.with_name(f".{path.name}.{end}") for end in ("partial", "previous")
        )
        _remove(partial)
        _restore(path, previous)
        partial.mkdir()
        try:
            yield partial
            _finish_tree(partial)
            # No call replaces a folder that has content: two renames, and what is between them is
            # put right by the next process.
            if _is_there(path):
                path.rename(previous)
            partial.rename(path)
            _sync(path.parent)
        finally:
            _remove(partial)
            _restore(path, previous)


def _restore(path: Path, previous: Path) -> None:
    """Give a folder its old content back if it has none, else remove the old content."""
    if not _is_there(previous):
        return
    if _is_there(path):
        _remove(previous)
    else:
        previous.rename(path)


def _remove_leftovers(path: Path) -> None:
    """Remove what processes that are no longer there left of a file."""
    prefix, suffix = f".{path.name}.", ".partial"
    for leftover in os.listdir(path.parent):  # noqa: PTH208  quicker in large folders
        pid = leftover.removeprefix(prefix).removesuffix(suffix)
        is_one = leftover == f"{prefix}{pid}{suffix}" and pid.isdecimal()
        if is_one and not _is_alive(int(pid)):
            _remove(path.with_name(leftover))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True  # another user's
    return True


def _is_there(path: Path) -> bool:
    return os.path.lexists(path)


def _remove(path: Path) -> None:
    """Remove a file, link or folder if that is possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _finish_tree(folder: Path) -> None:
    """Finish a folder's files, then store the folders, which name them, on the disk."""
    folders, files = [], []
    for parent, _, names in os.walk(folder):
        folders.append(Path(parent))
        paths = (Path(parent, name) for name in names)
        files += [path for path in paths if not path.is_symlink()]
    with ThreadPoolExecutor(_NUM_SYNCS) as pool:
        list(pool.map(lambda path: _finish(path, folder), files))
        list(pool.map(_sync, folders))


def _finish(path: Path, like: Path) -> None:
    """Give a file the rights of a folder that was made as usual, and store it on the disk."""
    mode = path.stat().st_mode
    wanted = mode | (like.stat().st_mode & _READ_AND_WRITE)
    if wanted != mode:
        path.chmod(wanted)
    _sync(path)


def _sync(path: Path) -> None:
    """Store a file or folder on the disk: a full network disk says so only here."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems cannot store a folder by itself.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with Unix line ends, whole or not at all."""
    with replacing_file(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, content: Any) -> None:
    """Write JSON, whole or not at all; numbers that are not finite become null."""
    write_text(path, json.dumps(_finite(content), indent=2, allow_nan=False) + "\n")


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content
