"""What a decoder process does with audio that is still arriving: send samples as they are decoded.

While it decodes, a second thread takes whatever the service sends, so that a client can always go
on sending, also where nobody takes the samples for a while.
"""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Protocol

import numpy as np

from serct.data.decoding.arriving import ArrivingFile, ArrivingSource
from serct.data.decoding.libsndfile import Block
from serct.data.decoding.opus_packets import OPUS_RATE_HZ, ArrivingPackets
from serct.data.decoding.source import check_length
from serct.errors import AudioError
from serct.serving.decoding.messages import (
    MAX_PART_BYTES,
    Encoding,
    describe_failure,
    receive,
    send,
)


class _Arriving(Protocol):
    """Audio that one thread appends, and that `blocks` decodes."""

    def append(self, content: bytearray) -> None: ...

    def finish(self) -> None: ...

    def blocks(self) -> Iterator[Block]: ...

    @property
    def notes(self) -> tuple[str, ...]: ...


class _File:
    """A file that arrives; its notes are complete when its blocks are."""

    def __init__(self, name: str, max_duration_s: float) -> None:
        self._file = ArrivingFile()
        self._source = ArrivingSource(self._file, name, max_duration_s)
        self.append, self.finish = self._file.append, self._file.finish

    @property
    def notes(self) -> tuple[str, ...]:
        return self._source.notes

    def blocks(self) -> Iterator[Block]:
        with self._source.labelled():
            yield from self._source.blocks()


class _Packets(ArrivingPackets):
    """Packets of Opus that arrive; their limit is one of samples."""

    def __init__(self, name: str, max_duration_s: float) -> None:
        super().__init__()
        self._name, self._longest_s = name, max_duration_s

    notes: tuple[str, ...] = ()

    def blocks(self) -> Iterator[Block]:
        found = 0
        try:
            for block in super().blocks():
                found += len(block.frames)
                check_length(found, OPUS_RATE_HZ, self._longest_s)
                yield block
        except AudioError as error:
            raise AudioError(f"{self._name}: {error}") from error


_FORMS: dict[Encoding, Callable[[str, float], _Arriving]] = {"file": _File, "opus": _Packets}


def decode_stream(connection: socket.socket, header: dict[str, Any]) -> None:
    """Decode what arrives, and send it: blocks of samples, then the end or a problem.

    Args:
        connection: To the service.
        header: Of the message that asked for it, with ``encoding``, ``name`` and
            ``max_duration_s``.
    """
    arriving = _FORMS[header["encoding"]](header["name"], header["max_duration_s"])
    threading.Thread(target=_take_all, args=(connection, arriving), daemon=True).start()
    last: dict[str, Any]
    try:
        for block in arriving.blocks():
            frames = np.ascontiguousarray(block.frames, "<f4")
            send(
                connection,
                {"sample_rate": block.sample_rate, "num_channels": frames.shape[1]},
                frames,
            )
        last = {"is_end": True, "notes": arriving.notes}
    except BrokenPipeError:
        return  # the service has what it wants
    except Exception as error:  # whatever a decoder raises, the audio is at fault
        last = describe_failure(error)
    with suppress(OSError):
        send(connection, last)


def _take_all(connection: socket.socket, arriving: _Arriving) -> None:
    """Append every part that the service sends; end the process when the service is gone."""
    try:
        while True:
            header, content = receive(connection, MAX_PART_BYTES)
            if header.get("is_end"):
                arriving.finish()
                return
            arriving.append(content)
    except (EOFError, OSError, ValueError):
        # Whoever decodes may wait for bytes that never come.
        os._exit(0)
