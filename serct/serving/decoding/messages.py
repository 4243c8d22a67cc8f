"""Messages between the service and the processes that decode for it.

Both sides send a header in JSON, then bytes. What comes back is data and never code, since a
process that decoded a hostile file is not to be trusted.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from serct.errors import AudioError

# What may arrive in parts: a file as recorders write it, or packets of Opus without a container.
Encoding: TypeAlias = Literal["file", "opus"]
# Of one part.
MAX_PART_BYTES = 2**24
_SIZES = struct.Struct("<IQ")
_MAX_HEADER_BYTES = 100_000
_MAX_PROBLEM = 1000


def describe_failure(error: Exception) -> dict[str, Any]:
    """Return the header that says why there are no samples, or no more."""
    if isinstance(error, AudioError):
        return {"problem": str(error)[:_MAX_PROBLEM]}
    if isinstance(error, MemoryError):
        return {"is_out_of_memory": True}
    return {"fault": type(error).__name__}


def send(connection: socket.socket, header: Mapping[str, Any], payload: Any = b"") -> None:
    """Send a message: a header and any number of bytes.

    Raises:
        OSError: If the other side is gone.
    """
    view = memoryview(payload).cast("B")
    head = head_of(header, len(view))
    # Together, since the service wakes up for each part.
    num_sent = connection.sendmsg((head, view))
    connection.sendall(head[num_sent:])
    connection.sendall(view[max(0, num_sent - len(head)) :])


def head_of(header: Mapping[str, Any], size: int) -> bytes:
    """Return how a message begins that has so many bytes."""
    encoded = json.dumps(dict(header)).encode()
    return _SIZES.pack(len(encoded), size) + encoded


def receive(connection: socket.socket, max_bytes: int) -> tuple[dict[str, Any], bytearray]:
    """Wait for a message, and return its header and its bytes.

    Raises:
        EOFError: If the other side is gone.
        ValueError: If the message is larger than ``max_bytes`` or malformed.
    """
    header_size, size = _SIZES.unpack(_receive_exactly(connection, _SIZES.size))
    _check_sizes(header_size, size, max_bytes)
    header = _as_header(_receive_exactly(connection, header_size))
    return header, _receive_exactly(connection, size)


def _check_sizes(header_size: int, size: int, max_bytes: int) -> None:
    if header_size > _MAX_HEADER_BYTES or size > max_bytes:
        raise ValueError(f"a message of {header_size} and {size} bytes, expected fewer")


def _as_header(content: bytes | bytearray) -> dict[str, Any]:
    header = json.loads(content)
    if not isinstance(header, dict):
        raise ValueError("a message without a header")
    return header


def _receive_exactly(connection: socket.socket, size: int) -> bytearray:
    content = bytearray(size)
    view = memoryview(content)
    while len(view):
        num_received = connection.recv_into(view)
        if num_received == 0:
            raise EOFError
        view = view[num_received:]
    return content


async def receive_async(
    connection: asyncio.StreamReader, max_bytes: int
) -> tuple[dict[str, Any], bytes]:
    """Do what `receive` does, in the event loop.

    Raises:
        EOFError: If the other side is gone.
        ValueError: As `receive`.
    """
    header_size, size = _SIZES.unpack(await connection.readexactly(_SIZES.size))
    _check_sizes(header_size, size, max_bytes)
    header = _as_header(await connection.readexactly(header_size))
    return header, await connection.readexactly(size)
