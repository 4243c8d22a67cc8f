"""A process that decodes clients' files, as the service sees it."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from serct.errors import AudioError, SerctError
from serct.runtime.arrays import Floats
from serct.serving.decoding.decoder import MAX_SAMPLES
from serct.serving.decoding.messages import MAX_PART_BYTES, Encoding, head_of, receive_async

logger = logging.getLogger("serct.serving")

_MAX_BYTES = 4 * MAX_SAMPLES
# What a C library leaks with a broken file counts as what it leaks with so many others.
_REFUSED_COUNTS = 4
# Of a reply that are read at once: two seconds of most recordings.
_BUFFER_BYTES = 2**19
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


class DecodedBlock(NamedTuple):
    """A piece of a recording that is still arriving.

    Attributes:
        frames: Samples as decoded, full scale = 1. float32 [n, channels], n > 0
        sample_rate: In Hz.
    """

    frames: Floats
    sample_rate: int


class LostError(Exception):
    """A process ended, or sent what no decoder sends."""


class OutOfMemoryError(Exception):
    """A file needs more memory than a process may have."""


class TooSlowError(Exception):
    """A file takes longer than it may."""


class DecoderProcess:
    """One process, for one file at a time.

    Attributes:
        num_decoded: Files so far; one that was refused counts as four.
        is_ready: Whether it has started.
        is_free: Whether it may be given another file.
    """

    def __init__(self, function: str, memory_mb: float) -> None:
        """Start the process; it becomes ready in the background.

        Raises:
            SerctError: If no process can be started.
        """
        self.num_decoded = 0
        self.is_ready = self.is_free = False
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            # Decoding uses no threads of numpy; each would cost memory.
            "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._connection, other = socket.socketpair()
        command = [
            sys.executable, "-P", "-m", "serct.serving.decoding.decoder", str(other.fileno()),
            function, str(memory_mb), str(os.getpid()),
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

    async def wait_until_ready(self) -> None:
        """Wait until the process has started.

        Raises:
            LostError: If it ends instead.
        """
        if self.is_ready:
            return
        self._reader, self._writer = await asyncio.open_connection(
            sock=self._connection, limit=_BUFFER_BYTES
        )
        await self.receive()
        self.is_ready = True

    async def decode(self, content: bytes, name: str, max_duration_s: float) -> DecodedAudio:
        """Decode a file in a process that is ready; waits as long as it takes.

        Raises:
            AudioError: If the process refuses the file.
            OutOfMemoryError: If the file needs too much memory.
            LostError: If the process ends.
        """
        self.num_decoded += 1
        self.is_free = False
        await self.send({"name": name, "max_duration_s": max_duration_s}, content)
        header, samples = await self.receive()
        self.is_free = True
        if "sample_rate" not in header:
            self.num_decoded += _REFUSED_COUNTS - 1
        _check(header, name)
        try:
            rate, notes = int(header["sample_rate"]), tuple(map(str, header["notes"]))
            return DecodedAudio(np.frombuffer(samples, "<f4"), rate, notes)
        except (KeyError, TypeError, ValueError) as error:
            raise LostError from error

    async def begin(
        self, name: str, encoding: Encoding, max_duration_s: float, timeout_s: float
    ) -> "DecodingStream":
        """Let a process that is ready decode a stream, after which it ends.

        Args:
            name: What errors call it.
            encoding: What arrives.
            max_duration_s: Longest recording.
            timeout_s: Longest wait for a block, once all has arrived.

        Raises:
            LostError: If the process has ended.
        """
        header = {"encoding": encoding, "name": name, "max_duration_s": max_duration_s}
        await self.send(header, b"")
        return DecodingStream(self, name, timeout_s)

    async def send(self, header: Mapping[str, Any], content: bytes) -> None:
        """Send a message to a process that is ready, unless it has ended, as `receive` notices."""
        assert self._writer is not None  # noqa: S101  since it is ready
        with suppress(OSError):
            self._writer.writelines((head_of(header, len(content)), content))
            await self._writer.drain()

    async def receive(self) -> tuple[dict[str, Any], bytes]:
        """Wait for the next message.

        Raises:
            LostError: If the process ends, or sends what no decoder sends.
            OutOfMemoryError: If it says that it needs too much memory.
        """
        assert self._reader is not None  # noqa: S101  since it is ready
        try:
            header, content = await receive_async(self._reader, _MAX_BYTES)
        except (EOFError, OSError, ValueError) as error:
            raise LostError from error
        if header.get("is_out_of_memory"):
            raise OutOfMemoryError
        return header, content

    def kill(self) -> None:
        """End the process at once; who waits for a message gets a `LostError`."""
        self._process.kill()

    def close(self) -> None:
        """Give the connection up, from the thread of the event loop."""
        if self._writer is None:
            self._connection.close()
        else:
            self._writer.transport.abort()

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


class DecodingStream:
    """Audio that is decoded while it arrives: parts go in, and blocks come out in their order.

    One task may write while another reads. Iteration ends when all is decoded, and raises

    - `AudioError` if the audio is not usable,
    - `LostError`, `OutOfMemoryError` and `TooSlowError` if the process failed with it.

    Attributes:
        notes: What is unusual in the recording, a sentence each; complete after the last block.
    """

    def __init__(self, process: DecoderProcess, name: str, timeout_s: float) -> None:
        self.notes: tuple[str, ...] = ()
        self._process, self._name, self._timeout_s = process, name, timeout_s
        self._has_all = False

    async def write(self, content: bytes) -> None:
        """Hand over the next part of a file, or the next packet."""
        for first in range(0, len(content), MAX_PART_BYTES):
            part = content[first : first + MAX_PART_BYTES]
            await self._process.send({}, part)

    async def end(self) -> None:
        """Say that the last part was written."""
        self._has_all = True
        await self._process.send({"is_end": True}, b"")

    def __aiter__(self) -> "DecodingStream":
        """Return itself."""
        return self

    async def __anext__(self) -> DecodedBlock:
        """Return the next block."""
        try:
            # Before that, it waits for the client.
            async with asyncio.timeout(self._timeout_s if self._has_all else None):
                header, content = await self._process.receive()
        except TimeoutError as error:
            raise TooSlowError from error
        _check(header, self._name)
        try:
            if header.get("is_end"):
                self.notes = tuple(map(str, header["notes"]))
                raise StopAsyncIteration
            samples = np.frombuffer(content, "<f4").reshape(-1, int(header["num_channels"]))
            return DecodedBlock(samples, int(header["sample_rate"]))
        except (KeyError, TypeError, ValueError) as error:
            raise LostError from error


def _check(header: Mapping[str, Any], name: str) -> None:
    if problem := header.get("problem"):
        raise AudioError(str(problem))
    if fault := header.get("fault"):
        logger.warning("a decoder failed with %s", fault)
        raise AudioError(f"{name}: could not be decoded: the decoder failed ({fault})")
