"""Limits that hold before every route: requests at once, size and speed of a body."""

import time

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serct.config.serving import ServingParams
from serct.serving.metrics import ServiceMetrics
from serct.serving.uploads import Upload

# Requests of monitoring: always accepted, not counted.
_UNLIMITED = ("/", "/health", "/ready", "/metrics", "/docs", "/openapi.json")
# Whose bodies may be long and slow, and whose responses begin before they end.
CALLS = "/v1/segments"
RETRY_AFTER_S = 1


class RequestLimits:
    """ASGI middleware that enforces limits and counts requests.

    A request is in flight from the end of its body to the end of its response. Until then it is an
    upload: clients that send slowly, by fate or on purpose, take no place from those that wait for
    a prediction. If there are too many uploads, the slowest ends.
    """

    def __init__(self, app: ASGIApp, limits: ServingParams, metrics: ServiceMetrics) -> None:
        self._app, self._limits, self._metrics = app, limits, metrics
        self._num_in_flight = self._num_calls = 0
        self._uploads: set[Upload] = set()

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

        is_call = scope["path"] == CALLS
        try:
            if busy := self._too_many_calls() if is_call else self._too_many():
                response = JSONResponse({"detail": busy.detail}, busy.status_code, busy.headers)
                await response(scope, receive, send_and_note)
            elif is_call:
                await self._pass_call_on(scope, receive, send_and_note)
            else:
                await self._pass_on(scope, receive, send_and_note)
        finally:
            route = _pattern(scope) if "route" in scope else "other"
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - started)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application respond, while the request counts as an upload, then as in flight."""

        def begin() -> None:
            if busy := self._too_many_in_flight():
                raise busy
            self._uploads.discard(upload)
            self._num_in_flight += 1
            self._set_metrics()

        limits = self._limits
        upload = Upload(scope, receive, limits.max_body_mb, limits.min_body_rate_kb, limits, begin)
        self._uploads.add(upload)
        self._set_metrics()
        try:
            if upload.is_complete:
                begin()
            await self._app(scope, upload.receive, send)
        finally:
            if upload in self._uploads:
                self._uploads.discard(upload)
            else:
                self._num_in_flight -= 1
            self._set_metrics()

    async def _pass_call_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application respond while a long recording arrives, and after."""
        limits = self._limits
        upload = Upload(
            scope, receive, limits.max_call_mb, limits.min_call_rate_kb, limits, lambda: None
        )
        self._num_calls += 1
        self._set_metrics()
        try:
            await self._app(scope, upload.receive, send)
        finally:
            self._num_calls -= 1
            self._set_metrics()

    def _set_metrics(self) -> None:
        self._metrics.calls.set(self._num_calls)
        self._metrics.uploads.set(len(self._uploads))
        self._metrics.in_flight.set(self._num_in_flight)

    def _too_many_calls(self) -> HTTPException | None:
        if self._num_calls < self._limits.max_calls:
            return None
        return _busy(f"{self._num_calls} long recordings")

    def _too_many(self) -> HTTPException | None:
        return self._too_many_in_flight() or self._too_many_uploads()

    def _too_many_in_flight(self) -> HTTPException | None:
        if self._num_in_flight < self._limits.max_in_flight:
            return None
        return _busy(f"{self._num_in_flight} requests in flight")

    def _too_many_uploads(self) -> HTTPException | None:
        """Make room for another upload; return why that is not possible."""
        if len(self._uploads) < self._limits.max_uploads:
            return None
        waiting = [each for each in self._uploads if not each.is_safe]
        if not waiting:
            return _busy(f"{len(self._uploads)} uploads")
        min(waiting, key=lambda upload: upload.rate).evict()
        return None


def _pattern(scope: Scope) -> str:
    """Return the path without the values of its parameters, such as a speaker's secret name."""
    path = str(scope["path"])
    for name, value in scope.get("path_params", {}).items():
        before, _, behind = path.rpartition(str(value))
        path = f"{before}{{{name}}}{behind}"
    return path


def _busy(reason: str) -> HTTPException:
    problem = f"server busy: {reason}; retry after {RETRY_AFTER_S} s"
    return HTTPException(503, problem, {"Retry-After": str(RETRY_AFTER_S)})
