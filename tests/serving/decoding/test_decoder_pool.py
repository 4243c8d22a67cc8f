"""A file that ends its decoder costs one request; no process is left behind."""

import asyncio
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import psutil
import pytest
import soundfile

from serct.errors import AudioError, SerctError
from serct.serving.decoding.pool import DecoderPool
from serct.serving.decoding.process import DecodedAudio
from tests.conftest import ROOT
from tests.serving.decoding import hostile_decoder
from tests.serving.decoding.hostile_decoder import file


def wav(samples: np.ndarray, rate: int = 16_000) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV")
    return buffer.getvalue()


GOOD = wav(np.linspace(-1, 1, 1000))


def decoders() -> list[psutil.Process]:
    """Return the decoding processes of this process, zombies too."""
    return [child for child in psutil.Process().children() if is_decoder(child)]


def is_decoder(process: psutil.Process) -> bool:
    try:
        command = process.cmdline()
    except psutil.ZombieProcess:
        return True
    except psutil.NoSuchProcess:
        return False
    # One that is about to end has lost its command line before it is a zombie.
    return not command or "serct.serving.decoding.decoder" in command


def with_pool(
    work: Callable[[DecoderPool], Awaitable[Any]], num_processes: int = 1, **more: Any
) -> Any:
    """Let a pool with the hostile decoder do some work, and check that it leaves no process."""

    async def main() -> Any:
        options = {"memory_mb": 300.0, "timeout_s": 20.0, "function": hostile_decoder.decode}
        pool = DecoderPool(num_processes, **(options | more))
        try:
            return await work(pool)
        finally:
            await pool.close()

    try:
        return anyio.run(main)
    finally:
        assert decoders() == []


def test_samples_come_back_whole() -> None:
    stereo = np.random.default_rng(0).uniform(-1, 1, (1_000_000, 2))

    async def work(pool: DecoderPool) -> DecodedAudio:
        return await pool.decode(wav(stereo, 48_000), "a.wav", 60.0)

    found = with_pool(work)
    assert (found.sample_rate, found.notes) == (48_000, ())
    np.testing.assert_allclose(found.waveform, stereo.mean(axis=1), atol=1e-4)


async def decode_stream(
    pool: DecoderPool, parts: Iterable[bytes], **more: Any
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Send parts while another task takes the blocks; return all frames and notes."""
    async with pool.open_stream("call.wav", **more) as stream:

        async def send() -> None:
            for part in parts:
                await stream.write(part)
            await stream.end()

        sending = asyncio.create_task(send())
        try:
            frames = [block.frames async for block in stream]
        finally:
            sending.cancel()
        return np.concatenate(frames), stream.notes


def test_a_stream_is_decoded_while_it_arrives() -> None:
    stereo = np.random.default_rng(0).uniform(-1, 1, (1_000_000, 2))
    content = wav(stereo, 48_000)

    async def work(pool: DecoderPool) -> None:
        parts = [content[first : first + 65_536] for first in range(0, len(content), 65_536)]
        frames, notes = await decode_stream(pool, parts)
        np.testing.assert_allclose(frames, stereo, atol=1e-4)
        assert notes == ()
        with pytest.raises(AudioError, match=r"^call\.wav: longer than the 3 s expected at most"):
            await decode_stream(pool, parts, max_duration_s=3.0)
        with pytest.raises(AudioError, match=r"^call\.wav: cut off, found"):
            await decode_stream(pool, parts[:-1])
        with pytest.raises(AudioError, match=r"^call\.wav: packet 1 of Opus is damaged"):
            await decode_stream(pool, [b"\xff" * 20], encoding="opus")

    with_pool(work)


def test_samples_of_a_stream_come_before_its_end() -> None:
    async def work(pool: DecoderPool) -> None:
        content = wav(np.linspace(-1, 1, 200_000))
        async with pool.open_stream("call.wav") as stream:
            await stream.write(content[:200_000])
            assert len((await anext(stream)).frames) > 0
            # A client that leaves: the process is ended although it waits for more.

    with_pool(work)


@pytest.mark.slow
def test_a_stream_that_ends_its_decoder_is_an_error_of_its_own() -> None:
    lost: list[str] = []

    async def kill(pool: DecoderPool, number: int) -> None:
        async with pool.open_stream("call.wav") as stream:
            await stream.write(GOOD)
            decoders()[0].send_signal(number)
            await stream.end()
            async for _ in stream:
                pass

    async def work(pool: DecoderPool) -> None:
        with pytest.raises(AudioError, match=r"call.wav: .* the decoder crashed \(SIGABRT\)"):
            await kill(pool, signal.SIGABRT)
        with pytest.raises(SerctError, match=r"call.wav: the decoder was ended from outside"):
            await kill(pool, signal.SIGKILL)
        with pytest.raises(AudioError, match=r"call.wav: .* it takes longer than 0\.5 s"):
            await kill(pool, signal.SIGSTOP)

    with_pool(work, timeout_s=0.5, on_lost=lost.append)
    assert lost == ["crash", "timeout"]


def slow(*values: object) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("deed", "cause", "problem"),
    [
        ("signal 11", "crash", "the decoder crashed (SIGSEGV)"),
        slow("signal 6", "crash", "the decoder crashed (SIGABRT)"),
        slow("exit 3", "crash", "the decoder crashed (exit code 3)"),
        slow("exit 0", "crash", "the decoder crashed (exit code 0)"),
        slow("sleep 60", "timeout", "it takes longer than 0.5 s"),
        ("spin", "timeout", "it takes longer than 0.5 s"),
        ("eat", "memory", "it needs more than 300 MB of memory"),
    ],
)
def test_what_ends_a_decoder_costs_one_file(deed: str, cause: str, problem: str) -> None:
    causes: list[str] = []

    async def work(pool: DecoderPool) -> None:
        await pool.start()
        with pytest.raises(AudioError) as error:
            await pool.decode(file(deed), "a.wav", 60.0)
        assert str(error.value) == f"a.wav: could not be decoded: {problem}"
        assert decoders() == []
        assert len((await pool.decode(GOOD, "b.wav", 60.0)).waveform) == 1000

    with_pool(work, timeout_s=0.5 if cause == "timeout" else 20.0, on_lost=causes.append)
    assert causes == [cause]


def test_a_decoder_that_raises_goes_on() -> None:
    async def work(pool: DecoderPool) -> None:
        await pool.start()
        before = decoders()
        with pytest.raises(AudioError) as error:
            await pool.decode(file("raise"), "a.wav", 60.0)
        expected = "a.wav: could not be decoded: the decoder failed (IndexError)"
        assert str(error.value) == expected
        with pytest.raises(AudioError, match=r"^a: not readable as audio"):
            await pool.decode(b"x", "a", 60.0)
        assert decoders() == before

    with_pool(work)


@pytest.mark.slow
def test_nothing_a_decoder_sends_is_trusted() -> None:
    async def work(pool: DecoderPool) -> None:
        with pytest.raises(SerctError, match=r"^a: the decoder was ended from outside; retry"):
            await pool.decode(file("garbage"), "a", 60.0)

    with_pool(work)


@pytest.mark.slow
def test_others_in_flight_are_not_touched() -> None:
    files = [file("signal 11"), GOOD, file("sleep 0.3"), file("exit 1"), GOOD, file("eat"), GOOD]
    outcomes: dict[int, str] = {}

    async def work(pool: DecoderPool) -> None:
        async def one(number: int) -> None:
            try:
                await pool.decode(files[number], "a", 60.0)
                outcomes[number] = "decoded"
            except AudioError as error:
                outcomes[number] = str(error)

        async with anyio.create_task_group() as group:
            for number in range(len(files)):
                group.start_soon(one, number)

    with_pool(work, num_processes=3)
    assert [outcomes[number] == "decoded" for number in range(len(files))] == [
        content in (GOOD, file("sleep 0.3")) for content in files
    ]


@pytest.mark.slow
def test_one_that_others_end_is_replaced() -> None:
    async def work(pool: DecoderPool) -> None:
        await pool.start()
        (idle,) = decoders()
        idle.send_signal(signal.SIGTERM)  # as process managers do, while requests are open
        await pool.decode(GOOD, "a", 60.0)
        assert decoders() == [idle]
        idle.kill()
        await pool.decode(GOOD, "a", 60.0)

        async def kill_soon() -> None:
            await anyio.sleep(0.3)
            decoders()[0].kill()

        async with anyio.create_task_group() as group:
            group.start_soon(kill_soon)
            assert await pool.decode(file("sleep 0.6"), "a", 60.0)

    with_pool(work)


@pytest.mark.slow
def test_a_request_that_is_given_up_ends_its_decoder() -> None:
    async def work(pool: DecoderPool) -> None:
        started = time.perf_counter()
        with anyio.move_on_after(0.5):
            await pool.decode(file("sleep 60"), "a", 60.0)
        assert time.perf_counter() - started < 5
        assert decoders() == []

    with_pool(work)


def test_processes_are_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serct.serving.decoding.pool._MAX_DECODED", 2)

    async def work(pool: DecoderPool) -> list[int]:
        return [len((await pool.decode(file("pid"), "a", 9.0)).waveform) for _ in range(4)]

    first, second, third, fourth = with_pool(work)
    assert first == second != third == fourth


@pytest.mark.slow
def test_a_decoder_that_cannot_start_is_the_services_fault() -> None:
    def local(*_: Any) -> Any:
        """No process can import this."""

    async def work(pool: DecoderPool) -> None:
        for attempt in (pool.start(), pool.decode(GOOD, "a", 60.0)):
            with pytest.raises(SerctError, match="the decoder does not start, see the log"):
                await attempt

    with_pool(work, function=local)


def test_a_decoder_imports_little() -> None:
    code = "import sys, serct.serving.decoding.decoder; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    heavy = {"torch", "fastapi", "mlflow", "onnxruntime", "pandas", "scipy", "librosa"}
    assert heavy & set(result.stdout.split()) == set()


@pytest.fixture
def parent(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process whose decoder hangs."""
    code = f"""
import anyio
from serct.serving.decoding.pool import DecoderPool
from tests.serving.decoding.hostile_decoder import decode
async def main():
    pool = DecoderPool(1, 300.0, 60.0, decode)
    await pool.start()
    print("started", flush=True)
    await pool.decode({file("spin")!r}, "a", 60.0)
anyio.run(main)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},  # of the decoder too
    )
    yield process
    process.kill()
    process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_decoder_outlives_its_service(parent: "subprocess.Popen[str]", number: int) -> None:
    assert parent.stdout is not None
    assert parent.stdout.readline() == "started\n"
    time.sleep(0.3)  # until it hangs
    (child,) = psutil.Process(parent.pid).children()
    parent.send_signal(number)
    parent.wait(10)
    child.wait(5)
