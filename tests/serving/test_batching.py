"""Every clip gets its own prediction from its own model, whatever else is in its batch."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from serct.serving.batching import Batcher


class Echo:
    """Returns a clip's first sample and the model's name; waits while the gate is closed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sizes: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def predict_prepared(self, clips: list[np.ndarray]) -> list[dict[str, Any]]:
        self.gate.wait(10)
        self.sizes.append(len(clips))
        if any(clip[0] < 0 for clip in clips):
            raise ValueError("negative")
        return [{"model": self.name, "value": int(clip[0])} for clip in clips]


def clip(value: int) -> np.ndarray:
    return np.array([value], np.int16)


def run(scenario: Any, max_batch: int = 4, num_workers: int = 1) -> Any:
    async def main() -> Any:
        batcher = Batcher(max_batch, num_workers=num_workers)
        task = asyncio.create_task(batcher.run())
        try:
            return await asyncio.wait_for(scenario(batcher), 20)
        finally:
            task.cancel()

    return asyncio.run(main())


def test_every_request_gets_its_own_predictions() -> None:
    one, other = Echo("one"), Echo("other")

    async def scenario(batcher: Batcher) -> None:
        async def request(number: int) -> None:
            model = one if number % 3 else other
            values = [10 * number, 10 * number + 1]
            found = await batcher.compute(model.predict_prepared, [clip(value) for value in values])
            assert found == [{"model": model.name, "value": value} for value in values]

        await asyncio.gather(*(request(number) for number in range(40)))

    run(scenario)
    assert sum(one.sizes) + sum(other.sizes) == 80
    assert max(one.sizes + other.sizes) == 4


def test_batches_gather_while_the_model_is_busy() -> None:
    model = Echo("one")
    model.gate.clear()

    async def scenario(batcher: Batcher) -> None:
        first = asyncio.create_task(batcher.compute(model.predict_prepared, [clip(0)]))
        await asyncio.sleep(0.05)
        rest = [
            asyncio.create_task(batcher.compute(model.predict_prepared, [clip(n)]))
            for n in range(1, 9)
        ]
        await asyncio.sleep(0.05)
        assert batcher.num_waiting == 8
        model.gate.set()
        await asyncio.gather(first, *rest)

    run(scenario)
    assert model.sizes == [1, 4, 4]


def test_an_error_reaches_its_request_and_the_next_one_succeeds() -> None:
    model = Echo("one")

    async def scenario(batcher: Batcher) -> None:
        with pytest.raises(ValueError, match="negative"):
            await batcher.compute(model.predict_prepared, [clip(-1)])
        assert (await batcher.compute(model.predict_prepared, [clip(5)]))[0]["value"] == 5
        assert await batcher.compute(model.predict_prepared, []) == []

    run(scenario)


def test_a_cancelled_request_is_not_computed() -> None:
    model = Echo("one")
    model.gate.clear()

    async def scenario(batcher: Batcher) -> None:
        first = asyncio.create_task(batcher.compute(model.predict_prepared, [clip(0)]))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(batcher.compute(model.predict_prepared, [clip(1), clip(2)]))
        third = asyncio.create_task(batcher.compute(model.predict_prepared, [clip(3)]))
        await asyncio.sleep(0.05)
        second.cancel()
        await asyncio.sleep(0)
        model.gate.set()
        await asyncio.gather(first, third)

    run(scenario)
    assert model.sizes == [1, 1]


def test_an_error_in_place_of_a_result_is_that_of_its_clip_alone() -> None:
    def work(clips: Sequence[int]) -> list[int | Exception]:
        return [ValueError("odd") if clip % 2 else clip for clip in clips]

    async def scenario(batcher: Batcher) -> None:
        found = await asyncio.gather(
            *(batcher.compute(work, [number]) for number in range(4)), return_exceptions=True
        )
        assert found[0::2] == [[0], [2]]
        assert [str(each) for each in found[1::2]] == ["odd", "odd"]

    run(scenario)


def test_free_workers_share_what_waits() -> None:
    model = Echo("one")
    at_once = threading.Barrier(2)

    def work(clips: list[np.ndarray]) -> list[dict[str, Any]]:
        at_once.wait(10)  # until both workers are here
        return model.predict_prepared(clips)

    async def scenario(batcher: Batcher) -> None:
        found = await batcher.compute(work, [clip(number) for number in range(6)])
        assert [each["value"] for each in found] == list(range(6))

    run(scenario, max_batch=16, num_workers=2)
    assert model.sizes == [3, 3]
