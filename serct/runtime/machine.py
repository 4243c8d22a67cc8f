"""The machine and the process: devices, seeds, logging, progress, what this machine is."""

import ctypes
import logging
import os
import platform
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from serct.errors import TrainingError

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("serct")


def setup_logging() -> None:
    """Send this project's messages to stderr, one line each."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


@contextmanager
def progress(total: int, label: str, unit: str = "it") -> Iterator[Callable[..., None]]:
    """Show on stderr how far a long step is and when it will end.

    On a terminal as a bar; in a log as a line every ten seconds.

    Yields:
        A function to call with the number of units just finished (1 if left out).
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            task = bars.add_task(label, total=total)
            yield lambda count=1: bars.advance(task, count)
    else:
        yield _LineProgress(total, label, unit).advance


class _LineProgress:
    """Progress for logs: a line every `interval_s`, none for what ends sooner."""

    interval_s = 10.0

    def __init__(self, total: int, label: str, unit: str) -> None:
        self.total, self.label, self.unit = total, label, unit
        self.done = 0
        self.started = self.last_line = time.monotonic()

    def advance(self, count: int = 1) -> None:
        self.done += count
        now = time.monotonic()
        if now - self.last_line < self.interval_s or not self.done:
            return
        self.last_line = now
        left_s = (now - self.started) / self.done * max(0, self.total - self.done)
        logger.info(
            "%s: %d of %d %s, about %d s left", self.label, self.done, self.total, self.unit, left_s
        )


def keep_freed_memory() -> None:
    """Let this process keep the memory it frees, for its next tensors.

    glibc returns large blocks to the system at once, which then clears them anew for each tensor
    of each step: on two cores that took a third of the time of a training. Without glibc this
    function does nothing.
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


def seed_everything(seed: int, deterministic: bool) -> None:
    """Seed Python, NumPy and torch; with ``deterministic`` allow only kernels that repeat."""
    import torch

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  scikit-learn draws from the legacy generator
    torch.manual_seed(seed)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(deterministic)


def pick_device(wanted: str) -> "torch.device":
    """Choose the device: for "auto" CUDA, else MPS, else the CPU.

    Raises:
        TrainingError: If this machine has no such device.
    """
    import torch

    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if wanted == "auto":
        wanted = next(name for name, is_there in available.items() if is_there)
    if not available[wanted]:
        there = ", ".join(name for name, is_there in available.items() if is_there)
        raise TrainingError(f"train.device is {wanted!r}, but this machine has only: {there}")
    return torch.device(wanted)


def pick_precision(wanted: str, device: "torch.device") -> "torch.dtype":
    """Choose the arithmetic: for "auto" bfloat16 on CUDA that computes it, else float32.

    "tf32" is float32 whose products `tensor_float32` speeds up.

    Raises:
        TrainingError: If there is no such precision.
    """
    import torch

    known = ("auto", "float32", "tf32", "bfloat16")
    if wanted not in known:
        raise TrainingError(f"precision is {wanted!r}, expected one of: {', '.join(known)}")
    if wanted == "auto":
        is_fast = device.type == "cuda" and computes_bfloat16(device)
        wanted = "bfloat16" if is_fast else "float32"
    return torch.bfloat16 if wanted == "bfloat16" else torch.float32


@contextmanager
def tensor_float32(is_allowed: bool) -> Iterator[None]:
    """Let a GPU round the inputs of float32 products and convolutions to 10 bits, or not."""
    import torch

    # Not `allow_tf32`: reading that is an error in a program that uses these settings.
    cudnn: Any = torch.backends.cudnn
    backends = (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn)
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "tf32" if is_allowed else "ieee"
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


def computes_bfloat16(device: "torch.device") -> bool:
    """Check whether the device computes bfloat16 itself, faster than float32."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return device.type == "cpu" and ("avx512_bf16" in flags or "amx_bf16" in flags)


@dataclass(frozen=True)
class Machine:
    """The hardware of a measurement."""

    cpu: str
    num_cores: int
    gpu: str | None


def machine() -> Machine:
    """Describe this machine."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return Machine(cpu=_cpu_name(), num_cores=os.cpu_count() or 1, gpu=gpu)


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = (line for line in lines if line.startswith("model name"))
        return next(names).split(":", 1)[1].strip()
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


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
