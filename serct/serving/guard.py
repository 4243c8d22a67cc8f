"""What stands before every route: size and time of bodies, number of requests, their metrics."""

import asyncio
import time
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serct.serving.observation import Observation
from serct.serving.settings import Settings

# Asked by machines that watch: always answered, not counted.
_FREE = ("/health", "/ready", "/metrics", "/docs", "/openapi.json")
_RETRY_AFTER_S = 1


class Guard:
    """ASGI middleware; see `Settings` for its limits."""

    def __init__(self, app: ASGIApp, settings: Settings, observation: Observation) -> None:
        self._app, self._settings, self._observation = app, settings, observation
        self._num_in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or turn it away."""
        if scope["type"] != "http" or scope["path"] in _FREE:
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if self._num_in_flight >= self._settings.max_in_flight:
                await _busy()(scope, receive, noting)
                return
            self._num_in_flight += 1
            self._observation.in_flight.set(self._num_in_flight)
            try:
                await self._app(scope, self._limited(scope, receive), noting)
            finally:
                self._num_in_flight -= 1
                self._observation.in_flight.set(self._num_in_flight)
        finally:
            route = scope["path"] if "route" in scope else "other"  # no path has parameters
            self._observation.requests.labels(route, str(status)).inc()
            self._observation.seconds.labels(route).observe(time.perf_counter() - started)

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """Count a body while it comes in; an announced size is only believed if it is too large."""
        most = self._settings.max_body_bytes
        num_bytes = 0
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        is_too_large = announced.isdigit() and int(announced) > most

        async def limited() -> Message:
            nonlocal num_bytes
            try:
                async with asyncio.timeout(self._settings.body_timeout_s):
                    message = await receive()
            except TimeoutError as error:
                raise HTTPException(408, "the body came too slowly") from error
            num_bytes += len(message.get("body", b""))
            if num_bytes > most or is_too_large:
                raise HTTPException(413, f"the body exceeds {most:,} bytes")
            return message

        return limited


def _busy() -> Any:
    return JSONResponse(
        {"detail": "all hands are full, come back in a moment"},
        503,
        headers={"Retry-After": str(_RETRY_AFTER_S)},
    )
