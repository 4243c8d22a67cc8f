"""Live speech over a WebSocket.

The client sends mono 16-bit little-endian samples in binary messages of any size, and
`{"type": "end"}` when it is done. Every half a second of sound it gets, as JSON, what is heard in
the last three seconds, and at the end once more.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal

import anyio
from fastapi import HTTPException, WebSocket, WebSocketDisconnect

from serct.errors import SerctError
from serct.inference.voice_activity import is_speech
from serct.serving import answering
from serct.serving.models import Loaded
from serct.serving.parts import Parts
from serct.serving.streaming import Tape

_LOWEST_RATE_HZ, _HIGHEST_RATE_HZ = 8000, 192_000
# Of RFC 6455, section 7.4.1.
_WRONG_DATA, _POLICY, _TRY_LATER, _FAULT = 1003, 1008, 1013, 1011


class _RefusedError(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def stream_route(parts: Parts) -> Callable[[WebSocket], Awaitable[None]]:
    """Give the route `WS /v1/stream?sample_rate=48000`."""
    num_streams = 0

    async def stream(socket: WebSocket) -> None:
        nonlocal num_streams
        await socket.accept()
        if num_streams >= parts.settings.max_streams:
            await socket.close(_TRY_LATER, "too many streams, come back in a moment")
            return
        num_streams += 1
        parts.observation.streams.set(num_streams)
        try:
            await _converse(parts, socket)
        except _RefusedError as refusal:
            await _close(socket, refusal.code, str(refusal))
        except HTTPException as error:  # there is no model yet
            await _close(socket, _TRY_LATER, error.detail)
        except SerctError as error:
            await _close(socket, _FAULT, str(error))
        except WebSocketDisconnect:
            pass
        finally:
            num_streams -= 1
            parts.observation.streams.set(num_streams)

    return stream


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    with suppress(RuntimeError, WebSocketDisconnect):  # the client may be gone
        await socket.close(code, reason[:120])  # a frame holds 123 bytes


async def _converse(parts: Parts, socket: WebSocket) -> None:
    if not parts.is_welcome(socket.headers.get("x-api-key")):
        raise _RefusedError(_POLICY, "the header X-API-Key is missing or wrong")
    tape = Tape(_sample_rate(socket.query_params.get("sample_rate")))
    news = asyncio.Event()
    reading = asyncio.create_task(_read(parts, socket, tape, news))
    try:
        while True:
            await news.wait()
            news.clear()
            # What comes in meanwhile is heard with the next window.
            if tape.is_due and not reading.done():
                await _answer(parts, socket, tape, "partial")
            if reading.done():
                reading.result()
                break
        if tape.num_samples:
            await _answer(parts, socket, tape, "final")
        await _close(socket, 1000, "")
    finally:
        reading.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await reading


def _sample_rate(text: str | None) -> int:
    rate = int(text) if text and text.isascii() and text.isdigit() and len(text) < 9 else 0
    if not _LOWEST_RATE_HZ <= rate <= _HIGHEST_RATE_HZ:
        raise _RefusedError(
            _POLICY,
            f"sample_rate is {str(text)[:20]}, expected {_LOWEST_RATE_HZ} to {_HIGHEST_RATE_HZ}",
        )
    return rate


async def _read(parts: Parts, socket: WebSocket, tape: Tape, news: asyncio.Event) -> None:
    """Put on tape what comes in, until the client is done."""
    try:
        while True:
            try:
                async with asyncio.timeout(parts.settings.idle_s):
                    message = await socket.receive()
            except TimeoutError as error:
                seconds = parts.settings.idle_s
                raise _RefusedError(_POLICY, f"nothing came for {seconds:g} s") from error
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1000))
            if message.get("bytes") is not None:
                tape.add(message["bytes"])
            elif _is_end(message.get("text")):
                return
            else:
                raise _RefusedError(_WRONG_DATA, 'expected binary samples or {"type": "end"}')
            if tape.is_due:
                news.set()
    finally:
        news.set()


def _is_end(text: str | None) -> bool:
    try:
        return bool(json.loads(text or "") == {"type": "end"})
    except (ValueError, RecursionError):
        return False


async def _answer(
    parts: Parts, socket: WebSocket, tape: Tape, kind: Literal["partial", "final"]
) -> None:
    model: Loaded = await parts.model(None)
    start_s, end_s, window = tape.take()
    rate = tape.sample_rate
    frames = await anyio.to_thread.run_sync(
        parts.voice_activity, window, rate, limiter=parts.decoders
    )
    answer = None
    if is_speech(frames):
        (answer,) = await answering.ask(model, parts.batcher, [(window, rate)])
    heard = answering.judge(model, answer)
    await socket.send_json(
        {
            "type": kind,
            "start_s": round(start_s, 3),
            "end_s": round(end_s, 3),
            **heard.model_dump(),
            "model": answering.describe(model).model_dump(),
        }
    )
