"""This machine: its hardware, threads and memory, and the commit of the code on it."""

import ctypes
import getpass
import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

from serct.runtime.devices import may_have_gpu

_num_workers = 1


@dataclass(frozen=True)
class Machine:
    """The hardware of a measurement."""

    cpu: str
    num_cores: int
    gpu: str | None


def machine() -> Machine:
    """Describe this machine."""
    return Machine(cpu=_cpu_name(), num_cores=os.cpu_count() or 1, gpu=_gpu_name())


def _gpu_name() -> str | None:
    if not may_have_gpu():
        return None  # without importing torch, which takes over a second
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = (line for line in lines if line.startswith("model name"))
        return next(names).split(":", 1)[1].strip()
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def user_name() -> str:
    """Return the name of the user of this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        return f"user {os.getuid()}"


def git_commit() -> str | None:
    """Return the commit of this code, followed by "+changes" if the checkout differs from it."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def keep_freed_memory() -> None:
    """Let this process keep the memory it frees, for its next tensors.

    glibc returns large blocks to the system at once, which then clears them anew for each tensor
    of each step: on two cores that took a third of the time of a training, and a fifteenth of that
    of a busy service. Without glibc this function does nothing.
    """
    m_trim_threshold, m_mmap_max = -1, -4
    try:
        library = ctypes.CDLL("libc.so.6")
    except OSError:
        return
    library.mallopt(m_mmap_max, 0)  # no block is requested from the system one by one
    library.mallopt(m_trim_threshold, -1)  # and none is returned


def num_threads() -> int:
    """Return how many threads this process may use: OMP_NUM_THREADS if set, else one a core.

    Ray and `serct repro --jobs` set it to a process' share of the machine.
    """
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


def share_threads(num_workers: int) -> None:
    """Let each of several threads of this process compute with its share of `num_threads`.

    From now on: a thread that computed with torch before keeps what it had.
    """
    import torch
    from threadpoolctl import threadpool_limits

    global _num_workers
    _num_workers = num_workers
    torch.set_num_threads(threads_each())
    threadpool_limits(threads_each(), user_api="blas")


def threads_each() -> int:
    """Return with how many threads one computation should run, see `share_threads`."""
    return max(1, num_threads() // _num_workers)
