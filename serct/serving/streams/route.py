"""The route of live speech: who may begin a session, and how it is closed.

A session begins with the message `session.start` (`serct.serving.streams.messages`). Clients of
version 0.2 name everything in the address instead, `?sample_rate=48000&speaker=ID&adapt=true`, and
get steps alone: a prediction every half second, and no other message.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from fastapi import HTTPException, WebSocket, WebSocketDisconnect

from serct.errors import AudioError, SerctError, SpeakerError
from serct.serving.access.clients import Client
from serct.serving.access.limits import KEY_HEADER, RETRY_AFTER_S, WRONG_KEY
from serct.serving.echo import printable
from serct.serving.state import ServiceState
from serct.serving.streams.messages import (
    DONE,
    FAULT,
    MAX_RATE_HZ,
    MIN_RATE_HZ,
    POLICY,
    TRY_LATER,
    WRONG_DATA,
    Error,
    RefusedError,
    SessionStart,
    read_start,
    receive,
)
from serct.serving.streams.session import StreamSession

# The first message takes no time; until it has come, anybody may hold a connection.
_START_S = 10.0
_CLOSE_S = 1.0
_MAX_REASON = 1000


def stream_route(state: ServiceState) -> Callable[[WebSocket], Awaitable[None]]:
    """Return the route `WS /v1/stream`."""
    limits = state.settings.limits
    num_waiting = num_streams = 0

    async def stream(socket: WebSocket) -> None:
        await socket.accept()
        is_address = "sample_rate" in socket.query_params
        try:
            start = _from_address(socket) if is_address else await wait_for_start(socket)
            key = socket.headers.get(KEY_HEADER) or start.api_key
            await serve(socket, start, lambda: _client(state, key), is_address=is_address)
            await _close(socket, DONE, "")
        except WebSocketDisconnect:
            pass
        except (HTTPException, SerctError) as error:
            code, reason = _closing(error)
            if not is_address:
                await _send_error(socket, code, reason)
            await _close(socket, code, reason)

    async def wait_for_start(socket: WebSocket) -> SessionStart:
        nonlocal num_waiting
        if num_waiting >= limits.max_uploads:
            raise _busy(f"{num_waiting} connections without a session")
        num_waiting += 1
        try:
            return await _from_message(state, socket)
        finally:
            num_waiting -= 1

    async def serve(
        socket: WebSocket, start: SessionStart, find: Callable[[], Client], *, is_address: bool
    ) -> None:
        nonlocal num_streams
        client = find()
        if num_streams >= limits.max_streams:
            raise _busy(f"{num_streams} streams open")
        num_streams += 1
        state.metrics.streams.set(num_streams)
        try:
            with client.stream():
                session = await StreamSession.begin(state, socket, start, find)
                if not is_address:
                    await session.confirm()
                await session.run()
                if not is_address:
                    await session.conclude()
        finally:
            num_streams -= 1
            state.metrics.streams.set(num_streams)

    return stream


def _client(state: ServiceState, key: str | None) -> Client:
    """Return whose key came with the connection or with its first message."""
    client = state.accepts_key(key)
    if client is None:
        raise RefusedError(POLICY, WRONG_KEY)
    return client


def _from_address(socket: WebSocket) -> SessionStart:
    """Return what an address asks for."""
    query = socket.query_params
    text, adapt = query["sample_rate"], query.get("adapt", "false")
    rate = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
    if not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
        raise RefusedError(
            POLICY, f"sample_rate is {printable(text, 20)}, expected {MIN_RATE_HZ} to {MAX_RATE_HZ}"
        )
    if adapt not in ("true", "false"):
        raise RefusedError(POLICY, f"adapt is {printable(adapt, 20)}, expected true or false")
    # Checked here: an unknown speaker of any length has its own message.
    return SessionStart.model_construct(
        type="session.start", version=1, sample_rate=rate, mode="steps",
        speaker=query.get("speaker"), adapt=adapt == "true",
    )  # fmt: skip


async def _from_message(state: ServiceState, socket: WebSocket) -> SessionStart:
    """Return what the first message asks for."""
    wait_s = min(_START_S, state.settings.limits.idle_s)
    message = await receive(socket, wait_s, "session.start")
    if message.get("text") is None:
        raise RefusedError(
            POLICY,
            "expected session.start as the first message, or an address with sample_rate, "
            f"{MIN_RATE_HZ} to {MAX_RATE_HZ}",
        )
    return read_start(message["text"])


def _busy(reason: str) -> RefusedError:
    return RefusedError(TRY_LATER, f"server busy: {reason}; retry after {RETRY_AFTER_S} s")


def _closing(error: HTTPException | SerctError) -> tuple[int, str]:
    """Return the code and the reason with which an error closes the connection."""
    if isinstance(error, HTTPException):
        # 503: there is no model yet; 429: too much for this client.
        return TRY_LATER if error.status_code in (429, 503) else POLICY, str(error.detail)
    if isinstance(error, RefusedError):
        return error.code, str(error)
    if isinstance(error, AudioError):
        return WRONG_DATA, str(error)
    return POLICY if isinstance(error, SpeakerError) else FAULT, str(error)


async def _send_error(socket: WebSocket, code: int, reason: str) -> None:
    message = Error(code=code, reason=printable(reason, _MAX_REASON))
    # The client may be gone, or read nothing.
    with suppress(RuntimeError, WebSocketDisconnect, TimeoutError):
        async with asyncio.timeout(_CLOSE_S):
            await socket.send_json(message.model_dump())


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    with suppress(RuntimeError, WebSocketDisconnect, TimeoutError):
        async with asyncio.timeout(_CLOSE_S):
            # A frame holds 123 bytes.
            await socket.close(code, printable(reason).encode()[:123].decode(errors="ignore"))
