"""Micro-batches: the model predicts the clips of several requests together."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from serct.runtime.arrays import Pcm, Probabilities
from serct.serving.models import LoadedModel


@dataclass(frozen=True, eq=False)
class _Item:
    model: LoadedModel
    clip: Pcm
    result: asyncio.Future[Probabilities]


class Batcher:
    """Predicts clips, as many at once as are waiting.

    A clip never waits for a batch to fill. While the model computes a batch the next one gathers,
    so batches grow with the load. All clips of a batch are for the same model.
    """

    def __init__(self, max_batch: int, on_batch: Callable[[int], object] = lambda size: None):
        """Create a batcher; it predicts while `run` runs.

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

    async def predict(self, model: LoadedModel, clips: Sequence[Pcm]) -> list[Probabilities]:
        """Return the probabilities of prepared clips, in their order. float64 [K] each."""
        loop = asyncio.get_running_loop()
        items = [_Item(model, clip, loop.create_future()) for clip in clips]
        self._waiting.extend(items)
        self._has_work.set()
        return list(await asyncio.gather(*(item.result for item in items)))

    async def run(self) -> None:
        """Predict batches until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._has_work.wait()
                batch = self._next()
                if batch:
                    self._on_batch(len(batch))
                    clips = [item.clip for item in batch]
                    work = loop.run_in_executor(
                        self._thread, batch[0].model.predictor.predict_prepared, clips
                    )
                    _set_results(batch, await asyncio.gather(work, return_exceptions=True))
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    def _next(self) -> list[_Item]:
        """Return the oldest clips of one model, without those of cancelled requests."""
        batch: list[_Item] = []
        others: list[_Item] = []
        while self._waiting and len(batch) < self._max_batch:
            item = self._waiting.popleft()
            if item.result.done():
                continue
            (batch if not batch or item.model is batch[0].model else others).append(item)
        self._waiting.extendleft(reversed(others))
        if not self._waiting:
            self._has_work.clear()
        return batch


def _set_results(batch: Sequence[_Item], outcome: Sequence[Probabilities | BaseException]) -> None:
    (results,) = outcome
    for number, item in enumerate(batch):
        if item.result.done():
            continue
        if isinstance(results, BaseException):
            item.result.set_exception(results)
        else:
            item.result.set_result(results[number])
