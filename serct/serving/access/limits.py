"""Limits that hold before every route: requests at once, size and speed of a body."""

import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serct.config.serving import ServingParams
from serct.serving.access.clients import EVERYBODY, Client
from serct.serving.access.uploads import Upload
from serct.serving.monitoring.metrics import ServiceMetrics

# Requests of monitoring: always accepted, without a key, and not counted.
UNLIMITED = (
    "/", "/health", "/ready", "/metrics", "/docs", "/openapi.json", "/asyncapi.json", "/stream",
)  # fmt: skip
# Pages, whose scripts send their visitor's key.
_PAGES = "/stream/"
# Whose bodies may be long and slow, and whose responses begin before they end.
CALLS = "/v1/segments"
RETRY_AFTER_S = 1
KEY_HEADER = "X-API-Key"
WRONG_KEY = "the header X-API-Key is missing or wrong, or its key has expired"


class RequestLimits:
    """ASGI middleware that enforces limits and counts requests.

    A request is in flight from the end of its body to the end of its response. Until then it is an
    upload: clients that send slowly, by fate or on purpose, take no place from those that wait for
    a prediction. If there are too many uploads, the slowest ends.

    A request without a valid key is refused before anything of its body is read, so it takes no
    place from another.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: ServingParams,
        metrics: ServiceMetrics,
        find_client: Callable[[str | None], Client | None] = lambda key: EVERYBODY,
    ) -> None:
        """Create the middleware.

        Args:
            app: The application.
            limits: Of all clients together.
            metrics: Where requests are counted.
            find_client: Returns the client that holds a key, None if the key is not valid.
        """
        self._app, self._limits, self._metrics = app, limits, metrics
        self._find_client = find_client
        self._num_in_flight = self._num_calls = 0
        self._uploads: set[Upload] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it with status 401, 408, 413, 429 or 503."""
        if scope["type"] != "http" or is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500
        client = self._find_client(Headers(scope=scope).get(KEY_HEADER))
        scope.setdefault("state", {})["client"] = client

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        is_call = scope["path"] == CALLS
        try:
            if client is None:
                refused: HTTPException | None = HTTPException(401, WRONG_KEY)
            elif is_call:
                refused = self._too_many_calls() or _too_many_of(client)
            else:
                refused = (
                    self._too_many_in_flight() or _too_many_of(client) or self._too_many_uploads()
                )
            if refused:
                response = JSONResponse(
                    {"detail": refused.detail}, refused.status_code, refused.headers
                )
                await response(scope, receive, send_and_note)
            elif is_call:
                await self._pass_call_on(scope, receive, send_and_note)
            else:
                await self._pass_on(scope, receive, send_and_note)
        finally:
            route = route_pattern(scope)
            if client is not None and client.name:
                self._metrics.client_requests.labels(client.name, str(status)).inc()
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

        upload = Upload(scope, receive, scope["state"]["client"].within(self._limits), begin)
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
        limits = scope["state"]["client"].within(self._limits.for_calls())
        upload = Upload(scope, receive, limits, lambda: None)
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


def is_open(path: str) -> bool:
    """Return whether a path needs no key; any other one does, also if there is no such route."""
    return path in UNLIMITED or path.startswith(_PAGES)


def _too_many_of(client: Client) -> HTTPException | None:
    try:
        client.count_request()
    except HTTPException as refused:
        return refused
    return None


def route_pattern(scope: Scope) -> str:
    """Return the path without the values of its parameters, such as a speaker's secret name.

    Of a request that has reached no route it is "other".
    """
    if "route" not in scope:
        return "other"
    path = str(scope["path"])
    for name, value in scope.get("path_params", {}).items():
        before, _, behind = path.rpartition(str(value))
        path = f"{before}{{{name}}}{behind}"
    return path


def _busy(reason: str) -> HTTPException:
    problem = f"server busy: {reason}; retry after {RETRY_AFTER_S} s"
    return HTTPException(503, problem, {"Retry-After": str(RETRY_AFTER_S)})
