"""What a response repeats of a request: little, and nothing that is not printable."""

import logging
import re
import tempfile
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from fastapi import Request, UploadFile
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from serct.runtime.disk import disk_problem

logger = logging.getLogger("serct.serving")

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


async def respond_to_invalid(request: Request, error: Exception) -> Response:
    """Say which parameters are wrong, but not what was sent: that may be a whole recording."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    sent = printable(request.headers.get("content-type", "no content type"), _MAX_TEXT)
    return JSONResponse({"detail": [_describe(each, sent) for each in found[:_MAX_ERRORS]]}, 422)


async def respond_to_unreadable(request: Request, error: Exception) -> Response:
    """Respond as FastAPI does, unless a body was not readable because of this machine's disk.

    Large files wait for their decoder in the folder for temporary files.
    """
    cause = error.__cause__
    problem = disk_problem(cause, Path(tempfile.gettempdir())) if cause is not None else None
    if problem is None:
        return await http_exception_handler(request, cast(HTTPException, error))
    logger.error("cannot receive a file: %s", problem)
    return JSONResponse({"detail": f"cannot receive a file: {problem}"}, 503)


def _describe(error: Mapping[str, Any], content_type: str) -> dict[str, object]:
    location = [
        each if isinstance(each, int) else printable(str(each), _MAX_TEXT) for each in error["loc"]
    ]
    message = printable(str(error["msg"]), _MAX_TEXT)
    if "UploadFile" in message:
        message = "expected a file: a part with a filename in its Content-Disposition"
    if error["type"] == "missing" and location[:1] == ["body"]:
        message = (
            f"expected multipart/form-data with a file in the field {location[-1]}, found a body "
            f"without it: {content_type}"
        )
    return {"type": error["type"], "loc": location, "msg": message}
