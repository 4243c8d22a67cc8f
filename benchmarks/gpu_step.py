"""Times the training step and the forward pass of full-size `serct`, run in several ways.

    python benchmarks/gpu_step.py --out build/gpu_step.json

Each way gets the same weights and the same batch, takes turns with the eager one, and is compared
with eager float32 before it has learned anything. What fails is written down as text and stops
nothing. On a CPU the model takes the path that it takes on a GPU, one slice of everything, and
operations are counted instead of kernels; memory is not measured.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from gpu_ways import VARIANTS, WARM_UP, Eager
from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile

from serct.config.params import Params
from serct.config.reader import read_params
from serct.experiments.bench.measure import difference, interleave
from serct.runtime import devices, machine
from serct.runtime.atomic import write_json

ROOT = Path(__file__).resolve().parent.parent
# Functions that choose the path of a CPU.
CPU_PATHS = (
    "serct.models.serct.takes_groups", "serct.models.layers.window_attention.takes_slices"
)  # fmt: skip


class Comparison:
    """Measures variants beside the eager one, part by part."""

    def __init__(self, params: Params, device: torch.device, precision: str, repeats: int) -> None:
        self.params, self.device, self.repeats = params, device, repeats
        self.precision = precision
        self.eager = Eager(params, device, precision)
        self.eager.step()  # its optimizer has its state before memory is measured
        with devices.tensor_float32(is_allowed=False):
            self.expected = Eager(params, device, "float32").gradients()

    def parts(self, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each part of a variant's result, or its error, as soon as it is there."""
        make = partial(VARIANTS[name], self.params, self.device)
        before = self._reserved_and_allocated()
        try:
            own = make(self.precision)
        except Exception as error:
            yield "build", {"error": as_text(error)}
            return
        jobs: dict[str, Callable[[], dict[str, Any]]] = {
            "step": lambda: self._time(self.eager.step, own.step) | self._memory(own, before),
            "forward": lambda: self._time(self.eager.forward, own.forward),
            "launched by a step": lambda: self._count(own.step),
            "launched by a forward pass": lambda: self._count(own.forward),
        }
        for precision in dict.fromkeys((self.precision, "float32")):
            jobs[f"forward in {precision}"] = partial(self._forward_difference, make, precision)
            jobs[f"backward in {precision}"] = partial(self._difference, make, precision)
        for part, job in jobs.items():
            try:
                result = job()
            except Exception as error:
                result = {"error": as_text(error)}
            yield part, result

    def _time(self, eager: Callable[[], object], own: Callable[[], object]) -> dict[str, Any]:
        """Measure both in turns; the variant's first call compiles or captures."""
        started = time.perf_counter()
        own()
        self._wait()
        first_s = time.perf_counter() - started
        for function in (eager, own):
            for _ in range(WARM_UP):
                function()
        timings = interleave({"eager": eager, "own": own}, self.repeats, self.device)
        return {name: asdict(timing) for name, timing in timings.items()} | {"first_s": first_s}

    def _forward_difference(self, make: Callable[[str], Eager], precision: str) -> dict[str, Any]:
        """Compare logits alone, for what has no gradient."""
        with exactly(precision):
            logits = make(precision).forward().float()
        expected, _ = self.expected
        return {"logits": float((logits - expected).abs().max() / expected.abs().max())}

    def _difference(self, make: Callable[[str], Eager], precision: str) -> dict[str, Any]:
        with exactly(precision):
            return asdict(difference(make(precision).gradients(), self.expected))

    def _memory(self, own: Eager, before: tuple[int, int]) -> dict[str, Any]:
        """Measure a variant's memory: its weights, its optimizer, and all that a step needs.

        A CUDA graph keeps what its step needs; the others take it for the step alone.
        """
        if self.device.type != "cuda":
            return {"memory_bytes": None}
        torch.cuda.reset_peak_memory_stats(self.device)
        own.step()
        self._wait()
        peak = torch.cuda.max_memory_allocated(self.device) - before[1]
        kept = self._reserved_and_allocated()[0] - before[0]
        return {"memory_bytes": max(peak, kept)}

    def _reserved_and_allocated(self) -> tuple[int, int]:
        if self.device.type != "cuda":
            return 0, 0
        torch.cuda.empty_cache()
        return torch.cuda.memory_reserved(self.device), torch.cuda.memory_allocated(self.device)

    def _count(self, function: Callable[[], object]) -> dict[str, int]:
        """Count the CUDA kernels that a function launches; on a CPU, PyTorch's operations."""
        is_cuda = self.device.type == "cuda"
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if is_cuda else [])]
        with profile(activities=activities) as found:
            function()
            self._wait()
        events = found.events()
        if not is_cuda:
            return {"operations": sum(event.name.startswith("aten::") for event in events)}
        return {"kernels": sum(map(is_kernel, events))}

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def exactly(precision: str) -> AbstractContextManager[None]:
    """Keep a GPU from rounding the inputs of products, where float32 is asked for."""
    return devices.tensor_float32(is_allowed=False) if precision == "float32" else nullcontext()


def is_kernel(event: FunctionEvent) -> bool:
    return (
        event.device_type == DeviceType.CUDA
        and not event.is_user_annotation
        and not event.name.startswith(("Memcpy", "Memset"))
    )


def as_on_a_gpu(device: torch.device) -> bool:
    return False


def as_text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:2000]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--params", type=Path, default=ROOT / "params.yaml")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--repeats", type=int, default=20, help="rounds of each measurement")
    arguments = parser.parse_args()
    params = read_params(arguments.params)
    train, device = params.train_params("serct"), devices.pick_device(arguments.device)
    precision = str(devices.pick_precision(train.precision, device)).removeprefix("torch.")
    report: dict[str, Any] = {
        "about": {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": vars(machine.machine()),
            "torch": torch.__version__,
            "commit": machine.git_commit(),
            "device": str(device),
            "precision": precision,
            "batch_size": train.batch_size,
        },
        "variants": {},
    }
    for path in CPU_PATHS:
        mock.patch(path, as_on_a_gpu).start()
    comparison = Comparison(params, device, precision, arguments.repeats)
    for name in arguments.variants:
        found = report["variants"][name] = {}
        for part, result in comparison.parts(name):
            found[part] = result
            write_json(arguments.out, report)
            print(f"{name}, {part}: {result}", flush=True)
    if all("error" in part for found in report["variants"].values() for part in found.values()):
        raise SystemExit("nothing could be measured")


if __name__ == "__main__":
    main()
