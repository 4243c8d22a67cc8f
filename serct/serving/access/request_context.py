"""What holds for every request: an id, headers for browsers, and a line in the log if it fails."""

import json
import logging
import re
import secrets
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serct.runtime.log import logger
from serct.serving.access.clients import TokenBucket
from serct.serving.access.limits import route_pattern

LogFormat = Literal["text", "json"]
REQUEST_ID = "X-Request-ID"
# Of a client's own id: nothing that could end a line or colour a terminal.
_USABLE_ID = re.compile(r"[0-9A-Za-z._-]{1,64}")
_FAULTS_PER_MINUTE = 60
_INTERNAL_ERROR = 1011  # of RFC 6455
_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

# A response is data: no page may frame it, run it, guess its type or keep it.
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}

# A page of the service's own uses its own scripts, styles and routes, and nothing from elsewhere.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class RequestContext:
    """ASGI middleware, the outermost one, that sees every request and response.

    The log names id, route, status, duration and client of a request that failed, and the lines
    of code of an unexpected error: neither what was sent, nor by whom, nor the error's message,
    which may repeat it.
    """

    def __init__(self, app: ASGIApp, headers: Mapping[str, str]) -> None:
        """Create the middleware.

        Args:
            app: The application.
            headers: Of every response that has none of its own of that name.
        """
        self._app, self._headers = app, headers
        self._may_log = TokenBucket(_FAULTS_PER_MINUTE)
        self._num_unlogged = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; an unexpected error becomes status 500."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0
        request_id = _id_of(scope)
        reset = _request_id.set(request_id)

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"].endswith(".response.start") or message["type"] == "websocket.accept":
                status = message.get("status", 101)
                message.setdefault("headers", [])
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                if headers.get("content-type", "").startswith("text/html"):
                    headers.setdefault("Content-Security-Policy", _PAGE_POLICY)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            logger.error("%s", _describe(error))
            if not status and scope["type"] == "http":
                detail = f"internal error; the service's log has more under {request_id}"
                await JSONResponse({"detail": detail}, 500)(scope, receive, send_with_headers)
            elif scope["type"] == "websocket":
                with suppress(RuntimeError):  # it may be closed
                    await send({"type": "websocket.close", "code": _INTERNAL_ERROR, "reason": ""})
            status = 500
        finally:
            if status >= 500:
                self._log(scope, status, time.perf_counter() - started)
            _request_id.reset(reset)

    def _log(self, scope: Scope, status: int, seconds: float) -> None:
        # A busy service refuses many requests in a second; the metrics count all.
        if self._may_log.take():
            self._num_unlogged += 1
            return
        client = getattr(scope.get("state", {}).get("client"), "name", "")
        facts: dict[str, object] = {"route": route_pattern(scope), "status": status,
                                    "seconds": round(seconds, 3)}  # fmt: skip
        facts |= {"client": client} if client else {}
        facts |= {"not_logged": self._num_unlogged} if self._num_unlogged else {}
        self._num_unlogged = 0
        words = ", ".join(f"{name} {value}" for name, value in facts.items())
        logger.warning("a request failed: %s", words, extra={"facts": facts})


def _id_of(scope: Scope) -> str:
    given = Headers(scope=scope).get(REQUEST_ID, "")
    return given if _USABLE_ID.fullmatch(given) else secrets.token_hex(8)


def _describe(error: BaseException) -> str:
    """Return an error's type and lines of code, and those of its causes, without messages."""
    parts = [f"unexpected {type(error).__name__}:\n"]
    parts += traceback.format_tb(error.__traceback__)
    cause = error.__cause__ or error.__context__
    if cause is not None and cause is not error:
        parts.append(f"because of {_describe(cause)}\n")
    return "".join(parts).rstrip()


class ServiceFormatter(logging.Formatter):
    """Writes a line of the log with the id of the request that it is about."""

    def __init__(self, form: LogFormat) -> None:
        super().__init__("%(asctime)s %(message)s", "%H:%M:%S")
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, or an object of JSON in one."""
        request_id = _request_id.get()
        if self._form == "text":
            line = super().format(record)
            return f"{line} (request {request_id})" if request_id else line
        content: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[1]:
            content["error"] = _describe(record.exc_info[1])
        if request_id:
            content["request_id"] = request_id
        return json.dumps(content | getattr(record, "facts", {}))


def setup_service_log(form: LogFormat) -> None:
    """Send this project's messages, and those of the server in JSON as well, to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(ServiceFormatter(form))
    owner = logger if form == "text" else logging.getLogger()
    owner.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = form == "json"
