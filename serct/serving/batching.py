"""Micro-batches: clips of requests that come together are answered together."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from serct.inference.predictor import Answer
from serct.runtime.arrays import Pcm
from serct.serving.models import Loaded


@dataclass(frozen=True, eq=False)
class _Item:
    model: Loaded
    clip: Pcm
    answer: asyncio.Future[Answer]


class Batcher:
    """Answers for clips, as many at once as are waiting; nothing ever waits for company.

    While the model is busy with a batch the next one gathers, so batches grow with the load and
    a lone clip is answered at once. All clips of a batch are for the same model.
    """

    def __init__(self, max_batch: int, on_batch: Callable[[int], object] = lambda size: None):
        """Make one; `run` must run for it to answer.

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
        """How many clips wait."""
        return len(self._waiting)

    async def answer(self, model: Loaded, clips: Sequence[Pcm]) -> list[Answer]:
        """Wait for the answers to clips."""
        loop = asyncio.get_running_loop()
        items = [_Item(model, clip, loop.create_future()) for clip in clips]
        self._waiting.extend(items)
        self._has_work.set()
        return list(await asyncio.gather(*(item.answer for item in items)))

    async def run(self) -> None:
        """Answer until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._has_work.wait()
                batch = self._next()
                if batch:
                    self._on_batch(len(batch))
                    clips = [item.clip for item in batch]
                    work = loop.run_in_executor(
                        self._thread, batch[0].model.predictor.answer, clips
                    )
                    _tell(batch, await asyncio.gather(work, return_exceptions=True))
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    def _next(self) -> list[_Item]:
        """Take the oldest clips that are for one model; whoever gave up is left out."""
        batch: list[_Item] = []
        others: list[_Item] = []
        while self._waiting and len(batch) < self._max_batch:
            item = self._waiting.popleft()
            if item.answer.done():
                continue
            (batch if not batch or item.model is batch[0].model else others).append(item)
        self._waiting.extendleft(reversed(others))
        if not self._waiting:
            self._has_work.clear()
        return batch


def _tell(batch: Sequence[_Item], outcome: Sequence[list[Answer] | BaseException]) -> None:
    (answers,) = outcome
    for number, item in enumerate(batch):
        if item.answer.done():
            continue
        if isinstance(answers, BaseException):
            item.answer.set_exception(answers)
        else:
            item.answer.set_result(answers[number])
