"""Batches of clips for training: their order, and how they get from shards to a device.

Shapes: B batch, M samples of the longest clip, S all samples of a dataset without padding.
"""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from serct.data.dataset import Batch, ShardDataset
from serct.runtime.arrays import Floats, Integers
from serct.runtime.log import logger
from serct.training.balance import Balance

# Of the memory that is free on a GPU, what a corpus may take; the rest is for the model.
_SHARE_OF_MEMORY = 0.25
_BYTES_A_SAMPLE = 2

TensorBatch: TypeAlias = Batch[Tensor, Tensor]


def epoch_batches(
    num_valid: Integers,
    batch_size: int,
    bucket_batches: int,
    seed: int,
    epoch: int,
    balance: Balance | None = None,
) -> list[Integers]:
    """Shuffle clips into batches of nearly equal size, at most ``batch_size``.

    Equal parts leave no tiny last batch, whose statistics would upset batch normalisation.

    Args:
        num_valid: Length of each clip. [n]
        batch_size: Clips of a batch.
        bucket_batches: Clips of this many batches are sorted by length before they are divided
            again, so that those of a batch are about equally long; 1 keeps the random order.
        seed: Decides the order, together with ``epoch``.
        epoch: Counts from 1.
        balance: How often each clip is drawn; None: each once.

    Returns:
        Positions of the clips of each batch, as many as there are clips.
    """
    generator = np.random.default_rng([seed, epoch])
    clips = np.arange(len(num_valid)) if balance is None else balance.draw(generator)
    order = generator.permutation(clips)
    batches = np.array_split(order, math.ceil(len(num_valid) / batch_size))
    if bucket_batches == 1:
        return batches
    bucketed: list[Integers] = []
    for first in range(0, len(batches), bucket_batches):
        bucket = batches[first : first + bucket_batches]
        chosen = np.concatenate(bucket)
        by_length = chosen[np.argsort(num_valid[chosen], kind="stable")]
        bucketed += np.split(by_length, np.cumsum([len(batch) for batch in bucket])[:-1])
    return [bucketed[place] for place in generator.permutation(len(bucketed))]


class DeviceBatches:
    """Loads a dataset's clips as tensors on a device, so that the device never waits for them.

    On a GPU with room for it the whole dataset is uploaded once, as 16-bit samples without
    padding (TESS: 180 MB), and batches are gathered there. Otherwise a thread reads the next
    batch while the device is busy with this one.
    """

    def __init__(self, dataset: ShardDataset, device: torch.device) -> None:
        """Prepare; on a GPU, upload what fits."""
        self.dataset = dataset
        self.device = device
        self._packed: PackedClips | None = None
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            size = int(dataset.num_valid.sum()) * _BYTES_A_SAMPLE
            if size <= free * _SHARE_OF_MEMORY:
                self._packed = PackedClips(dataset, device)
            else:
                logger.info("corpus of %d MB is not held on the device", size // 10**6)

    def __call__(self, order: Sequence[Integers]) -> Iterator[TensorBatch]:
        """Yield one batch after another.

        Args:
            order: For each batch the positions of its clips in the dataset.
        """
        if self._packed is not None:
            yield from map(self._packed.batch, order)
        elif self.device.type == "cpu":
            yield from (self._tensors(self.dataset.batch(indices)) for indices in order)
        else:
            with ThreadPoolExecutor(1) as reader:
                ahead = None
                for indices in order:
                    coming = reader.submit(self.dataset.batch, indices)
                    if ahead is not None:
                        yield self._tensors(ahead.result())
                    ahead = coming
                if ahead is not None:
                    yield self._tensors(ahead.result())

    def _tensors(self, batch: Batch[Floats, Integers]) -> TensorBatch:
        arrays = (batch.waveforms, batch.num_valid, batch.labels)
        return TensorBatch(*(_upload(torch.from_numpy(array), self.device) for array in arrays))


class PackedClips:
    """Holds all clips of a dataset end to end on a device, and gathers batches from them there."""

    def __init__(self, dataset: ShardDataset, device: torch.device) -> None:
        """Upload a dataset."""
        self.device = device
        self.num_valid = dataset.num_valid
        self.starts = np.concatenate(([0], np.cumsum(dataset.num_valid)[:-1]))
        self.labels = dataset.labels
        self.scale = 1 / dataset.meta.pcm_scale
        samples = np.concatenate([dataset.clip(index) for index in range(len(dataset))])
        self.samples = torch.from_numpy(samples).to(device)  # int16 [S]

    def batch(self, indices: Integers) -> TensorBatch:
        """Gather clips; nothing is read back from the device, which would make the CPU wait."""
        lengths = self.num_valid[indices]
        table = torch.from_numpy(np.stack((self.starts[indices], lengths, self.labels[indices])))
        starts, num_valid, labels = _upload(table, self.device)
        steps = torch.arange(int(lengths.max()), device=self.device)
        is_valid = steps < num_valid[:, None]  # [B, M]
        places = (starts[:, None] + steps).where(is_valid, 0)
        waveforms = self.samples[places] * is_valid * self.scale
        return TensorBatch(waveforms.float(), num_valid, labels)


def _upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy to a device; to a GPU from pinned memory, so that the CPU does not wait."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
