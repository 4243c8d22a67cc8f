"""Devices, precision and seeds of a computation; torch is imported only when it is needed."""

import os
import platform
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from serct.errors import TrainingError

if TYPE_CHECKING:
    import torch

# In /dev: NVIDIA's, also on its small boards, either's within Windows, and AMD's.
_GPU_DRIVERS = ("nvidia*", "nvhost*", "dxg", "kfd")


def seed_everything(seed: int, deterministic: bool) -> None:
    """Seed Python, NumPy and torch; with ``deterministic`` allow only kernels that repeat."""
    import torch

    seed_numpy(seed)
    torch.manual_seed(seed)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(deterministic)


def seed_numpy(seed: int) -> None:
    """Seed Python and NumPy, all that models of scikit-learn draw from."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  scikit-learn draws from the legacy generator


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


def check_device(wanted: "torch.device | str") -> None:
    """Check that `pick_device` would not fail; for "auto" and "cpu" without importing torch.

    Raises:
        TrainingError: If this machine has no such device.
    """
    if isinstance(wanted, str) and wanted not in {"auto", "cpu"}:
        pick_device(wanted)


def may_have_gpu() -> bool:
    """Check in a millisecond, without torch, whether this machine may have a GPU that it uses."""
    if platform.system() == "Darwin":
        return platform.machine() == "arm64"
    return any(next(Path("/dev").glob(pattern), None) for pattern in _GPU_DRIVERS)


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
