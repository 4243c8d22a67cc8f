"""Processes that decode clients' files, and are replaced when a file ends them."""

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import anyio
import numpy as np

from serct.errors import AudioError, SerctError
from serct.runtime.arrays import Floats
from serct.serving.decoder import MAX_SAMPLES, DecodeFunction, decode, receive, send

logger = logging.getLogger("serct.serving")

# What a C library leaks with every broken file must not add up to the memory limit.
_MAX_DECODED = 500
_MAX_BYTES = 4 * MAX_SAMPLES
# Time to end by itself, before it is killed.
_END_S = 0.5


class DecodedAudio(NamedTuple):
    """A decoded recording.

    Attributes:
        waveform: Mono, in [-1, 1]. float32 [N]
        sample_rate: In Hz.
        notes: What was done to make the file usable, a sentence each.
    """

    waveform: Floats
    sample_rate: int
    notes: tuple[str, ...] = ()


class _LostError(Exception):
    """A process ended, or sent what no decoder sends."""


class _OutOfMemoryError(Exception):
    """A file needs more memory than a process may have."""


class _Decoder:
    """One process, for one file at a time.

    Attributes:
        num_decoded: Files so far.
        is_ready: Whether it has started.
    """

    def __init__(self, function: str, memory_mb: float) -> None:
        """Start the process; it becomes ready in the background.

        Raises:
            SerctError: If no process can be started.
        """
        self.num_decoded = 0
        self.is_ready = False
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            # Decoding uses no threads of numpy; each would cost memory.
            "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        self._connection, other = socket.socketpair()
        command = [
            sys.executable, "-P", "-m", "serct.serving.decoder", str(other.fileno()), function,
            str(memory_mb), str(os.getpid()),
        ]  # fmt: skip
        try:
            with other:
                self._process = subprocess.Popen(
                    command, pass_fds=[other.fileno()], env=environment, stdin=subprocess.DEVNULL
                )
        except OSError as error:
            self._connection.close()
            raise SerctError(f"no decoder can be started: {error.strerror}") from error

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def wait_until_ready(self) -> None:
        """Wait until the process has started.

        Raises:
            _LostError: If it ends instead.
        """
        if not self.is_ready:
            self._receive()
            self.is_ready = True

    def decode(self, content: bytes, name: str, max_duration_s: float) -> DecodedAudio:
        """Decode a file in a process that is ready; waits as long as it takes.

        Raises:
            AudioError: If the process refuses the file.
            _OutOfMemoryError: If the file needs too much memory.
            _LostError: If the process ends.
        """
        self.num_decoded += 1
        with suppress(OSError):  # the process has ended, as `_receive` notices
            send(self._connection, {"name": name, "max_duration_s": max_duration_s}, content)
        header, samples = self._receive()
        if header.get("is_out_of_memory"):
            raise _OutOfMemoryError
        if problem := header.get("problem"):
            raise AudioError(str(problem))
        if fault := header.get("fault"):
            logger.warning("a decoder failed with %s", fault)
            raise AudioError(f"{name}: could not be decoded: the decoder failed ({fault})")
        try:
            rate, notes = int(header["sample_rate"]), tuple(map(str, header["notes"]))
            return DecodedAudio(np.frombuffer(samples, "<f4"), rate, notes)
        except (KeyError, TypeError, ValueError) as error:
            raise _LostError from error

    def _receive(self) -> tuple[dict[str, Any], bytearray]:
        try:
            return receive(self._connection, _MAX_BYTES)
        except (EOFError, OSError, ValueError) as error:
            raise _LostError from error

    def kill(self) -> None:
        """End the process at once; a thread that waits in `decode` gets a `_LostError`."""
        with suppress(OSError):  # ended by itself
            self._connection.shutdown(socket.SHUT_RDWR)
        self._process.kill()

    def wait_for_end(self) -> int:
        """Wait until the process has ended; kill it if it does not.

        Returns:
            The exit code; if negative, the number of the signal that ended it.
        """
        try:
            return self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()
        finally:
            self._connection.close()


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
        # Twice as many, since a thread that was given up ends a little later.
        self._threads = anyio.CapacityLimiter(2 * num_processes)
        self._idle: list[_Decoder] = []
        self._all: set[_Decoder] = set()
        self._is_closed = False

    async def start(self) -> None:
        """Start the first process.

        Raises:
            SerctError: If it does not start.
        """
        decoder = self._start_one()
        try:
            await anyio.to_thread.run_sync(decoder.wait_until_ready)
        except _LostError as error:
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
                with suppress(_LostError):
                    return await self._decode_once(content, name, max_duration_s)
        raise SerctError(f"{name}: the decoder was ended from outside; retry")

    async def _decode_once(self, content: bytes, name: str, max_duration_s: float) -> DecodedAudio:
        """Decode in one process, and replace it unless it may decode another file.

        Raises:
            _LostError: If the process was killed, which no file does.
        """
        decoder = self._take()
        may_go_on = False
        try:
            if not decoder.is_ready:
                await anyio.to_thread.run_sync(
                    decoder.wait_until_ready, abandon_on_cancel=True, limiter=self._threads
                )
            with anyio.fail_after(self._timeout_s):
                found = await anyio.to_thread.run_sync(
                    decoder.decode, content, name, max_duration_s,
                    abandon_on_cancel=True, limiter=self._threads,
                )  # fmt: skip
            may_go_on = True
            return found
        except AudioError:
            may_go_on = True
            raise
        except TimeoutError as error:
            problem = f"it takes longer than {self._timeout_s:g} s"
            raise self._lost("timeout", name, problem) from error
        except _OutOfMemoryError as error:
            problem = f"it needs more than {self._memory_mb:g} MB of memory"
            raise self._lost("memory", name, problem) from error
        except _LostError as error:
            code = await anyio.to_thread.run_sync(decoder.wait_for_end)
            if code == -signal.SIGKILL:
                raise
            if not decoder.is_ready:
                raise SerctError("the decoder does not start, see the log") from error
            problem = f"the decoder crashed ({_describe_end(code)})"
            raise self._lost("crash", name, problem) from error
        finally:
            if may_go_on and decoder.num_decoded < _MAX_DECODED and not self._is_closed:
                self._idle.append(decoder)
            else:
                await self._end(decoder)

    def _lost(self, cause: str, name: str, problem: str) -> AudioError:
        logger.warning("a decoder was replaced: %s", problem)
        self._on_lost(cause)
        return AudioError(f"{name}: could not be decoded: {problem}")

    def _take(self) -> _Decoder:
        while self._idle:
            decoder = self._idle.pop()
            if decoder.is_running:
                return decoder
            self._all.discard(decoder)
            decoder.wait_for_end()
        return self._start_one()

    def _start_one(self) -> _Decoder:
        # In the thread of the event loop: on Linux a process ends with the thread that started it.
        decoder = _Decoder(self._function, self._memory_mb)
        self._all.add(decoder)
        return decoder

    async def _end(self, decoder: _Decoder) -> None:
        decoder.kill()  # now: this task may be cancelled again while it waits
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(decoder.wait_for_end)
        self._all.discard(decoder)


def _describe_end(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
