"""Processes that decode clients' files, and are replaced when a file ends them."""

import asyncio
import logging
import math
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import anyio

from serct.errors import AudioError, SerctError
from serct.serving.decoding.decoder import DecodeFunction, decode
from serct.serving.decoding.messages import Encoding
from serct.serving.decoding.process import (
    DecodedAudio,
    DecoderProcess,
    DecodingStream,
    LostError,
    OutOfMemoryError,
    TooSlowError,
)

logger = logging.getLogger("serct.serving")

# What a C library leaks with every file must not add up to the memory limit. A new process costs as
# much as hundreds of files.
_MAX_DECODED = 2000


class DecoderPool:
    """Decodes files in processes of its own.

    A file that crashes or exhausts a process, or takes too long, costs its own request alone.
    """

    def __init__(
        self,
        num_processes: int,
        memory_mb: float,
        timeout_s: float,
        function: DecodeFunction = decode,
        on_lost: Callable[[str], object] = lambda cause: None,
    ) -> None:
        """Create a pool; it starts processes as they are needed.

        Args:
            num_processes: Files at once.
            memory_mb: Memory of one process beyond what it needs without a file.
            timeout_s: Longest time for one file.
            function: Decodes a file; the processes import it by its name.
            on_lost: Called with "crash", "memory" or "timeout" when a file ended a process.
        """
        self._memory_mb, self._timeout_s = memory_mb, timeout_s
        self._function = f"{function.__module__}:{function.__qualname__}"
        self._on_lost = on_lost
        self._slots = anyio.CapacityLimiter(num_processes)
        self._idle: list[DecoderProcess] = []
        self._all: set[DecoderProcess] = set()
        self._is_closed = False

    async def start(self) -> None:
        """Start the first process.

        Raises:
            SerctError: If it does not start.
        """
        decoder = self._start_one()
        try:
            await decoder.wait_until_ready()
        except LostError as error:
            await self._end(decoder)
            raise SerctError("the decoder does not start, see the log") from error
        self._idle.append(decoder)

    async def close(self) -> None:
        """End all processes."""
        self._is_closed = True
        self._idle.clear()
        for decoder in list(self._all):
            await self._end(decoder)

    async def decode(self, content: bytes, name: str, max_duration_s: float) -> DecodedAudio:
        """Decode a file.

        Args:
            content: The file.
            name: What errors call it.
            max_duration_s: Longest recording.

        Raises:
            AudioError: If the file is not usable audio, crashes the decoder, needs too much memory
                or takes too long.
            SerctError: If the decoder is ended by others, again and again.
        """
        async with self._slots:
            for _ in range(2):
                with suppress(LostError):
                    return await self._decode_once(content, name, max_duration_s)
        raise SerctError(f"{name}: the decoder was ended from outside; retry")

    async def _decode_once(self, content: bytes, name: str, max_duration_s: float) -> DecodedAudio:
        """Decode in one process.

        Raises:
            LostError: If the process was killed, which no file does.
        """
        async with self._process(name) as decoder:
            try:
                async with asyncio.timeout(self._timeout_s):
                    return await decoder.decode(content, name, max_duration_s)
            except TimeoutError as error:
                raise TooSlowError from error

    @asynccontextmanager
    async def open_stream(
        self, name: str, encoding: Encoding = "file", max_duration_s: float = math.inf
    ) -> AsyncIterator[DecodingStream]:
        """Decode audio while it arrives, in a process of its own.

        Args:
            name: What errors call it.
            encoding: "file": a file in parts of any size. "opus": packets of Opus, one by one.
            max_duration_s: Longest recording.

        Raises:
            AudioError: If it is not usable audio, crashes the decoder, needs too much memory or
                takes too long.
            SerctError: If the decoder is ended by others.
        """
        try:
            async with self._slots, self._process(name) as decoder:
                yield await decoder.begin(name, encoding, max_duration_s, self._timeout_s)
        except LostError as error:
            raise SerctError(f"{name}: the decoder was ended from outside; retry") from error

    @asynccontextmanager
    async def _process(self, name: str) -> AsyncIterator[DecoderProcess]:
        """Lend a process that is ready; replace it unless it may be given another file.

        Raises:
            AudioError: If the file, called ``name``, has made it fail.
            LostError: If it was killed, which no file does.
            SerctError: If it does not start.
        """
        decoder = self._take()
        try:
            await decoder.wait_until_ready()
            yield decoder
        except TooSlowError as error:
            problem = f"it takes longer than {self._timeout_s:g} s"
            raise self._lost("timeout", name, problem) from error
        except OutOfMemoryError as error:
            problem = f"it needs more than {self._memory_mb:g} MB of memory"
            raise self._lost("memory", name, problem) from error
        except LostError as error:
            code = await anyio.to_thread.run_sync(decoder.wait_for_end)
            if code == -signal.SIGKILL:
                raise
            if not decoder.is_ready:
                raise SerctError("the decoder does not start, see the log") from error
            problem = f"the decoder crashed ({_describe_end(code)})"
            raise self._lost("crash", name, problem) from error
        finally:
            is_fresh = decoder.num_decoded < _MAX_DECODED
            if decoder.is_free and is_fresh and not self._is_closed:
                self._idle.append(decoder)
            else:
                await self._end(decoder)

    def _lost(self, cause: str, name: str, problem: str) -> AudioError:
        logger.warning("a decoder was replaced: %s", problem)
        self._on_lost(cause)
        return AudioError(f"{name}: could not be decoded: {problem}")

    def _take(self) -> DecoderProcess:
        while self._idle:
            decoder = self._idle.pop()
            if decoder.is_running:
                return decoder
            self._all.discard(decoder)
            decoder.close()
            decoder.wait_for_end()
        return self._start_one()

    def _start_one(self) -> DecoderProcess:
        # In the thread of the event loop: on Linux a process ends with the thread that started it.
        decoder = DecoderProcess(self._function, self._memory_mb)
        self._all.add(decoder)
        return decoder

    async def _end(self, decoder: DecoderProcess) -> None:
        decoder.kill()  # now: this task may be cancelled again while it waits
        decoder.close()
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(decoder.wait_for_end)
        self._all.discard(decoder)


def _describe_end(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
