"""Several processes in one training: this one's number, and how they share data.

`torchrun` or Ray starts them. A single process is a group of one, for which these functions
change nothing: so the training loop, the evaluation and the models are written once.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from serct.errors import TrainingError
from serct.runtime.arrays import Integers

A = TypeVar("A", bound=np.ndarray[Any, Any])


def rank() -> int:
    """Return this process' number in its group; only the first, 0, writes files and to MLflow."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Join the group that the environment of `torchrun` names, if any, and leave it at the end.

    A group that is joined already, as within Ray, stays joined.

    Args:
        device: Of the training: NCCL connects CUDA devices, gloo all others. Each process of a
            machine uses the GPU of its local number.
    """
    if dist.is_initialized() or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    store, number, count = next(rendezvous("env://"))
    # After a restart the store still holds the addresses of the lost processes.
    store = PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo", store=store, rank=number, world_size=count
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


def share(batches: Sequence[Integers]) -> list[Integers]:
    """Return this process' part of each batch; all parts together are the batches.

    Raises:
        TrainingError: If there are batches with fewer clips than processes.
    """
    smallest = min(len(batch) for batch in batches)
    if smallest < size():
        raise TrainingError(
            f"a batch has {smallest} clips, expected at least one for each of {size()} processes: "
            "raise train.batch_size"
        )
    return [np.array_split(batch, size())[rank()] for batch in batches]


def synchronised(module: nn.Module) -> nn.Module:
    """Wrap a model so that gradients are averaged over all processes; a single one's stays bare."""
    if size() == 1:
        return module
    return nn.parallel.DistributedDataParallel(module)


def total(values: Tensor) -> Tensor:
    """Sum a tensor over all processes, without gradients."""
    if size() > 1:
        values = values.clone()
        dist.all_reduce(values)
    return values


def total_array(values: A) -> A:
    """Sum an array over all processes, in place."""
    if size() == 1:
        return values
    # NCCL sums on GPUs only.
    tensor = torch.from_numpy(values).to("cuda" if dist.get_backend() == "nccl" else "cpu")
    dist.all_reduce(tensor)
    values[...] = tensor.cpu().numpy()
    return values


def total_with_gradient(values: Tensor) -> Tensor:
    """Sum a tensor over all processes, with gradients for the tensor of each."""
    if size() == 1:
        return values
    summed: Tensor = _Total.apply(values)  # type: ignore[no-untyped-call]
    return summed


class _Total(torch.autograd.Function):
    """A sum over processes; its gradient is summed over them too."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        """Sum."""
        return total(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Sum the gradients."""
        return total(gradient.contiguous())


def share_buffers(module: nn.Module) -> None:
    """Copy the first process' running statistics to all."""
    if size() > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, src=0)


def check_agreement(number: int, what: str) -> None:
    """Check that all processes hold the same number.

    Raises:
        TrainingError: Naming ``what``, if they do not.
    """
    found = np.zeros(size(), dtype=np.int64)
    found[rank()] = number
    total_array(found)
    if (found != number).any():
        raise TrainingError(f"processes disagree on {what}: {found.tolist()}")
