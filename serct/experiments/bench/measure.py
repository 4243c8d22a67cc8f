"""Measurements: interleaved times, peak memory, floating point operations, peaks of the machine."""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from serct.config.params import Params
from serct.experiments.bench.workload import FORMS, Size, Workload


@dataclass(frozen=True)
class Timing:
    """Durations of one function, in seconds."""

    median_s: float
    min_s: float
    max_s: float
    repeats: int


def interleave(
    functions: Mapping[str, Callable[[], object]],
    repeats: int,
    device: torch.device,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Measure functions in turns, so that other load on the machine affects all of them.

    Args:
        functions: By name; each has run before, so that everything is loaded.
        repeats: Rounds, at least 1.
        device: Work on it ends before each reading of the clock.
        clock: Returns seconds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            _wait_for(device)
            started = clock()
            function()
            _wait_for(device)
            seconds[name].append(clock() - started)
    return {
        name: Timing(statistics.median(taken), min(taken), max(taken), repeats)
        for name, taken in seconds.items()
    }


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def count_flops(function: Callable[[], object]) -> int:
    """Count the floating point operations of matrix products and convolutions.

    One multiplication and one addition count as two. Operations on single values, such as GELU,
    are not counted.
    """
    with FlopCounterMode(display=False) as counter:
        function()
    return int(counter.get_total_flops())


def peak_flops(precision: torch.dtype, device: torch.device) -> float:
    """Measure the most floating point operations a second that a matrix product reaches here."""
    # On a CPU a size may be slow by where in memory its matrices happen to lie.
    sizes = (8192,) if device.type == "cuda" else (2048, 2304)
    return max(_flops_of_product(size, precision, device) for size in sizes)


def _flops_of_product(size: int, precision: torch.dtype, device: torch.device) -> float:
    left = torch.randn(size, size, device=device, dtype=precision)
    right = torch.randn(size, size, device=device, dtype=precision)
    timing = interleave({"product": lambda: left @ right}, 12, device)["product"]
    return 2 * size**3 / timing.min_s


def memory_bandwidth(device: torch.device) -> float:
    """Measure the most bytes a second that memory gives and takes here.

    They are those of a tensor too large for any cache that is read and written in place, in equal
    parts.
    """
    values = torch.ones(2**27, device=device)  # 537 MB
    timing = interleave({"change": values.neg_}, 12, device)["change"]
    return 2 * values.nbytes / timing.min_s


def peak_memory(params: Params, name: str, size: Size, form: str, device: torch.device) -> int:
    """Measure the memory that one step of training needs beyond the model and its optimizer.

    On CUDA that is the peak of PyTorch's allocator. Elsewhere it is the growth of the largest
    resident set of a fresh process, which includes all libraries.

    Returns:
        Bytes.
    """
    if device.type == "cuda":
        return _cuda_growth(params, name, size, form, device)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return int(pool.apply(_resident_growth, (params, name, size, form)))


def _cuda_growth(params: Params, name: str, size: Size, form: str, device: torch.device) -> int:
    workload = Workload(params, name, size, device)
    step = workload.step(form, torch.float32)
    step()
    workload.optimizer.zero_grad(set_to_none=True)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    step()
    return torch.cuda.max_memory_allocated(device) - before


def _resident_growth(params: Params, name: str, size: Size, form: str) -> int:
    import psutil

    workload = Workload(params, name, size, torch.device("cpu"))
    # The optimizer's state is there before and after each step but the first.
    for weight in workload.ours.parameters():
        weight.grad = torch.zeros_like(weight)
    workload.optimizer.step()
    workload.optimizer.zero_grad(set_to_none=True)
    before = psutil.Process().memory_info().rss
    workload.step(form, torch.float32)()
    return _peak_resident() - before


def _peak_resident() -> int:
    """Read the largest resident set of this process, in bytes.

    Not `ru_maxrss` on Linux: there a new process begins with the value of its parent.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    except (OSError, IndexError):
        import resource

        # In bytes on macOS, which alone is left.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@dataclass(frozen=True)
class Difference:
    """The relative difference of two computations of the same.

    Attributes:
        logits: Largest difference over the largest logit.
        gradients: Norm of the difference of all gradients over their norm.
        worst_gradient: The same of the weight where it is largest.
    """

    logits: float
    gradients: float
    worst_gradient: float


Gradients: TypeAlias = tuple[Tensor, Mapping[str, Tensor]]


def difference(found: Gradients, expected: Gradients) -> Difference:
    """Compare logits and gradients, as `Workload.gradients` returns them."""
    (logits, gradients), (expected_logits, expected_gradients) = found, expected
    names = list(expected_gradients)
    errors = torch.stack([(gradients[name] - expected_gradients[name]).norm() for name in names])
    norms = torch.stack([expected_gradients[name].norm() for name in names])
    return Difference(
        logits=float((logits - expected_logits).abs().max() / expected_logits.abs().max()),
        gradients=float(errors.norm() / norms.norm()),
        worst_gradient=float((errors / norms).max()),
    )


@dataclass(frozen=True)
class Rounding:
    """What a faster precision changes: differences to the direct formulation in float32.

    It is reported and has no limit, which would not tell a mistake from rounding: windows that
    were placed in bfloat16 by mistake moved the gradients of small models no further than the
    precision itself. What ours may cost is what the direct formulation costs in the same precision.
    """

    ours: Difference
    direct: Difference


def rounding(workload: Workload, precision: torch.dtype, expected: Gradients) -> Rounding:
    """Compare both formulations in a precision with the direct one in float32."""
    ours, direct = (difference(workload.gradients(form, precision), expected) for form in FORMS)
    return Rounding(ours, direct)
