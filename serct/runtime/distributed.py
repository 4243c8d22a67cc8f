"""Several processes in one training: this one's number, and how they share data.

`torchrun` or Ray starts them. A single process is a group of one, for which these functions
change nothing: so the training loop, the evaluation and the models are written once. It does not
import torch either, which classical models do without.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from serct.errors import TrainingError
from serct.runtime.arrays import Integers
from serct.runtime.devices import pick_device

if TYPE_CHECKING:
    from torch import Tensor, nn

A = TypeVar("A", bound=np.ndarray[Any, Any])


def rank() -> int:
    """Return this process' number in its group; only the first, 0, writes files and to MLflow."""
    if not _is_joined():
        return 0
    from torch import distributed as dist

    return dist.get_rank()


def size() -> int:
    """Return how many processes train together."""
    if not _is_joined():
        return 1
    from torch import distributed as dist

    return dist.get_world_size()


def _is_joined() -> bool:
    """Check whether this process is in a group; without torch it has joined none."""
    if "torch" not in sys.modules:
        return False
    from torch import distributed as dist

    return bool(dist.is_initialized())


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Join the group that the environment of `torchrun` names, if any, and leave it at the end.

    A group that is joined already, as within Ray, stays joined.

    Args:
        device: Of the training, named as in params.yaml: NCCL connects CUDA devices, gloo all
            others. Each process of a machine uses the GPU of its local number.

    Raises:
        TrainingError: If this machine has no such device.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or _is_joined():
        yield
        return
    import torch
    from torch import distributed as dist
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    is_cuda = pick_device(device).type == "cuda"
    if is_cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    store, number, count = next(rendezvous("env://"))
    # After a restart the store still holds the addresses of the lost processes.
    store = PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
    dist.init_process_group(
        "nccl" if is_cuda else "gloo", store=store, rank=number, world_size=count
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


def synchronised(module: "nn.Module") -> "nn.Module":
    """Wrap a model so that gradients are averaged over all processes; a single one's stays bare."""
    if size() == 1:
        return module
    from torch.nn.parallel import DistributedDataParallel

    return DistributedDataParallel(module)


def total(values: "Tensor") -> "Tensor":
    """Sum a tensor over all processes, without gradients."""
    if size() > 1:
        from torch import distributed as dist

        values = values.clone()
        dist.all_reduce(values)
    return values


def total_array(values: A) -> A:
    """Sum an array over all processes, in place."""
    if size() == 1:
        return values
    import torch
    from torch import distributed as dist

    # NCCL sums on GPUs only.
    tensor = torch.from_numpy(values).to("cuda" if dist.get_backend() == "nccl" else "cpu")
    dist.all_reduce(tensor)
    values[...] = tensor.cpu().numpy()
    return values


def total_with_gradient(values: "Tensor") -> "Tensor":
    """Sum a tensor over all processes, with gradients for the tensor of each."""
    if size() == 1:
        return values
    summed: Tensor = _total_function().apply(values)
    return summed


@cache
def _total_function() -> Any:
    from torch.autograd import Function

    class Total(Function):
        """A sum over processes; its gradient is summed over them too."""

        @staticmethod
        def forward(ctx: Any, values: "Tensor") -> "Tensor":
            """Sum."""
            return total(values)

        @staticmethod
        def backward(ctx: Any, gradient: "Tensor") -> "Tensor":
            """Sum the gradients."""
            return total(gradient.contiguous())

    return Total


def share_buffers(module: "nn.Module") -> None:
    """Copy the first process' running statistics to all."""
    if size() > 1:
        from torch import distributed as dist

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
