"""Micro-batches: the model computes the clips of several requests together."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from serct.runtime.arrays import Pcm

T = TypeVar("T")
# Computes a result for each of one or more clips, in their order.
Work: TypeAlias = Callable[[Sequence[Pcm]], Iterable[T]]


@dataclass(frozen=True, eq=False)
class _Item:
    work: Work[Any]
    clip: Pcm
    result: asyncio.Future[Any]


class Batcher:
    """Predicts clips, or enrols speakers with them, as many at once as are waiting.

    A clip never waits for a batch to fill. While the model computes a batch the next one gathers,
    so batches grow with the load. All clips of a batch are for the same work of the same model; a
    model for one speaker is another than that for all.
    """

    def __init__(self, max_batch: int, on_batch: Callable[[int], object] = lambda size: None):
        """Create a batcher; it works while `run` runs.

        Args:
            max_batch: Clips at once.
            on_batch: Called with the size of each batch.
        """
        self._max_batch = max_batch
        self._on_batch = on_batch
        self._waiting: deque[_Item] = deque()
        self._has_work = asyncio.Event()
        # One thread: PyTorch spreads a batch over all cores by itself.
        self._thread = ThreadPoolExecutor(1, "serct-model")

    @property
    def num_waiting(self) -> int:
        """Number of clips that wait."""
        return len(self._waiting)

    async def compute(self, work: Work[T], clips: Sequence[Pcm]) -> list[T]:
        """Return the results of prepared clips, in their order.

        Args:
            work: A method of a model, such as `WindowModel.predict_prepared`.
            clips: int16 [M] each
        """
        loop = asyncio.get_running_loop()
        items = [_Item(work, clip, loop.create_future()) for clip in clips]
        self._waiting.extend(items)
        self._has_work.set()
        return list(await asyncio.gather(*(item.result for item in items)))

    async def run(self) -> None:
        """Compute batches until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._has_work.wait()
                batch = self._next()
                if batch:
                    self._on_batch(len(batch))
                    clips = [item.clip for item in batch]
                    done = loop.run_in_executor(self._thread, batch[0].work, clips)
                    _set_results(batch, await asyncio.gather(done, return_exceptions=True))
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    def _next(self) -> list[_Item]:
        """Return the oldest clips of one work, without those of cancelled requests."""
        batch: list[_Item] = []
        others: list[_Item] = []
        while self._waiting and len(batch) < self._max_batch:
            item = self._waiting.popleft()
            if item.result.done():
                continue
            (batch if not batch or item.work == batch[0].work else others).append(item)
        self._waiting.extendleft(reversed(others))
        if not self._waiting:
            self._has_work.clear()
        return batch


def _set_results(batch: Sequence[_Item], outcome: Sequence[Any]) -> None:
    (results,) = outcome
    for number, item in enumerate(batch):
        if item.result.done():
            continue
        if isinstance(results, BaseException):
            item.result.set_exception(results)
        else:
            item.result.set_result(results[number])
