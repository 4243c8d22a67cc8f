"""Micro-batches: the model computes the recordings or clips of several requests together."""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")
C = TypeVar("C")
# Computes a result, or the error in place of one, for each of one or more clips, in their order.
Work: TypeAlias = Callable[[Sequence[C]], Iterable[T | Exception]]


@dataclass(frozen=True, eq=False)
class _Item:
    work: Work[Any, Any]
    clip: Any
    result: asyncio.Future[Any]


class Batcher:
    """Predicts clips, or enrols speakers with them, as many at once as are waiting.

    A clip never waits for a batch to fill. While the workers compute batches the next ones gather,
    so batches grow with the load; workers that are free share what waits. All clips of a batch are
    for the same work of the same model; a model for one speaker is another than that for all.
    """

    def __init__(
        self,
        max_batch: int,
        on_batch: Callable[[int], object] = lambda size: None,
        num_workers: int = 1,
    ):
        """Create a batcher; it works while `run` runs.

        Args:
            max_batch: Clips at once.
            on_batch: Called with the size of each batch.
            num_workers: Batches at once, each in a thread of its own.
        """
        self._max_batch = max_batch
        self._on_batch = on_batch
        self._num_workers = self._num_idle = num_workers
        self._waiting: deque[_Item] = deque()
        self._has_work = asyncio.Event()
        self._threads = ThreadPoolExecutor(num_workers, "serct-model")

    @property
    def num_waiting(self) -> int:
        """Number of clips that wait."""
        return len(self._waiting)

    async def compute(self, work: Work[C, T], clips: Sequence[C]) -> list[T]:
        """Return the results of clips, in their order.

        Args:
            work: A method of a model, such as `WindowModel.predict_prepared`, or anything that is
                equal for clips that may share a batch.
            clips: What it takes, such as prepared clips, int16 [M] each.

        Raises:
            Exception: What the work raised, or gave in place of a result.
        """
        loop = asyncio.get_running_loop()
        items = [_Item(work, clip, loop.create_future()) for clip in clips]
        self._waiting.extend(items)
        self._has_work.set()
        return list(await asyncio.gather(*(item.result for item in items)))

    async def run(self) -> None:
        """Compute batches until cancelled."""
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(self._num_workers):
                    workers.create_task(self._work())
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._has_work.wait()
            batch = self._next()
            if batch:
                self._num_idle -= 1
                self._on_batch(len(batch))
                clips = [item.clip for item in batch]
                done = loop.run_in_executor(self._threads, _results, batch[0].work, clips)
                _set_results(batch, await asyncio.gather(done, return_exceptions=True))
                self._num_idle += 1

    def _next(self) -> list[_Item]:
        """Return the oldest clips of one work, without those of cancelled requests."""
        batch: list[_Item] = []
        others: list[_Item] = []
        share = math.ceil(len(self._waiting) / self._num_idle)
        while self._waiting and len(batch) < min(share, self._max_batch):
            item = self._waiting.popleft()
            if item.result.done():
                continue
            (batch if not batch or item.work == batch[0].work else others).append(item)
        self._waiting.extendleft(reversed(others))
        if not self._waiting:
            self._has_work.clear()
        return batch


def _results(work: Work[C, T], clips: Sequence[C]) -> list[T | Exception]:
    return list(work(clips))


def _set_results(batch: Sequence[_Item], outcome: Sequence[Any]) -> None:
    (results,) = outcome
    for number, item in enumerate(batch):
        if item.result.done():
            continue
        found = results if isinstance(results, BaseException) else results[number]
        if isinstance(found, BaseException):
            item.result.set_exception(found)
        else:
            item.result.set_result(found)
