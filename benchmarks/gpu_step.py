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
from torch import Tensor
from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent
from torch.nn import functional
from torch.nn.attention.flex_attention import flex_attention
from torch.profiler import ProfilerActivity, profile

from serct.config.params import Params
from serct.config.reader import read_params
from serct.experiments.bench.measure import Gradients, difference, interleave
from serct.experiments.bench.workload import Size, Workload
from serct.models.layers import deformable
from serct.models.layers.windows import Windows
from serct.runtime import devices, machine
from serct.runtime.atomic import write_json

ROOT = Path(__file__).resolve().parent.parent
# Bounds of windows stay between frames, where rounding would make the formulas jump.
STILL_FRAMES = 0.005
WARM_UP = 3
# Functions that choose the path of a CPU.
CPU_PATHS = (
    "serct.models.serct.takes_groups", "serct.models.layers.window_attention.takes_slices"
)  # fmt: skip


class Eager:
    """The model as the training loop runs it; the others change a part of that."""

    def __init__(self, params: Params, device: torch.device, precision: str) -> None:
        size = Size(params.train_params("serct").batch_size)
        self.work = Workload(params, "serct", size, device)
        self.work.place_windows(STILL_FRAMES)
        self.model: Callable[[Tensor, Tensor], Tensor] = self.work.ours
        self.device, self.precision = device, precision
        self.optimizer = self.make_optimizer(self.work.optimizer.param_groups[0])

    def make_optimizer(self, group: dict[str, Any]) -> torch.optim.Optimizer:
        """Make one as in the training loop."""
        weights = self.work.ours.parameters()
        return torch.optim.Adam(
            weights, group["lr"], weight_decay=group["weight_decay"], fused=True
        )

    def logits(self) -> Tensor:
        """Score the batch, in the mode in which the model is."""
        dtype = getattr(torch, self.precision)
        with torch.autocast(self.device.type, dtype, enabled=self.precision != "float32"):
            return self.model(self.work.waveforms, self.work.num_valid)

    def forward(self) -> Tensor:
        """Score the batch in evaluation mode."""
        self.work.ours.eval()
        with torch.no_grad():
            return self.logits()

    def backward(self) -> Tensor:
        """Compute logits and the gradient of their loss."""
        self.optimizer.zero_grad(set_to_none=True)
        logits = self.logits()
        functional.cross_entropy(logits.float(), self.work.labels).backward()
        return logits.detach()

    def step(self) -> None:
        """Take a training step."""
        self.work.ours.train()
        self.backward()
        self.optimizer.step()

    def gradients(self) -> Gradients:
        """Return logits and gradients without dropout; comparable before the first step."""
        self.work.ours.eval()
        logits = self.backward().float().clone()
        weights = self.work.ours.named_parameters()
        return logits, {name: weight.grad.clone() for name, weight in weights}


class Compiled(Eager):
    """`torch.compile`, the optimizer apart."""

    mode = "default"

    def __init__(self, params: Params, device: torch.device, precision: str) -> None:
        super().__init__(params, device, precision)
        self.model = torch.compile(self.work.ours, mode=self.mode)


class ReduceOverhead(Compiled):
    """`torch.compile` that puts what it compiled into CUDA graphs."""

    mode = "reduce-overhead"

    def logits(self) -> Tensor:
        """See `Eager`; the next run overwrites what a graph returns, so it is copied."""
        torch.compiler.cudagraph_mark_step_begin()
        return super().logits().clone()


class CudaGraph(Eager):
    """The whole step as one CUDA graph: each batch is copied to where the graph reads it."""

    def __init__(self, params: Params, device: torch.device, precision: str) -> None:
        super().__init__(params, device, precision)
        self.reads = (self.work.waveforms, self.work.num_valid, self.work.labels)
        self.batch = [each.clone() for each in self.reads]
        self.graphs: dict[str, tuple[torch.cuda.CUDAGraph, Any]] = {}

    def make_optimizer(self, group: dict[str, Any]) -> torch.optim.Optimizer:
        """Make one whose rate and count of steps are tensors, which a graph can read."""
        rate = torch.tensor(group["lr"], device=self.device)
        return torch.optim.Adam(
            self.work.ours.parameters(), rate, weight_decay=group["weight_decay"],
            fused=True, capturable=True,
        )  # fmt: skip

    def forward(self) -> Tensor:
        """See `Eager`."""
        return self._replay("forward", super().forward)

    def step(self) -> None:
        """See `Eager`."""
        self._replay("step", super().step)

    def gradients(self) -> Gradients:
        """See `Eager`."""
        return self._replay("gradients", super().gradients)

    def _replay(self, name: str, function: Callable[[], Any]) -> Any:
        if name not in self.graphs:
            self.graphs[name] = self._capture(function)
        graph, result = self.graphs[name]
        for place, tensor in zip(self.reads, self.batch, strict=True):
            place.copy_(tensor, non_blocking=True)
        graph.replay()
        return result

    def _capture(self, function: Callable[[], Any]) -> tuple[torch.cuda.CUDAGraph, Any]:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                function()
        torch.cuda.current_stream().wait_stream(stream)
        self.optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = function()
        return graph, result


class Flex(Eager):
    """FlexAttention in place of ours; it knows no dropout, so the attention's own is left out."""

    def __init__(self, params: Params, device: torch.device, precision: str) -> None:
        super().__init__(params, device, precision)
        self.flex = torch.compile(flex_attention, dynamic=False)

    def logits(self) -> Tensor:
        """See `Eager`."""
        with mock.patch.object(deformable, "attend", self._attend):
            return super().logits()

    def _attend(self, projected: Tensor, windows: Windows, *_: object) -> Tensor:
        return attend_by_flex(self.flex, projected, windows)


def attend_by_flex(flex: Callable[..., Tensor], projected: Tensor, windows: Windows) -> Tensor:
    """Let each query gather the values within its window, as `window_attention.attend` does.

    Args:
        flex: `flex_attention`, compiled or not.
        projected: Queries, keys and values. [3, H, B, T, E]
        windows: 3 x [H, B, T]

    Returns:
        [B, T, H, E]
    """
    queries, keys, values = projected.transpose(1, 2).contiguous().unbind()
    attended = flex(queries, keys, values, score_mod=window_scores(windows))
    return attended.transpose(1, 2)


def window_scores(windows: Windows) -> Callable[..., Tensor]:
    """Return what a window does to a score: `windows.emphasise` and `windows.mask_outside`.

    Each bound is read once: FlexAttention has no gradient for a tensor that is read twice. Where a
    window misses the clip, all scores are 0, which makes equal shares: a large negative number
    would drown the logarithm of their sum, which the backward pass needs.
    """
    anchors, starts, ends = (bound.transpose(0, 1).contiguous() for bound in windows)
    num_frames = anchors.shape[-1]

    def score_mod(score: Tensor, clip: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        anchor, start, end = (bound[clip, head, query] for bound in (anchors, starts, ends))
        first, last, before = start.floor(), end.ceil(), anchor.floor()
        factor = (
            1
            + (key == first) * (first - start)
            + (key == last) * (end - last)
            + (key == before) * (before + 1 - anchor)
            + (key == before + 1) * (anchor - before)
        )
        inside = torch.where((key < first) | (key > last), -torch.inf, score * factor)
        return torch.where((last < 0) | (first >= num_frames), 0.0, inside)

    return score_mod


VARIANTS = {
    "eager": Eager,
    "cuda_graph": CudaGraph,
    "flex_attention": Flex,
    "compile": Compiled,
    "compile_reduce_overhead": ReduceOverhead,
}


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
