"""What limits a training step on this CPU: the parts of a step beside the least time they need.

    python benchmarks/roofline.py --out build/roofline.json

A part needs the time of its operations at the speed of a bare matrix product, and the time of its
inputs, outputs and weights at the speed of memory: the longer of both is its bound (the roofline).
Parts are measured where they are, within whole steps of the full-size model with a batch as in
`serct bench`; the direct formulation takes turns with them.

Operations are those of matrix products and convolutions; those on single values, such as GELU,
softmax and dropout's random numbers, count as free. Bytes are those of a part's layers, call by
call and in both directions. Forward, inputs are read and outputs written; backward, the gradients
of outputs are read, inputs are read again but for dropout, and their gradients are written. Weights
are read once a step in each direction, and their gradients written. The optimizer reads each
gradient, and reads and writes each weight and its two moments. So the bound is what a step needs at
the least, but for one thing: what stays in a cache from one layer to the next is not read from
memory. A part whose tensors are small may thus be faster than its bound; the time of its
operations alone holds for it too.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, cast
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from serct.config.reader import read_params
from serct.experiments.bench.measure import interleave, memory_bandwidth, peak_flops
from serct.experiments.bench.workload import Size, Workload
from serct.models.layers import deformable
from serct.models.layers.dropout import Dropout
from serct.models.layers.windows import Windows
from serct.models.serct import Block
from serct.runtime import devices, machine
from serct.runtime.atomic import write_json

ROOT = Path(__file__).resolve().parent.parent
CPU = torch.device("cpu")
REST = "rest: sums, copies, ReLU, loss"
DROPOUT, NORMS, OPTIMIZER = "dropout", "layer norms", "optimizer"
INWARD, OUTWARD = "maps to queries, keys, values, windows", "output and feed-forward maps"


@dataclass(frozen=True)
class Place:
    """A function that does some of a part's work.

    Attributes:
        part: Its name.
        owner: Whose attribute the function is.
        name: Of that attribute.
        weights: What the function reads beside its arguments.
    """

    part: str
    owner: Any
    name: str
    weights: tuple[Tensor, ...] = ()


def places(work: Workload) -> Iterator[Place]:
    """Yield all functions of our formulation that are measured; the others are the rest."""
    model, frontend = work.ours, work.ours.frontend

    def layer(part: str, module: nn.Module) -> Place:
        return Place(part, module, "forward", tuple(module.parameters()))

    first = (*frontend.convolutions[0].parameters(), *frontend.norms[0].parameters())
    yield Place("first convolution with its group norm", frontend, "_normalised_convolution", first)
    for convolution in frontend.convolutions[1:]:
        yield layer("other convolutions", convolution)
    yield Place("GELU", functional, "gelu")
    before, projection, behind = model.projection
    yield layer("projection", projection)
    yield from (layer(NORMS, norm) for norm in (before, behind))
    yield Place("attention within windows", deformable, "attend")
    for block in (cast(Block, each) for each in model.blocks):
        attention = cast(deformable.DeformableAttention, block.attention)
        yield layer(INWARD, attention.queries_keys_values)
        # It reads the map to the queries too, which the same part has read.
        yield Place(INWARD, attention, "_place", tuple(attention.placement.parameters()))
        yield layer(OUTWARD, attention.output)
        yield layer(DROPOUT, block.attention_dropout)
        for each in block.feed_forward:
            if isinstance(each, nn.Linear | Dropout):
                yield layer(OUTWARD if isinstance(each, nn.Linear) else DROPOUT, each)
        yield from (layer(NORMS, norm) for norm in (block.attention_norm, block.feed_forward_norm))
    yield layer("classifier", model.classifier)
    yield Place(OPTIMIZER, work.optimizer, "step")


class Meter:
    """Shares out what a clock counts among the parts of a step."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Start with the rest; the clock may count anything that only grows."""
        self.clock = clock
        self.spent: dict[str, float] = defaultdict(float)
        self._part, self._since = REST, clock()

    def enter(self, part: str) -> None:
        """Count for another part from now on."""
        now = self.clock()
        self.spent[self._part] += now - self._since
        self._part, self._since = part, now


class _Mark(torch.autograd.Function):
    """Passes a tensor on, and enters a part where its gradient comes back."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, meter: Meter, part: str) -> Tensor:
        ctx.meter, ctx.part = meter, part
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        ctx.meter.enter(ctx.part)
        return gradient, None, None


# Of a call: the place, its floating-point inputs and its outputs.
OnCall = Callable[[Place, Sequence[Tensor], Sequence[Tensor]], None]


@contextmanager
def watched(
    chosen: Iterable[Place], meter: Meter, on_call: OnCall = lambda *_: None
) -> Iterator[None]:
    """Let a meter follow what happens at some places, forward and backward."""
    with ExitStack() as stack:
        for place in chosen:
            function = _watched(place, meter, on_call)
            stack.enter_context(patch.object(place.owner, place.name, function))
        yield
        meter.enter(REST)


def _watched(place: Place, meter: Meter, on_call: OnCall) -> Callable[..., Any]:
    function = getattr(place.owner, place.name)

    def run(*arguments: Any, **keywords: Any) -> Any:
        # Autograd goes back node by node, the last made first: so between the marks of outputs and
        # those of inputs there are none but the part's own. Where no input has a gradient (the
        # first convolution), the part ends with the next mark.
        tensors: list[Tensor] = []

        def mark(value: Any) -> Any:
            if isinstance(value, Windows):
                return Windows(*map(mark, value))
            if not isinstance(value, Tensor) or not value.is_floating_point():
                return value
            tensors.append(value)
            return _Mark.apply(value, meter, REST) if value.requires_grad else value

        marked = [mark(argument) for argument in arguments]
        meter.enter(place.part)
        found = function(*marked, **keywords)
        meter.enter(REST)
        if found is None:  # of the optimizer
            outputs: tuple[Tensor, ...] = ()
        elif isinstance(found, Tensor):
            outputs = (found,)
            found = _Mark.apply(found, meter, place.part)
        else:
            outputs = tuple(found)
            found = type(found)(*(_Mark.apply(each, meter, place.part) for each in found))
        on_call(place, tensors, outputs)
        return found

    return run


@dataclass
class Account:
    """What a part must do in one step, at the least.

    Attributes:
        operations: Of matrix products and convolutions, as `count_flops` counts.
        num_bytes: Moved from and to memory, see above.
    """

    operations: float = 0.0
    num_bytes: int = 0


def account(
    chosen: Sequence[Place], step: Callable[[], object], weights: Sequence[Tensor]
) -> dict[str, Account]:
    """Count the operations and the bytes of each part in one step.

    Args:
        chosen: All places.
        step: A training step.
        weights: Of the model, all float32: what the optimizer changes.
    """
    found: dict[str, Account] = defaultdict(Account)
    read: set[tuple[str, int]] = set()

    def on_call(place: Place, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        part = found[place.part]
        part.num_bytes += call_bytes(inputs, outputs, reads_again=place.part != DROPOUT)
        for weight in place.weights:
            if (place.part, id(weight)) not in read:
                read.add((place.part, id(weight)))
                part.num_bytes += 3 * weight.nbytes

    with FlopCounterMode(display=False) as counter:
        meter = Meter(lambda: float(counter.get_total_flops()))
        with watched(chosen, meter, on_call):
            step()
    for part, operations in meter.spent.items():
        found[part].operations = operations
    # Weight and two moments are read and written, the gradient is read.
    found[OPTIMIZER].num_bytes = 7 * sum(weight.nbytes for weight in weights)
    return dict(found)


def call_bytes(inputs: Sequence[Tensor], outputs: Sequence[Tensor], *, reads_again: bool) -> int:
    """Count what one call moves in both directions, without weights; see the top of this file.

    Args:
        inputs: Those without a gradient are only read.
        outputs: Written, and their gradients read.
        reads_again: Whether the backward pass needs the inputs.
    """
    num_bytes = 2 * sum(each.nbytes for each in outputs)
    for each in inputs:
        num_bytes += each.nbytes * (1 + reads_again + each.requires_grad)
    return num_bytes


def metered(
    chosen: Sequence[Place], step: Callable[[], object], found: list[dict[str, float]]
) -> Callable[[], None]:
    """Return a function that does a step and notes the seconds of each part."""

    def run() -> None:
        meter = Meter(time.perf_counter)
        with watched(chosen, meter):
            step()
        found.append(dict(meter.spent))

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--params", type=Path, default=ROOT / "params.yaml")
    parser.add_argument("--clips", type=int, help="of a batch; if left out, as the params say")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    params = read_params(arguments.params)
    size = Size(arguments.clips or params.train_params("serct").batch_size)
    result = measure(Workload(params, "serct", size, CPU), arguments.repeats)
    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": vars(machine.machine()),
        "commit": machine.git_commit(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "clips": size.batch_size,
        "repeats": arguments.repeats,
    }
    write_json(arguments.out, about | result)
    print(as_text(result))


def measure(work: Workload, repeats: int) -> dict[str, Any]:
    """Measure the machine, the parts of a step in each precision, and the direct formulation."""
    precisions = [torch.float32]
    if devices.computes_bfloat16(CPU):
        precisions.append(torch.bfloat16)
    bandwidth = memory_bandwidth(CPU)
    chosen, weights = list(places(work)), list(work.ours.parameters())
    functions: dict[str, Callable[[], object]] = {"direct": work.step("direct", torch.float32)}
    functions["direct"]()
    accounts, seconds, peaks = {}, {}, {}
    for precision in precisions:
        name = str(precision).removeprefix("torch.")
        peaks[name] = peak_flops(precision, CPU)
        step = work.step("ours", precision)
        accounts[name] = account(chosen, step, weights)
        seconds[name] = list[dict[str, float]]()
        functions[name] = metered(chosen, step, seconds[name])
    timings = interleave(functions, repeats, CPU)
    direct = timings.pop("direct")
    return {
        "bytes_per_second": bandwidth,
        "direct": asdict(direct),
        "steps": [
            {
                "precision": name,
                "peak_flops": peaks[name],
                **asdict(timing),
                **bounds(accounts[name], seconds[name], peaks[name], bandwidth),
            }
            for name, timing in timings.items()
        ],
    }


def bounds(
    accounts: dict[str, Account], seconds: Sequence[dict[str, float]], peak: float, bandwidth: float
) -> dict[str, Any]:
    """Set what each part took beside the least that it needs.

    Args:
        accounts: By part.
        seconds: By part, of each step measured.
        peak: Operations a second.
        bandwidth: Bytes a second.
    """
    rows = []
    for part, each in accounts.items():
        by_operations, by_bytes = each.operations / peak, each.num_bytes / bandwidth
        bound, took = max(by_operations, by_bytes), median(step[part] for step in seconds)
        limit = "operations" if by_operations > by_bytes else "memory"
        rows.append(
            {"part": part, **asdict(each), "seconds": took, "bound_s": bound,
             "share": bound / took, "limit": limit if bound else None}
        )  # fmt: skip
    rows.sort(key=lambda row: (row["part"] == REST, -row["seconds"]))
    return {
        "parts": rows,
        "bound_s": sum(row["bound_s"] for row in rows),
        "operations_s": sum(each.operations for each in accounts.values()) / peak,
    }


def as_text(result: dict[str, Any]) -> str:
    """Return a table of each precision in Markdown."""
    direct, lines = result["direct"]["median_s"], []
    for step in result["steps"]:
        lines += [
            f"{step['precision']}: {step['peak_flops'] / 1e9:,.0f} GFLOP/s, "
            f"{result['bytes_per_second'] / 1e9:.1f} GB/s",
            "",
            "| part | GFLOP | GB | s | least s | limit | reached |",
            "|---|--:|--:|--:|--:|---|--:|",
        ]
        lines += [
            f"| {row['part']} | {row['operations'] / 1e9:,.1f} | {row['num_bytes'] / 1e9:.2f} "
            f"| {row['seconds']:.3f} | {row['bound_s']:.3f} | {row['limit'] or ''} "
            f"| {row['share']:.0%} |"
            for row in step["parts"]
        ]
        lines += [
            "",
            f"A step takes {step['median_s']:.2f} s, the direct formulation in float32 "
            f"{direct:.2f} s: {direct / step['median_s']:.1f} x. At its bounds a step would take "
            f"{step['bound_s']:.2f} s: {direct / step['bound_s']:.1f} x; its operations alone "
            f"{step['operations_s']:.2f} s: {direct / step['operations_s']:.1f} x.",
            "",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
