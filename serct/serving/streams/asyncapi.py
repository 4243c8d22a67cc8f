"""The description of `WS /v1/stream` as AsyncAPI, from the types of its messages."""

from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from serct import __version__
from serct.serving.streams.messages import CLIENT_MESSAGES, SCHEMA_VERSION, SERVER_MESSAGES

PATH: Final = "/v1/stream"
_DESCRIPTION = """
Live speech: the client sends `session.start`, waits for `session.started`, sends audio in binary
messages of the encoding that it named, and then `end`. The service sends predictions and events,
and closes with code 1000 after `session.end`, or with another one after `error`.
"""
_REFERENCES: Final = "#/components/schemas/{model}"


def describe_stream() -> dict[str, Any]:
    """Return the AsyncAPI document.

    Source:
        AsyncAPI Initiative, AsyncAPI Specification 3.0.0.
    """
    models = [*CLIENT_MESSAGES, *SERVER_MESSAGES]
    _, schemas = models_json_schema(
        [(each, "validation" if each in CLIENT_MESSAGES else "serialization") for each in models],
        ref_template=_REFERENCES,
    )
    messages = {type_of(each): _message(each) for each in models}
    messages["audio"] = {
        "summary": "The next part of the audio, in a binary message.",
        "contentType": "application/octet-stream",
        "payload": {"type": "string", "format": "binary"},
    }
    sent = ["session.start", "audio", "end"]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "SERCT, live speech",
            "version": f"{__version__} (schema {SCHEMA_VERSION})",
            "description": _DESCRIPTION.strip(),
        },
        "defaultContentType": "application/json",
        "servers": {"local": {"host": "127.0.0.1:8000", "protocol": "ws"}},
        "channels": {
            "stream": {
                "address": PATH,
                "messages": {name: _reference("components/messages", name) for name in messages},
            }
        },
        "operations": {
            "speak": _operation("receive", "What the client sends.", sent),
            "predict": _operation(
                "send", "What the service sends.", [name for name in messages if name not in sent]
            ),
        },
        "components": {"messages": messages, "schemas": schemas["$defs"]},
    }


def type_of(message: type[BaseModel]) -> str:
    """Return the `type` of a message."""
    name: str = message.model_json_schema()["properties"]["type"]["const"]
    return name


def _message(message: type[BaseModel]) -> dict[str, Any]:
    return {
        "summary": " ".join((message.__doc__ or "").split()),
        "payload": {"$ref": _REFERENCES.format(model=message.__name__)},
    }


def _operation(action: str, summary: str, messages: list[str]) -> dict[str, Any]:
    return {
        "action": action,
        "summary": summary,
        "channel": {"$ref": "#/channels/stream"},
        "messages": [_reference("channels/stream/messages", name) for name in messages],
    }


def _reference(place: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/{place}/{name}"}
