"""Runs a stage or a command as a process of its own, with a fault that strikes in it.

The processes are forked from one that has imported the large libraries already, so that a hundred
of them take a minute.
"""

import ctypes
import multiprocessing
import os
import resource
import runpy
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

_PRELOADED = [
    "torch", "mlflow", "mlflow.store.tracking.sqlalchemy_store", "serct.training.experiment",
    "serct.reports.report", "serct.evaluation.probes", "serct.data.preprocessing",
]  # fmt: skip
_CLONE_NEWNS, _MS_REC, _MS_PRIVATE, _MS_BIND, _MS_REMOUNT, _MS_RDONLY = (
    0x20000, 1 << 14, 1 << 18, 1 << 12, 1 << 5, 1,
)  # fmt: skip
CANNOT_MOUNT = 77


@dataclass(frozen=True)
class Outcome:
    """How a process ended: its exit code, negative for a signal, and all that it printed."""

    code: int
    text: str


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def run_program(
    workspace: Path, command: str, fault: Callable[[Path], None] | None = None
) -> Outcome:
    """Run `MODULE argument ...` in a workspace; the fault is called in the process first."""
    context = _context()
    # A pipe, which no full disk concerns.
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(workspace, command, fault, writer))
    process.start()
    writer.close()
    with os.fdopen(os.dup(reader.fileno()), "rb") as file:
        text = file.read().decode()
    reader.close()
    process.join()
    assert process.exitcode is not None
    return Outcome(process.exitcode, text)


def _run(
    workspace: Path, command: str, fault: Callable[[Path], None] | None, writer: Connection
) -> None:
    for standard in (1, 2):
        os.dup2(writer.fileno(), standard)
    writer.close()
    os.chdir(workspace)
    module, *arguments = command.split()
    sys.argv = [module, *arguments]
    if fault is not None:
        fault(workspace)
    runpy.run_module(module, run_name="__main__")


def on_changes(workspace: Path, act: Callable[[int], None]) -> None:
    """Call a function before each change of a file or folder below data/, with its number."""
    data = str(workspace / "data")
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event == "open":
            is_change = isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        else:
            is_change = event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir")
        name = arguments[0] if is_change else None
        if isinstance(name, str | os.PathLike) and str(Path(name).absolute()).startswith(data):
            count += 1
            act(count)

    sys.addaudithook(hook)


@dataclass(frozen=True)
class CountChanges:
    """No fault: writes the number of changes to `changes.txt`."""

    def __call__(self, workspace: Path) -> None:
        file = os.open(workspace / "changes.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        on_changes(workspace, lambda count: os.pwrite(file, b"%6d" % count, 0) and None)


@dataclass(frozen=True)
class KillBefore:
    """SIGKILL before the change of this number."""

    number: int

    def __call__(self, workspace: Path) -> None:
        def act(count: int) -> None:
            if count == self.number:
                os.kill(os.getpid(), signal.SIGKILL)

        on_changes(workspace, act)


@dataclass(frozen=True)
class LimitFiles:
    """No file may grow beyond this many bytes: what a full disk does, on every machine."""

    num_bytes: int

    def __call__(self, workspace: Path) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.num_bytes, resource.RLIM_INFINITY))


@dataclass(frozen=True)
class Deny:
    """A folder without permission to write; root gives up its right to write everywhere."""

    folder: str

    def __call__(self, workspace: Path) -> None:
        (workspace / self.folder).chmod(0o555)
        if os.geteuid() == 0:
            libc = ctypes.CDLL(None, use_errno=True)
            header = (ctypes.c_uint32 * 2)(0x20080522, 0)
            sets = (ctypes.c_uint32 * 6)()
            libc.capget(header, sets)
            for index in (0, 1):  # effective and permitted, without DAC_OVERRIDE
                sets[index] &= ~(1 << 1)
            assert libc.capset(header, sets) == 0


@dataclass(frozen=True)
class Mount:
    """A folder that is read-only ("sealed") or on a file system of its own, for this process.

    Attributes:
        kind: "full", "read-only" or "sealed"; the first two begin empty.
    """

    folder: str
    kind: str

    def __call__(self, workspace: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        target = str(workspace / self.folder).encode()
        if libc.unshare(_CLONE_NEWNS) or libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None):
            os._exit(CANNOT_MOUNT)
        if self.kind == "sealed":
            failed = libc.mount(target, target, None, _MS_BIND, None)
        else:
            failed = libc.mount(b"tmpfs", target, b"tmpfs", 0, b"size=1m")
        if self.kind == "full":
            file = os.open(workspace / self.folder / "filler", os.O_WRONLY | os.O_CREAT)
            with suppress(OSError):
                while os.write(file, bytes(4096)):
                    pass
        else:
            bind = _MS_BIND if self.kind == "sealed" else 0
            failed |= libc.mount(None, target, None, _MS_REMOUNT | _MS_RDONLY | bind, None)
        if failed:
            os._exit(CANNOT_MOUNT)
        os.chdir(workspace)  # below the new mount
