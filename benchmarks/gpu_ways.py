"""The ways in which `benchmarks/gpu_step.py` runs full-size `serct`: one class each."""

from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.flex_attention import flex_attention

from serct.config.params import Params
from serct.experiments.bench.measure import Gradients
from serct.experiments.bench.workload import Size, Workload
from serct.models.layers import deformable
from serct.models.layers.windows import Windows

# Bounds of windows stay between frames, where rounding would make the formulas jump.
STILL_FRAMES = 0.005
WARM_UP = 3


class Eager:
    """The model as the training loop runs it; the others change a part of that."""

    def __init__(self, params: Params, device: torch.device, precision: str) -> None:
        size = Size(params.train_params("serct").batch_size)
        self.work = Workload(params, "serct", size, device)
        self.work.place_windows(STILL_FRAMES)
        self.model: Callable[[Tensor, Tensor], Tensor] = self.work.ours
        self.device, self.precision = device, precision
        self.optimizer = self.work.optimizer

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
        # A graph reads the rate and the count of steps where they are: they are tensors.
        for group in self.optimizer.param_groups:
            group["lr"] = torch.tensor(group["lr"], device=self.device)
            group["capturable"] = True

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
