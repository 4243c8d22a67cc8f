"""The messages of `WS /v1/stream`: one schema, from which reading, checks and documentation follow.

The client sends `session.start`, then audio in binary messages, then `end`. Everything the service
sends is one of `SERVER_MESSAGES`.
"""

import asyncio
from typing import Annotated, Literal, Self

from fastapi import WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.types import Message

from serct.data.decoding.opus_packets import OPUS_RATE_HZ
from serct.errors import SerctError
from serct.serving import schemas
from serct.serving.echo import printable

SCHEMA_VERSION = 1
MIN_RATE_HZ, MAX_RATE_HZ = 8000, 192_000
MAX_CHANNELS = 8
# The window and the hop of steps.
WINDOW_S, HOP_S = 3.0, 0.5

# Of closing. Source: RFC 6455, section 7.4.1, and its registry.
DONE, WRONG_DATA, POLICY, FAULT, TRY_LATER = 1000, 1003, 1008, 1011, 1013

Encoding = Literal["pcm_s16le", "pcm_f32le", "opus", "file"]
Mode = Literal["steps", "utterances", "both"]
_MAX_PROBLEM = 300

_START_S = "Where it begins, in s from the start of the stream."
_END_S = "Where it ends, in s from the start of the stream."
_NUMBER = "Number of the utterance in the stream, from 1."


class RefusedError(SerctError):
    """A session is refused or ended because of what the client sent, or did not send.

    Attributes:
        code: With which the connection closes.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class SessionStart(BaseModel):
    """The first message of a session: what the client will send, and what it wants."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "type": "session.start", "version": 1, "encoding": "pcm_s16le",
                "sample_rate": 16_000, "mode": "utterances",
            }
        },
    )  # fmt: skip

    type: Literal["session.start"]
    version: Literal[1] = Field(description="Of this schema.")
    encoding: Encoding = Field(
        "pcm_s16le",
        description="Of the binary messages: samples, 16-bit integers or 32-bit floats, "
        "little-endian, in messages of any size; `opus`, one packet each; or `file`, the parts of "
        "a file such as WebM or Ogg, as a browser's MediaRecorder makes them.",
    )
    sample_rate: int | None = Field(
        None,
        ge=MIN_RATE_HZ,
        le=MAX_RATE_HZ,
        description="In Hz. Needed with samples; Opus has 48,000, a file says its own.",
    )
    channels: int = Field(
        1,
        ge=1,
        le=MAX_CHANNELS,
        description="Of samples, interleaved; their mean is used. Opus and files say their own.",
    )
    mode: Mode = Field(
        "utterances",
        description="`steps`: a prediction for the last 3 s at every hop. `utterances`: one for "
        "each utterance. `both`.",
    )
    hop_s: float = Field(
        HOP_S, ge=0.1, le=10, description="From one partial prediction to the next, in s."
    )
    speaker: str | None = Field(
        None, min_length=1, max_length=64, description="Id of an enrolled speaker to adapt to."
    )
    adapt: bool = Field(False, description="Adapt to the speaker as the stream goes on.")
    model: str | None = Field(
        None,
        min_length=1,
        max_length=60,
        description="Version to use, as `?version=` of the other routes; null for the one in use.",
    )
    api_key: str | None = Field(
        None, max_length=1000, description="Instead of the header X-API-Key, which browsers cannot "
        "send with a WebSocket."
    )  # fmt: skip

    @model_validator(mode="after")
    def _check_audio(self) -> Self:
        is_pcm = self.encoding.startswith("pcm")
        if is_pcm and self.sample_rate is None:
            raise ValueError(f"sample_rate is missing, {self.encoding} needs it")
        if not is_pcm and self.channels != 1:
            raise ValueError(f"channels is for samples, {self.encoding} says its own")
        if self.encoding == "opus" and self.sample_rate not in (None, OPUS_RATE_HZ):
            raise ValueError(f"sample_rate is {self.sample_rate}, opus has {OPUS_RATE_HZ}")
        if self.encoding == "file" and self.sample_rate is not None:
            raise ValueError("sample_rate is for samples, a file says its own")
        return self


class End(BaseModel):
    """The end of the audio: the service sends what is left, and closes."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"type": "end"}})

    type: Literal["end"]


class _ServerMessage(BaseModel):
    """What the service sends: every field, every time."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class SessionStarted(_ServerMessage):
    """The session has begun."""

    type: Literal["session.started"] = "session.started"
    version: Literal[1] = Field(1, description="Of this schema.")
    model: schemas.Model
    encoding: Encoding
    sample_rate: int | None = Field(description="In Hz; null until a file says its own.")
    channels: int | None = Field(description="Of samples; null if the encoding says its own.")
    mode: Mode
    hop_s: float = Field(description="From one partial prediction to the next.")
    window_s: float = Field(description="Longest audio of a partial prediction.")
    max_utterance_s: float = Field(description="An utterance ends there, and another begins.")


class _StreamPrediction(_ServerMessage, schemas.EmotionPrediction):
    """The prediction for a part of the stream."""

    start_s: float = Field(description=_START_S)
    end_s: float = Field(description=_END_S)
    analysed_s: float = Field(description="Length of what the model was given.")
    speech_s: float = Field(description="Length of the speech in this part.")
    model: schemas.Model
    adaptation: schemas.Adaptation | None = Field(
        description="To the speaker; null if nobody asked for it."
    )


class Partial(_StreamPrediction):
    """A step: the prediction for the last 3 s."""

    type: Literal["partial"] = "partial"


class Final(_StreamPrediction):
    """The last step: the prediction for the last 3 s of the stream."""

    type: Literal["final"] = "final"


class UtteranceStart(_ServerMessage):
    """Somebody began to speak: there are 0.2 s of speech."""

    type: Literal["utterance.start"] = "utterance.start"
    utterance: int = Field(description=_NUMBER)
    start_s: float = Field(description=_START_S)


class UtterancePartial(_StreamPrediction):
    """The prediction for an utterance that goes on, for its last 3 s at most."""

    type: Literal["utterance.partial"] = "utterance.partial"
    utterance: int = Field(description=_NUMBER)


class UtteranceEnd(_StreamPrediction):
    """The prediction for an utterance as a whole, the same as for a file with its samples."""

    type: Literal["utterance.end"] = "utterance.end"
    utterance: int = Field(description=_NUMBER)
    ended_by: Literal["silence", "length", "stream"] = Field(
        description="`silence`, `length`: it went on for too long, `stream`: so did its end."
    )
    notes: list[str] = Field(description="What was done to make the audio usable; most have none.")


class SessionEnd(_ServerMessage):
    """The last message of a session that the client ended."""

    type: Literal["session.end"] = "session.end"
    duration_s: float = Field(description="Length of the stream.")
    utterances: int = Field(description="Number of utterances; 0 in mode `steps`.")


class Error(_ServerMessage):
    """Why the service closes the connection now."""

    type: Literal["error"] = "error"
    code: int = Field(description="The code with which it closes.")
    reason: str


CLIENT_MESSAGES: tuple[type[BaseModel], ...] = (SessionStart, End)
SERVER_MESSAGES: tuple[type[BaseModel], ...] = (
    SessionStarted, Partial, Final, UtteranceStart, UtterancePartial, UtteranceEnd, SessionEnd,
    Error,
)  # fmt: skip
ServerMessage = Annotated[
    SessionStarted
    | Partial
    | Final
    | UtteranceStart
    | UtterancePartial
    | UtteranceEnd
    | SessionEnd
    | Error,
    Field(discriminator="type"),
]


def read_start(text: str) -> SessionStart:
    """Read the first message of a session.

    Raises:
        RefusedError: If it is not a `session.start` of this schema, with the first reason.
    """
    try:
        return SessionStart.model_validate_json(text)
    except ValidationError as error:
        raise RefusedError(POLICY, f"session.start: {_first_problem(error)}") from error


def is_end(text: str) -> bool:
    """Return whether a text message is `end`."""
    try:
        End.model_validate_json(text)
    except ValidationError:
        return False
    return True


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    reason = str(first["msg"]).removeprefix("Value error, ")
    # Secrets are not repeated; numbers and words that are wrong are.
    given = first["input"]
    is_shown = place and isinstance(given, str | int | float) and place != "api_key"
    found = f" is {given!s}" if is_shown else ""
    return printable(f"{place}{found}: {reason}" if place else reason, _MAX_PROBLEM)


async def receive(socket: WebSocket, wait_s: float, expected: str) -> Message:
    """Wait for a client's next message.

    Args:
        socket: Of the client.
        wait_s: Longest wait, in s.
        expected: What errors call the message.

    Raises:
        RefusedError: If none comes.
        WebSocketDisconnect: If the client leaves.
    """
    try:
        async with asyncio.timeout(wait_s):
            message = await socket.receive()
    except TimeoutError as error:
        raise RefusedError(POLICY, f"no {expected} for {wait_s:g} s") from error
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", DONE))
    return message
