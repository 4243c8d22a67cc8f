"""Limits that hold before every route: requests at once, size and speed of a body."""

import asyncio
import time

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serct.config.serving import ServingParams
from serct.serving.metrics import ServiceMetrics

# Requests of monitoring: always accepted, not counted.
_UNLIMITED = ("/health", "/ready", "/metrics", "/docs", "/openapi.json")
RETRY_AFTER_S = 1


class RequestLimits:
    """ASGI middleware that enforces limits and counts requests."""

    def __init__(self, app: ASGIApp, limits: ServingParams, metrics: ServiceMetrics) -> None:
        self._app, self._limits, self._metrics = app, limits, metrics
        self._num_in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it with status 408, 413 or 503."""
        if scope["type"] != "http" or scope["path"] in _UNLIMITED:
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if self._num_in_flight >= self._limits.max_in_flight:
                await self._busy()(scope, receive, send_and_note)
                return
            self._num_in_flight += 1
            self._metrics.in_flight.set(self._num_in_flight)
            try:
                await self._app(scope, self._limit_body(scope, receive), send_and_note)
            finally:
                self._num_in_flight -= 1
                self._metrics.in_flight.set(self._num_in_flight)
        finally:
            route = scope["path"] if "route" in scope else "other"  # no path has parameters
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - started)

    def _busy(self) -> JSONResponse:
        detail = (
            f"server busy: {self._num_in_flight} requests in flight; retry after {RETRY_AFTER_S} s"
        )
        return JSONResponse({"detail": detail}, 503, {"Retry-After": str(RETRY_AFTER_S)})

    def _limit_body(self, scope: Scope, receive: Receive) -> Receive:
        """Return a `receive` that counts the bytes of a body.

        Content-Length alone can refuse a body, but never accept one: it may be wrong.
        """
        max_bytes = int(self._limits.max_body_mb * 1e6)
        timeout_s = self._limits.body_timeout_s
        num_bytes = 0
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        is_too_large = announced.isdigit() and int(announced) > max_bytes

        async def limited() -> Message:
            nonlocal num_bytes
            try:
                async with asyncio.timeout(timeout_s):
                    message = await receive()
            except TimeoutError as error:
                raise HTTPException(
                    408, f"request body too slow: no data for {timeout_s:g} s"
                ) from error
            num_bytes += len(message.get("body", b""))
            if num_bytes > max_bytes or is_too_large:
                raise HTTPException(
                    413, f"request body too large, expected at most {max_bytes:,} bytes"
                )
            return message

        return limited
