"""Bodies that are still arriving: how large they may be, and how slow."""

import asyncio
import time
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope

from serct.config.serving import ServingParams

# An upload that has waited less is never ended in favour of another.
_SAFE_S = 0.25


class Upload:
    """The body of one request, which `receive` passes on part by part.

    Of the time only that counts which is spent waiting for the client: a busy service is not the
    client's fault.
    """

    def __init__(
        self, scope: Scope, receive: Receive, limits: ServingParams, on_end: Callable[[], object]
    ) -> None:
        """Create the upload.

        Args:
            scope: The request.
            receive: Gets the next part.
            limits: Of size and speed.
            on_end: Called after the last part.
        """
        headers = dict(scope["headers"])
        announced = headers.get(b"content-length", b"0")
        self._max_bytes = int(limits.max_body_mb * 1e6)
        # The header alone can refuse a body, but never accept one: it may be wrong.
        self._is_too_large = announced.isdigit() and int(announced) > self._max_bytes
        self._receive, self._limits, self._on_end = receive, limits, on_end
        self.is_complete = not {b"content-length", b"transfer-encoding"} & headers.keys()
        self._num_bytes, self._waited_s = 0, 0.0
        self._waits_since: float | None = None
        self._timeout: asyncio.Timeout | None = None
        self._is_evicted = False

    @property
    def waited_s(self) -> float:
        """Time for which the service has waited for this client, in s."""
        waits_since = self._waits_since
        return self._waited_s + (time.perf_counter() - waits_since if waits_since else 0)

    @property
    def is_safe(self) -> bool:
        """Whether it is too early to end this upload in favour of another."""
        return self._timeout is None or self.waited_s < _SAFE_S

    @property
    def rate(self) -> float:
        """Mean bytes per second."""
        return self._num_bytes / max(self.waited_s, 1e-9)

    def evict(self) -> None:
        """End the upload with status 408, if it waits."""
        if self._timeout is not None:
            self._is_evicted = True
            self._timeout.reschedule(asyncio.get_running_loop().time())

    async def receive(self) -> Message:
        """Return the next part of the body.

        Raises:
            HTTPException: 408 if the body is too slow, 413 if it is too large.
        """
        if self.is_complete:
            return await self._receive()
        # Before the first part: a client may wait for 100 Continue before it sends its body.
        self._check_size()
        message = await self._next()
        self._num_bytes += len(message.get("body", b""))
        self._check_size()
        if message["type"] == "http.request" and not message.get("more_body"):
            self.is_complete = True
            self._on_end()
        return message

    def _check_size(self) -> None:
        if self._num_bytes > self._max_bytes or self._is_too_large:
            raise HTTPException(
                413, f"request body too large, expected at most {self._max_bytes:,} bytes"
            )

    async def _next(self) -> Message:
        grace_s = self._limits.body_timeout_s
        allowed_s = grace_s + self._num_bytes / (1000 * self._limits.min_body_rate_kb)
        left_s = min(grace_s, allowed_s - self._waited_s)
        self._waits_since = time.perf_counter()
        try:
            async with asyncio.timeout(left_s) as self._timeout:
                return await self._receive()
        except TimeoutError as error:
            problem = f"request body too slow: {self._describe(left_s == grace_s)}"
            # What still arrives of this body is no other request.
            raise HTTPException(408, problem, {"Connection": "close"}) from error
        finally:
            self._waited_s, self._waits_since = self.waited_s, None
            self._timeout = None

    def _describe(self, has_stopped: bool) -> str:
        limits, found = self._limits, f"{self._num_bytes:,} bytes in {self.waited_s:.1f} s"
        if self._is_evicted:
            return f"{found}, while {limits.max_uploads} uploads are open"
        if has_stopped:
            return f"no data for {limits.body_timeout_s:g} s"
        return (
            f"{found}, expected at least {limits.min_body_rate_kb:g} kB/s "
            f"after {limits.body_timeout_s:g} s"
        )
