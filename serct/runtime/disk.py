"""Full, read-only and failing disks: one sentence for the user, from every program.

The same errno arrives in many wrappings: from the system, sqlite, SQLAlchemy, MLflow, safetensors,
Ray. Each is unwrapped here and nowhere else.
"""

import errno
import math
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serct.errors import DiskError, SerctError

_MB = 10**6
_PROBE_BYTES = 1 << 16
# By errno. {does} is "write" if that is known; {path} is what was written.
_SENTENCES = {
    errno.ENOSPC: "the disk is full: cannot write {path}",
    errno.EDQUOT: "the disk quota is used up: cannot write {path}",
    errno.EROFS: "cannot write {path}: the file system is read-only",
    errno.EFBIG: "cannot write {path}: larger than a file may be here, see `ulimit -f`",
    errno.EACCES: "cannot {does} {path}: permission denied",
    errno.EPERM: "cannot {does} {path}: operation not permitted",
    errno.EIO: "cannot {does} {path}: the disk reports an error",
    errno.EMFILE: "cannot {does} {path}: too many open files, see `ulimit -n`",
    errno.ENFILE: "cannot {does} {path}: too many open files on this machine",
    errno.ENAMETOOLONG: "cannot {does} {path}: the name is too long",
    errno.ENOTDIR: "cannot {does} {path}: a part of this path is a file, not a folder",
    errno.EISDIR: "cannot {does} {path}: it is a folder",
    errno.EEXIST: "cannot write {path}: something else is there already",
    errno.ESTALE: "cannot {does} {path}: the network file system lost it",
}
# The same for the primary result codes of sqlite.
_SQLITE_SENTENCES = {
    8: "cannot write {path}: the database is read-only",  # SQLITE_READONLY
    10: _SENTENCES[errno.EIO],  # SQLITE_IOERR
    11: "cannot {does} {path}: the database is damaged",  # SQLITE_CORRUPT
    13: _SENTENCES[errno.ENOSPC],  # SQLITE_FULL
    14: "cannot open {path}: the database or its folder is not accessible",  # SQLITE_CANTOPEN
    26: "cannot {does} {path}: not a database, or a damaged one",  # SQLITE_NOTADB
}
# safetensors and `shutil.copytree` only put the error of the system into their text.
_ERRNO_IN_TEXT = re.compile(r"\(os error (\d+)\)|\[Errno (\d+)\]")


def disk_problem(error: BaseException, path: Path | None = None) -> str | None:
    """Return the sentence for an error of the disk, None if it is of another kind.

    Args:
        error: Any error; what it was raised from is looked at too.
        path: What was being written, if that is known. An error about a path that lies elsewhere,
            such as an input without permission, names that one.

    Example:
        >>> disk_problem(OSError(errno.EROFS, "Read-only file system", "a.csv"))
        'cannot write a.csv: the file system is read-only'
        >>> disk_problem(PermissionError(errno.EACCES, "", "raw/1.wav"), Path("shards"))
        'cannot read or write raw/1.wav: permission denied'
    """
    for each in _causes(error):
        sentence = _sentence(each)
        if sentence is None:
            continue
        named = _path_of(each)
        is_written = path is not None and (named is None or _belongs_to(named, path))
        where = path if is_written else named
        does = "write" if is_written else "read or write"
        text = sentence.format(path=where or "a file", does=does)
        is_full = sentence == _SENTENCES[errno.ENOSPC]
        return f"{text} ({_free(where)})" if is_full and where else text
    return None


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an error of the disk in the block into one that says what was being written.

    Raises:
        DiskError: If the disk is full, read-only or failing.
    """
    try:
        yield
    except SerctError:
        raise
    except Exception as error:
        if problem := disk_problem(error, path):
            raise DiskError(problem) from error
        raise


def check_space(path: Path, num_bytes: int) -> None:
    """Check that the disk has room, before work that would fill it.

    Args:
        path: What will be written; need not exist.
        num_bytes: About how large it will be.

    Raises:
        DiskError: If less is free.
    """
    if num_bytes > _free_bytes(path):
        raise DiskError(
            f"the disk is full: cannot write {path} "
            f"(needs about {math.ceil(num_bytes / _MB)} MB, {_free(path)})"
        )


def check_writable(folder: Path) -> None:
    """Check that a folder takes a small file, after another program failed for an unclear reason.

    Raises:
        DiskError: If the disk is full, read-only or failing.
    """
    with (
        disk_errors(folder),
        tempfile.NamedTemporaryFile(dir=folder, prefix=".", suffix=".partial") as file,
    ):
        file.write(bytes(_PROBE_BYTES))
        file.flush()


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the program with exit code 1 and one line for an error that the user can mend."""
    try:
        try:
            yield
        finally:
            _flush_output()
    except SerctError as error:
        sys.exit(f"error: {error}")
    except Exception as error:
        problem = disk_problem(error)
        if problem is None:
            raise
        _drop_output()
        sys.exit(f"error: {problem}")


def _flush_output() -> None:
    # Else the interpreter would write the rest, and fail, after this program's last line.
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # As in `serct models | head -1`: whoever read the output has seen enough.
        _drop_output()
        sys.exit(1)


def _drop_output() -> None:
    """Send to nowhere what is still to be printed."""
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that it was raised from or wraps, each once."""
    todo: list[object] = [error]
    seen: set[int] = set()
    while todo:
        each = todo.pop(0)
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            yield each
            # `orig` is SQLAlchemy's name for it, `cause` Ray's.
            todo += [each.__cause__, getattr(each, "orig", None), getattr(each, "cause", None)]


def _sentence(error: BaseException) -> str | None:
    if isinstance(error, OSError) and error.errno is not None:
        return _SENTENCES.get(error.errno)
    # The class is not imported: most programs never need sqlite.
    if isinstance(code := getattr(error, "sqlite_errorcode", None), int):
        return _SQLITE_SENTENCES.get(code & 0xFF)
    is_text = isinstance(error, shutil.Error) or type(error).__name__ == "SafetensorError"
    if is_text and (found := _ERRNO_IN_TEXT.search(str(error))):
        return _SENTENCES.get(int(found[1] or found[2]))
    return None


def _path_of(error: BaseException) -> Path | None:
    """Return the destination that an error names, else the path that it names, else None."""
    name = getattr(error, "filename2", None) or getattr(error, "filename", None)
    return Path(os.fsdecode(name)) if isinstance(name, str | bytes | os.PathLike) else None


def _belongs_to(named: Path, path: Path) -> bool:
    """Return whether a path is another one, its temporary form, in it, or a folder above it."""
    if path.is_relative_to(named):
        return True
    return named.is_relative_to(path.parent) and (
        path.name in named.relative_to(path.parent).parts[0]
    )


def _free(path: Path) -> str:
    return f"{_free_bytes(path) // _MB} MB are free"


def _free_bytes(path: Path) -> int:
    """Return the free space of the disk that a path is, or would be, on."""
    path = path.absolute()
    return shutil.disk_usage(next(each for each in (path, *path.parents) if each.exists())).free
