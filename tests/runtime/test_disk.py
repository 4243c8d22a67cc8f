"""One sentence for each error of a disk, however it is wrapped."""

import errno
import os
import re
import resource
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy

from serct.errors import CorpusError, DiskError
from serct.runtime.disk import check_space, check_writable, disk_errors, disk_problem

NO_SPACE = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (errno.EDQUOT, "the disk quota is used up: cannot write a/b.csv"),
        (errno.EROFS, "cannot write a/b.csv: the file system is read-only"),
        (errno.EACCES, "cannot write a/b.csv: permission denied"),
        (errno.EPERM, "cannot write a/b.csv: operation not permitted"),
        (errno.EFBIG, "cannot write a/b.csv: larger than a file may be here, see `ulimit -f`"),
        (errno.EMFILE, "cannot write a/b.csv: too many open files, see `ulimit -n`"),
        (errno.EIO, "cannot write a/b.csv: the disk reports an error"),
        (errno.ENOTDIR, "cannot write a/b.csv: a part of this path is a file, not a folder"),
    ],
)
def test_each_errno_has_its_sentence(code: int, sentence: str) -> None:
    assert disk_problem(OSError(code, os.strerror(code)), Path("a/b.csv")) == sentence


def test_a_full_disk_says_how_much_is_free(tmp_path: Path) -> None:
    path = tmp_path / "not" / "there" / "a.csv"
    expected = rf"the disk is full: cannot write {path} \(\d+ MB are free\)"
    assert re.fullmatch(expected, disk_problem(NO_SPACE, path) or "")


@pytest.mark.parametrize(
    "error", [ValueError("no"), OSError("no errno"), FileNotFoundError(errno.ENOENT, "no", "a")]
)
def test_other_errors_are_not_explained(error: Exception) -> None:
    assert disk_problem(error, Path("a")) is None
    with pytest.raises(type(error)), disk_errors(Path("a")):
        raise error


@pytest.mark.parametrize(
    ("named", "text"),
    [
        ("out/.a.7.partial", "cannot write out/a: permission denied"),
        ("out/.a.partial/deep/x.csv", "cannot write out/a: permission denied"),
        ("out", "cannot write out/a: permission denied"),
        ("raw/1.wav", "cannot read or write raw/1.wav: permission denied"),
        ("out/b", "cannot read or write out/b: permission denied"),
    ],
)
def test_the_sentence_names_the_output_or_the_input_that_is_at_fault(named: str, text: str) -> None:
    with pytest.raises(DiskError) as caught, disk_errors(Path("out/a")):
        raise PermissionError(errno.EACCES, "Permission denied", named)
    assert str(caught.value) == text


def test_an_error_with_its_own_message_keeps_it() -> None:
    with pytest.raises(CorpusError, match="no emotion"), disk_errors(Path("a")):
        raise CorpusError("no emotion") from NO_SPACE


def test_a_need_is_compared_with_what_is_free(tmp_path: Path) -> None:
    check_space(tmp_path / "a", 1)
    with pytest.raises(DiskError) as caught:
        check_space(tmp_path / "a", 10**18)
    assert str(caught.value).startswith(
        f"the disk is full: cannot write {tmp_path / 'a'} (needs about 1000000000000 MB, "
    )


def test_a_folder_is_tried_with_a_small_file(tmp_path: Path) -> None:
    check_writable(tmp_path)
    shown = under_a_limit(
        "import pathlib; from serct.runtime.disk import check_writable\n"
        "try: check_writable(pathlib.Path('.').absolute())\n"
        "except Exception as error: print(error)",
        tmp_path,
    )
    assert shown == f"cannot write {tmp_path}: larger than a file may be here, see `ulimit -f`\n"
    assert list(tmp_path.iterdir()) == []


def under_a_limit(code: str, cwd: Path) -> str:
    """Run Python where no file may have more than 1000 bytes, and return what it prints."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        text=True,
        timeout=60,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
    ).stdout


def test_libraries_that_wrap_the_error(tmp_path: Path) -> None:
    shown = under_a_limit(
        "import numpy, shutil, pathlib, sqlalchemy\n"
        "from safetensors.numpy import save_file\n"
        "from serct.runtime.disk import disk_problem\n"
        "def show(work):\n"
        "    try: work()\n"
        "    except Exception as error: print(disk_problem(error, pathlib.Path('a')))\n"
        "show(lambda: save_file({'x': numpy.zeros(999)}, 'x.safetensors'))\n"
        "show(lambda: shutil.copytree(pathlib.Path(shutil.__file__).parent / 'json', 'json'))\n"
        "engine = sqlalchemy.create_engine('sqlite:///x.db')\n"
        "show(lambda: engine.connect().execute(sqlalchemy.text('create table t(x)')))\n",
        tmp_path,
    )
    too_large = "cannot write a: larger than a file may be here, see `ulimit -f`"
    assert shown.splitlines() == [
        too_large, too_large, "cannot write a: the disk reports an error",
    ]  # fmt: skip


def test_a_database_that_is_read_only_damaged_or_full(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as made:
        made.execute("create table t(x)")
    made.close()
    found = []
    for setting, change in (
        ("pragma query_only = 1", "insert into t values (1)"),
        ("pragma max_page_count = 2", f"insert into t values ('{'x' * 9999}')"),
    ):
        database = sqlite3.connect(path)
        database.execute(setting)
        with pytest.raises(sqlite3.Error) as caught:
            database.execute(change)
        database.close()
        found.append(disk_problem(caught.value, path) or "")
    path.write_bytes(b"no database" * 99)
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    with pytest.raises(sqlalchemy.exc.DatabaseError) as wrapped, engine.connect() as connection:
        connection.execute(sqlalchemy.text("select 1 from t"))
    engine.dispose()
    found.append(disk_problem(wrapped.value, path) or "")
    assert [re.sub(r"\d+ MB", "N MB", each) for each in found] == [
        f"cannot write {path}: the database is read-only",
        f"the disk is full: cannot write {path} (N MB are free)",
        f"cannot write {path}: not a database, or a damaged one",
    ]
