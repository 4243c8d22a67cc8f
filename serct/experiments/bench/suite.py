"""The measurements of `serct bench`, and their order."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import torch

from serct.config.params import Params
from serct.experiments.bench.growth import Growth, curves, sizes_to_measure
from serct.experiments.bench.measure import (
    Difference,
    Rounding,
    Timing,
    count_flops,
    difference,
    interleave,
    peak_flops,
    peak_memory,
    rounding,
)
from serct.experiments.bench.workload import (
    FORMS,
    Size,
    Workload,
    describe,
    rate_hz,
    read_published,
)
from serct.runtime import devices, machine

# Relative. In float64 both are the same formula; in float32 a bound of a window may fall on the
# other side of a frame, where the formula itself jumps.
LIMITS = {"float32": (1e-4, 1e-3), "float64": (1e-10, 1e-10)}
# For the comparison in float32, windows stay between frames.
_STILL_FRAMES = 0.005


@dataclass(frozen=True)
class Figure:
    """One row of the table: a task that both formulations do.

    Attributes:
        task: Its name.
        size: Of the batch.
        precision: Of ours; the direct formulation computes in float32.
        ours: Its time.
        direct: Its time.
        ours_flops: See `count_flops`.
        direct_flops: The same of the direct formulation.
        share_of_peak: Of what a matrix product reaches in this precision, 0..1.
    """

    task: str
    size: Size
    precision: str
    ours: Timing
    direct: Timing
    ours_flops: int
    direct_flops: int
    share_of_peak: float

    @property
    def speedup(self) -> float:
        """How many times as fast as the direct formulation."""
        return self.direct.median_s / self.ours.median_s


@dataclass(frozen=True)
class Memory:
    """The memory of one training step beyond the model and its optimizer's state, in bytes."""

    size: Size
    ours: int
    direct: int


@dataclass(frozen=True)
class Benchmark:
    """All measurements.

    Attributes:
        differences: Of ours to the direct formulation, both in one precision, by that precision.
        rounded: By the precisions that the device computes faster than float32.
    """

    about: dict[str, Any]
    differences: dict[str, Difference]
    rounded: dict[str, Rounding]
    figures: tuple[Figure, ...]
    memory: tuple[Memory, ...]
    growth: tuple[Growth, ...]

    @property
    def is_equal(self) -> bool:
        """Whether the results of both formulations agree within `LIMITS`."""
        return all(
            found.logits <= LIMITS[precision][0] and found.gradients <= LIMITS[precision][1]
            for precision, found in self.differences.items()
        )

    def as_json(self) -> dict[str, Any]:
        """Return all measurements with the speedups."""
        figures = [asdict(figure) | {"speedup": figure.speedup} for figure in self.figures]
        return asdict(self) | {"is_equal": self.is_equal, "figures": figures}


class Suite:
    """Measures one entry of ``models`` on one device."""

    def __init__(
        self,
        params: Params,
        name: str,
        device: torch.device,
        repeats: int,
        on_progress: Callable[[str], object] = lambda task: None,
    ) -> None:
        self.params, self.name, self.device = params, name, device
        self.repeats, self.on_progress = repeats, on_progress
        self.precisions = [torch.float32]
        if devices.computes_bfloat16(device):
            self.precisions.append(torch.bfloat16)

    @devices.tensor_float32(is_allowed=False)
    def run(self, is_quick: bool) -> Benchmark:
        """Measure everything; if quick, without the growth of time and memory."""
        self.on_progress("peak of a matrix product")
        self.peaks = {each: peak_flops(each, self.device) for each in self.precisions}
        usual = Size(self.params.train_params(self.name).batch_size)
        self.on_progress("equality")
        differences, rounded = self._compare(usual), self._round(usual)
        figures = [
            *self._time("training step", usual, Workload.step),
            *self._time("forward", usual, Workload.forward),
            *self._time("one clip of 3 s", Size(1, clip_s=3.0), Workload.forward),
        ]
        memory = [self._measure_memory(usual)]
        growth: tuple[Growth, ...] = ()
        if not is_quick:
            row_s = self.params.audio.num_samples / rate_hz(self.params)
            sizes = sizes_to_measure(read_published(self.params, self.name), row_s)
            steps = []
            for size in dict.fromkeys(each for chosen in sizes.values() for each in chosen):
                steps += self._time("training step", size, Workload.step)
                memory.append(self._measure_memory(size))
            figures += steps
            growth = curves(sizes, _by_measure(steps, memory))
        return Benchmark(self._about(), differences, rounded, tuple(figures), tuple(memory), growth)

    def _compare(self, size: Size) -> dict[str, Difference]:
        workload = self._workload(size)
        workload.place_windows(_STILL_FRAMES)
        # Two clips are enough for float64, and take less time.
        exact = self._workload(Size(min(2, size.batch_size))).double()
        return {
            name: difference(each.gradients("ours"), each.gradients("direct"))
            for name, each in (("float32", workload), ("float64", exact))
        }

    def _round(self, size: Size) -> dict[str, Rounding]:
        workload = self._workload(size)
        workload.place_windows(_STILL_FRAMES)
        expected = workload.gradients("direct")
        found = {}
        if self.device.type == "cuda":
            with devices.tensor_float32(is_allowed=True):
                found["tf32"] = rounding(workload, torch.float32, expected)
        if torch.bfloat16 in self.precisions:
            found["bfloat16"] = rounding(workload, torch.bfloat16, expected)
        return found

    def _time(
        self,
        task: str,
        size: Size,
        make: Callable[[Workload, str, torch.dtype], Callable[[], object]],
    ) -> list[Figure]:
        self.on_progress(f"{task}, {describe(size)}")
        workload = self._workload(size)
        functions = {"direct": make(workload, "direct", torch.float32)}
        functions |= {_name(each): make(workload, "ours", each) for each in self.precisions}
        flops = {name: count_flops(function) for name, function in functions.items()}
        timings = interleave(functions, self.repeats, self.device)
        return [
            Figure(
                task, size, _name(each), timings[_name(each)], timings["direct"],
                flops["float32"], flops["direct"],
                flops["float32"] / timings[_name(each)].median_s / self.peaks[each],
            )
            for each in self.precisions
        ]  # fmt: skip

    def _measure_memory(self, size: Size) -> Memory:
        self.on_progress(f"memory of a training step, {describe(size)}")
        ours, direct = (
            peak_memory(self.params, self.name, size, form, self.device) for form in FORMS
        )
        return Memory(size, ours, direct)

    def _workload(self, size: Size) -> Workload:
        return Workload(self.params, self.name, size, self.device)

    def _about(self) -> dict[str, Any]:
        return {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": vars(machine.machine()),
            "device": str(self.device),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "commit": machine.git_commit(),
            "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            "model": self.name,
            "num_samples": self.params.audio.num_samples,
            "peak_flops": {_name(each): peak for each, peak in self.peaks.items()},
        }


def _by_measure(
    figures: Sequence[Figure], memory: Sequence[Memory]
) -> dict[tuple[str, str], dict[Size, float]]:
    """Order what was measured as `curves` reads it."""
    found: dict[tuple[str, str], dict[Size, float]] = {}
    for figure in figures:
        for measure, form, value in (
            ("time", f"ours, {figure.precision}", figure.ours.median_s),
            ("time", "direct, float32", figure.direct.median_s),
            ("operations", "ours, float32", figure.ours_flops),
            ("operations", "direct, float32", figure.direct_flops),
        ):
            found.setdefault((measure, form), {})[figure.size] = value
    for each in memory:
        for form in FORMS:
            # A small model may need no more than what was in use before.
            value = max(1, getattr(each, form))
            found.setdefault(("memory", f"{form}, float32"), {})[each.size] = value
    return found


def _name(precision: torch.dtype) -> str:
    return str(precision).removeprefix("torch.")
