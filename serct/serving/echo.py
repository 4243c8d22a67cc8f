"""What a response repeats of a request: little, and nothing that is not printable."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from fastapi import Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response

MAX_NAME = 255  # as file systems
_MAX_ERRORS = 10
_MAX_TEXT = 200
# Besides control characters: line ends, and what turns the direction of text.
_CONTROLS = re.compile("[\u2028\u2029\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]")


def printable(text: str, max_length: int = MAX_NAME) -> str:
    r"""Return a client's text in one line that is not longer than ``max_length``.

    >>> printable("a\r\nb\x1b[31m.wav")
    'a\\r\\nb\\x1b[31m.wav'
    >>> printable("abcdefghij.wav", 9)
    'abcd….wav'
    """
    shown = "".join(_escape(character) for character in text[: max_length + 1])
    if len(text) <= max_length and len(shown) <= max_length:
        return shown
    # The end of a name says what kind of file it is.
    suffix = "".join(map(_escape, text[-4:]))
    return f"{shown[: max_length - len(suffix) - 1]}…{suffix}"


def file_name(file: UploadFile) -> str:
    """Return what responses call a client's file."""
    return printable(file.filename or "") or "file"


def _escape(character: str) -> str:
    is_control = unicodedata.category(character) in ("Cc", "Cs") or _CONTROLS.match(character)
    return character.encode("unicode_escape").decode() if is_control else character


async def respond_to_invalid(_: Request, error: Exception) -> Response:
    """Say which parameters are wrong, but not what was sent: that may be a whole recording."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    return JSONResponse({"detail": [_describe(each) for each in found[:_MAX_ERRORS]]}, 422)


def _describe(error: Mapping[str, Any]) -> dict[str, object]:
    location = [
        each if isinstance(each, int) else printable(str(each), _MAX_TEXT) for each in error["loc"]
    ]
    message = printable(str(error["msg"]), _MAX_TEXT)
    if "UploadFile" in message:
        message = "expected a file: a part with a filename in its Content-Disposition"
    return {"type": error["type"], "loc": location, "msg": message}
