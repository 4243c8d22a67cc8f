"""Requests from many clients, and what servers spend on them, for other benchmarks."""

import asyncio
import statistics
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import psutil

Post = Callable[[aiohttp.ClientSession], Any]


def form(content: bytes) -> aiohttp.FormData:
    data = aiohttp.FormData()
    data.add_field("files", content, filename="clip.wav")
    return data


async def saturate(
    post: Post,
    clients: int,
    seconds: float,
    answers: list[tuple[int, dict[str, Any]]] | None = None,
) -> dict[str, float]:
    """Let each client send its next request as soon as it has a response."""
    took: list[float] = []
    failed = 0
    until = time.perf_counter() + seconds

    async def client(session: aiohttp.ClientSession) -> None:
        nonlocal failed
        while time.perf_counter() < until:
            started = time.perf_counter()
            try:
                async with post(session) as answer:
                    status, body = answer.status, await answer.json()
            except aiohttp.ClientError:
                failed += 1
                continue
            took.append(time.perf_counter() - started)
            failed += status != 200
            if answers is not None:
                answers.append((status, body))

    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        started = time.perf_counter()
        await asyncio.gather(*(client(session) for _ in range(clients)))
        elapsed = time.perf_counter() - started
    ordered = sorted(took)
    return {
        "requests": len(took),
        "requests_per_s": len(took) / elapsed,
        "p50_ms": 1000 * statistics.median(ordered),
        "p99_ms": 1000 * ordered[int(0.99 * (len(ordered) - 1))],
        "failed": failed,
    }


class Usage:
    """What a process and those that it started have used."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)

    def cpu_s(self) -> float:
        """Processor time so far, with that of processes that have ended."""
        total = 0.0
        for process in self._all():
            try:
                total += sum(process.cpu_times()[:4])
            except psutil.Error:
                continue  # ended just now
        return total

    def memory_mb(self) -> list[float]:
        """Memory of each process that no other shares, or all of it where that is not known."""
        found = []
        for process in self._all():
            try:
                found.append(process.memory_full_info().uss / 1e6)
            except psutil.Error:
                continue
        return found

    def _all(self) -> list[psutil.Process]:
        return [self._root, *self._root.children(recursive=True)]
