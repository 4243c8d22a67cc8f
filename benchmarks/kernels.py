"""Counts what a training step of the full-size SERCT starts on a GPU, without one.

    python benchmarks/kernels.py

The step runs on PyTorch's device "meta", where tensors have shapes but no values, and where the
code goes the GPU's way. Counted are operations that compute something, on a GPU a kernel each, now
and then two; views of a tensor and allocations are not. Forward pass, loss and backward pass, in
float32: autocast adds conversions, the fused optimizer two operations.
"""

from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.module_tracker import ModuleTracker

from serct.config.reader import read_params
from serct.experiments.bench.direct import DirectSerct
from serct.models import read_model_params

ROOT = Path(__file__).resolve().parent.parent
NUM_EMOTIONS = 7
BATCH_SIZE, LONGEST_SAMPLES = 16, 47_760  # the longest recording of TESS has 2.985 s
PLACES = ("frontend", "projection", "blocks", "attention", "classifier")
NO_KERNEL = {
    "detach", "empty", "empty_like", "empty_strided", "is_same_size", "lift_fresh", "new_empty",
    "_record_function_enter_new", "_record_function_exit", "_unsafe_view",
}  # fmt: skip


def main() -> None:
    ours = full_size()
    counts = count_step(ours)
    print(f"{'':12} {'forward':>8} {'backward':>8}")
    for place in (*PLACES, "rest"):
        print(f"{place:12} {counts[place, 'forward']:8} {counts[place, 'backward']:8}")
    print(f"all {counts.total()}; the direct formulation {count_step(DirectSerct(ours)).total()}")


def full_size() -> Any:
    """Build the model of `params.yaml` on "meta"."""
    params = read_params(ROOT / "params.yaml")
    with torch.device("meta"):
        return read_model_params(params, "serct").build(
            params.audio.num_samples, 16_000, NUM_EMOTIONS
        )


def count_step(module: nn.Module) -> Counter[tuple[str, str]]:
    """Count the operations of a training step by place and direction, "forward" or "backward"."""
    waveforms = torch.empty(BATCH_SIZE, LONGEST_SAMPLES, device="meta")
    labels = torch.empty(BATCH_SIZE, dtype=torch.long, device="meta")
    counter = KernelCounter()
    with (
        mock.patch("torch.autocast", return_value=nullcontext()),  # it knows no "meta"
        mock.patch("torch.nn.functional.dropout", _dropout_on_gpu),
        counter,
    ):
        logits = module(waveforms, labels)
        functional.cross_entropy(logits, labels).backward()
    return counter.counts


class KernelCounter(TorchDispatchMode):
    """Counts operations that compute something while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[tuple[str, str]] = Counter()
        self.tracker = ModuleTracker()

    def __enter__(self) -> Any:
        self.tracker.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.tracker.__exit__(*error)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        if not func.is_view and func.overloadpacket.__name__ not in NO_KERNEL:
            names = max(self.tracker.parents, key=len).split(".")
            place = next((place for place in reversed(PLACES) if place in names), "rest")
            self.counts[place, "backward" if self.tracker.is_bw else "forward"] += 1
        return func(*args, **(kwargs or {}))


def _dropout_on_gpu(values: Tensor, probability: float, is_training: bool = True) -> Tensor:
    """Drop values as PyTorch does on a GPU, with one kernel; elsewhere it takes three."""
    return torch.native_dropout(values, probability, is_training)[0]


if __name__ == "__main__":
    main()
