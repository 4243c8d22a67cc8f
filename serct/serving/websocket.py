"""Live speech over a WebSocket.

The client sends mono 16-bit little-endian samples in binary messages of any size, and
`{"type": "end"}` at the end. After every half second of audio the service sends a prediction for
the last three seconds as JSON, and a final one at the end. It may adapt to the speaker: one that
was enrolled before (`speaker=ID`), and as it goes (`adapt=true`).
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal

import numpy as np
from fastapi import HTTPException, WebSocket, WebSocketDisconnect

from serct.errors import SerctError, SpeakerError
from serct.runtime.arrays import PCM_SCALE, Floats
from serct.serving.decoder_process import DecodedAudio
from serct.serving.echo import printable
from serct.serving.limits import RETRY_AFTER_S
from serct.serving.predicting import analyse, describe
from serct.serving.state import ServiceState
from serct.serving.stream_format import StreamFormat
from serct.serving.stream_speaker import StreamSpeaker

# Every half second, the window of the last three seconds.
WINDOW_S, HOP_S = 3.0, 0.5
_MIN_RATE_HZ, _MAX_RATE_HZ = 8000, 192_000
# Of RFC 6455, section 7.4.1.
_WRONG_DATA, _POLICY, _TRY_LATER, _FAULT = 1003, 1008, 1013, 1011


class AudioBuffer:
    """The last seconds of a stream of 16-bit samples.

    Attributes:
        sample_rate: In Hz.
        num_samples: Samples since the start of the stream.
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.num_samples = 0
        self._window = np.empty(0, np.float32)
        self._half = b""
        self._next = round(HOP_S * sample_rate)

    @property
    def now_s(self) -> float:
        """Length of the stream so far, in seconds."""
        return self.num_samples / self.sample_rate

    @property
    def is_due(self) -> bool:
        """Whether a hop has passed since the last `take`."""
        return self.num_samples >= self._next

    def add(self, message: bytes) -> None:
        """Add little-endian samples; one that is split between two messages is joined."""
        message = self._half + message
        whole = len(message) // 2 * 2
        message, self._half = message[:whole], message[whole:]
        samples = np.frombuffer(message, "<i2").astype(np.float32) / np.float32(PCM_SCALE)
        self.num_samples += len(samples)
        length = round(WINDOW_S * self.sample_rate)
        self._window = np.concatenate((self._window, samples))[-length:]

    def take(self) -> tuple[float, float, Floats]:
        """Return start and end in seconds, and samples, of the window that ends now.

        If more than one hop has passed, the windows between are skipped, so that a slow model
        does not fall behind the stream.
        """
        hop = round(HOP_S * self.sample_rate)
        self._next = (self.num_samples // hop + 1) * hop
        start_s = self.now_s - len(self._window) / self.sample_rate
        return start_s, self.now_s, self._window


class _RefusedError(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def stream_route(state: ServiceState) -> Callable[[WebSocket], Awaitable[None]]:
    """Return the route `WS /v1/stream?sample_rate=48000&speaker=ID&adapt=true`."""
    num_streams = 0

    async def stream(socket: WebSocket) -> None:
        nonlocal num_streams
        await socket.accept()
        if num_streams >= state.settings.limits.max_streams:
            busy = f"server busy: {num_streams} streams open; retry after {RETRY_AFTER_S} s"
            await socket.close(_TRY_LATER, busy)
            return
        num_streams += 1
        state.metrics.streams.set(num_streams)
        try:
            await _serve_stream(state, socket)
        except _RefusedError as refusal:
            await _close(socket, refusal.code, str(refusal))
        except HTTPException as error:
            # 503: there is no model yet.
            code = _TRY_LATER if error.status_code == 503 else _POLICY
            await _close(socket, code, error.detail)
        except SpeakerError as error:
            await _close(socket, _POLICY, str(error))
        except SerctError as error:
            await _close(socket, _FAULT, str(error))
        except WebSocketDisconnect:
            pass
        finally:
            num_streams -= 1
            state.metrics.streams.set(num_streams)

    return stream


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    with suppress(RuntimeError, WebSocketDisconnect):  # the client may be gone
        # A frame holds 123 bytes.
        await socket.close(code, printable(reason).encode()[:123].decode(errors="ignore"))


async def _serve_stream(state: ServiceState, socket: WebSocket) -> None:
    if not state.accepts_key(socket.headers.get("x-api-key")):
        raise _RefusedError(_POLICY, "the header X-API-Key is missing or wrong")
    buffer = AudioBuffer(_sample_rate(socket.query_params.get("sample_rate")))
    speaker = await _speaker(state, socket)
    has_news = asyncio.Event()
    reading = asyncio.create_task(_read(state, socket, buffer, has_news))
    try:
        while True:
            await has_news.wait()
            has_news.clear()
            # Samples that arrive during a prediction belong to the next window.
            if buffer.is_due and not reading.done():
                await _send_prediction(state, socket, buffer, speaker, "partial")
            if reading.done():
                reading.result()
                break
        if buffer.num_samples:
            await _send_prediction(state, socket, buffer, speaker, "final")
        await _close(socket, 1000, "")
    finally:
        reading.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await reading


def _sample_rate(text: str | None) -> int:
    rate = int(text) if text and text.isascii() and text.isdigit() and len(text) < 9 else 0
    if not _MIN_RATE_HZ <= rate <= _MAX_RATE_HZ:
        raise _RefusedError(
            _POLICY,
            f"sample_rate is {printable(str(text), 20)}, expected {_MIN_RATE_HZ} to {_MAX_RATE_HZ}",
        )
    return rate


async def _speaker(state: ServiceState, socket: WebSocket) -> StreamSpeaker:
    query = socket.query_params
    adapt = query.get("adapt", "false")
    if adapt not in ("true", "false"):
        raise _RefusedError(_POLICY, f"adapt is {printable(adapt, 20)}, expected true or false")
    name = query.get("speaker")
    enrolled = None
    if name is not None:
        state.check_speakers()
        enrolled = state.speakers.get(name)
    speaker = StreamSpeaker(enrolled, adapts=adapt == "true", window_s=WINDOW_S)
    if name is not None or adapt == "true":
        speaker.adapt(await state.model(None))  # before any sound comes
    return speaker


async def _read(
    state: ServiceState, socket: WebSocket, buffer: AudioBuffer, has_news: asyncio.Event
) -> None:
    """Add messages to the buffer until the client ends the stream."""
    idle_s = state.settings.limits.idle_s
    stream_format = StreamFormat()
    try:
        while True:
            try:
                async with asyncio.timeout(idle_s):
                    message = await socket.receive()
            except TimeoutError as error:
                raise _RefusedError(_POLICY, f"no message for {idle_s:g} s") from error
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1000))
            if message.get("bytes") is not None:
                stream_format.add(message["bytes"])
                if stream_format.found:
                    raise _RefusedError(
                        _WRONG_DATA, f"expected raw 16-bit samples, found {stream_format.found}"
                    )
                buffer.add(message["bytes"])
            elif _is_end(message.get("text")):
                return
            else:
                raise _RefusedError(_WRONG_DATA, 'expected binary samples or {"type": "end"}')
            if buffer.is_due:
                has_news.set()
    finally:
        has_news.set()


def _is_end(text: str | None) -> bool:
    try:
        return bool(json.loads(text or "") == {"type": "end"})
    except (ValueError, RecursionError):
        return False


async def _send_prediction(
    state: ServiceState,
    socket: WebSocket,
    buffer: AudioBuffer,
    speaker: StreamSpeaker,
    kind: Literal["partial", "final"],
) -> None:
    model = speaker.adapt(await state.model(None))
    start_s, end_s, window = buffer.take()
    audio = DecodedAudio(window, buffer.sample_rate)
    found = await analyse(model, state.batcher, audio)
    adaptation = speaker.describe(model)
    await socket.send_json(
        {
            "type": kind, "start_s": round(start_s, 3), "end_s": round(end_s, 3),
            "emotion": found.emotion, "confidence": found.confidence,
            "probabilities": found.probabilities, "analysed_s": found.analysed_s,
            "speech_s": found.speech_s, "model": describe(model).model_dump(),
            "adaptation": adaptation.model_dump() if adaptation else None,
        }
    )  # fmt: skip
    if kind == "partial":
        await speaker.add(model, state.batcher, audio, (start_s, end_s), found)
