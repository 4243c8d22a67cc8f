"""Who sends a request: the holders of API keys, and how much each may ask for."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fastapi import HTTPException

from serct.config.serving import ServingParams
from serct.errors import KeysError
from serct.runtime.log import logger
from serct.serving.access.keys import ApiKey, find_key, hash_key, problem_of_rights, read_keys

# The client of `SERCT_API_KEY`; no name in a file of keys has capitals.
_ONE_KEY = "SERCT_API_KEY"
_CHECK_S = 1.0


class TokenBucket:
    """Counts what a client may still ask for: so many at once, and as many again each minute.

    In any t minutes it gives at most ``per_minute * (1 + t)``.
    """

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Create a full bucket.

        Args:
            per_minute: Tokens that it holds, and that come back in a minute.
            clock: Returns the time in s.
        """
        self.per_minute, self._clock = per_minute, clock
        self._num_tokens, self._since = float(per_minute), clock()

    def take(self) -> float:
        """Take a token; return 0, or the time until there is one, in s: then none was taken."""
        now = self._clock()
        gained = max(0.0, now - self._since) * self.per_minute / 60
        self._num_tokens = min(self.per_minute, self._num_tokens + gained)
        self._since = now
        if self._num_tokens >= 1:
            self._num_tokens -= 1
            return 0.0
        return (1 - self._num_tokens) * 60 / self.per_minute


@dataclass(frozen=True)
class ClientLimits:
    """How much one client may ask for, within the limits of the service; None for as much.

    Attributes:
        requests_per_minute: Requests of one minute, and at once; a stream counts as one.
        streams: Live streams at the same time.
        max_body_mb: Largest request body, in MB.
    """

    requests_per_minute: int | None = None
    streams: int | None = None
    max_body_mb: float | None = None


class Client:
    """The holder of one API key, or, without keys, everybody.

    Attributes:
        name: Of the key; "" without keys.
        limits: Of this client.
    """

    def __init__(
        self, name: str, limits: ClientLimits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name, self.limits = name, limits
        per_minute = limits.requests_per_minute
        self._bucket = None if per_minute is None else TokenBucket(per_minute, clock)
        self._num_streams = 0

    def count_request(self) -> None:
        """Count a request.

        Raises:
            HTTPException: 429 if there were too many in the last time.
        """
        left_s = self._bucket.take() if self._bucket else 0.0
        if left_s:
            retry_s = math.ceil(left_s)
            raise HTTPException(
                429,
                f"more than {self.limits.requests_per_minute} requests a minute with the key "
                f"{self.name}; retry after {retry_s} s",
                {"Retry-After": str(retry_s)},
            )

    def within(self, limits: ServingParams) -> ServingParams:
        """Return the limits of the service with the smaller ones of this client."""
        max_body_mb = self.limits.max_body_mb
        if max_body_mb is None or max_body_mb >= limits.max_body_mb:
            return limits
        return limits.model_copy(update={"max_body_mb": max_body_mb})

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Count a live stream until the block ends.

        Raises:
            HTTPException: 429 if there are too many at the same time, or too many requests.
        """
        if self.limits.streams is not None and self._num_streams >= self.limits.streams:
            raise HTTPException(
                429, f"{self._num_streams} streams open with the key {self.name}; close one first"
            )
        self.count_request()
        self._num_streams += 1
        try:
            yield
        finally:
            self._num_streams -= 1


# Without keys.
EVERYBODY = Client("", ClientLimits())


class Clients:
    """Finds the client that holds a key."""

    def __init__(
        self,
        api_key: str | None,
        path: Path | None,
        limits: ServingParams,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Read the keys.

        Args:
            api_key: A key without limits of its own; None if there is none.
            path: File of keys; None if there is none. Without both everybody may send requests.
            limits: Of the keys in the file that have none of their own.
            clock: Returns the time in s.
            now: Returns the date and time.

        Raises:
            KeysError: If the file cannot be used.
        """
        self._problem: str | None = None
        self._limits, self._path, self._clock, self._now = limits, path, clock, now
        self._fixed = [ApiKey(name="one", sha256=hash_key(api_key))] if api_key else []
        self._one = Client(_ONE_KEY, ClientLimits())
        self._keys: tuple[ApiKey, ...] = ()
        self._clients: dict[str, Client] = {}
        self._checked, self._state = clock(), self._file_state()
        if path is not None:
            self._use(read_keys(path))
            self._warn_of_rights(path)

    @property
    def problem(self) -> str | None:
        """Why the file of keys as it is now is not in use; None if it is."""
        self._refresh()
        return self._problem

    def find(self, key: str | None) -> Client | None:
        """Return the client that holds a key; None if it is missing, wrong or expired.

        A file of keys that has changed is read again within a second.
        """
        if not self._fixed and self._path is None:
            return EVERYBODY
        self._refresh()
        entry = find_key((*self._fixed, *self._keys), key or "")
        if entry is None or not key or entry.is_expired(self._now()):
            return None
        return self._one if entry in self._fixed else self._clients[entry.name]

    def _refresh(self) -> None:
        now = self._clock()
        if self._path is None or now - self._checked < _CHECK_S:
            return
        self._checked, state = now, self._file_state()
        if state == self._state:
            return
        self._state = state
        try:
            self._use(read_keys(self._path))
            self._warn_of_rights(self._path)
        except (KeysError, OSError) as error:
            kept = "the keys of before stay in use"
            logger.error("%s; %s", error, kept)
            # Anybody may see this one: without the folder.
            self._problem = f"{str(error).replace(str(self._path), self._path.name)}; {kept}"
        else:
            self._problem = None
            logger.info("%s: %d keys in use", self._path, len(self._keys))

    def _file_state(self) -> object:
        """Return what changes when the file does."""
        try:
            found = self._path.stat() if self._path is not None else None
        except OSError as error:
            return error.errno
        return found and (found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode)

    def _use(self, keys: tuple[ApiKey, ...]) -> None:
        """Take over keys; a client whose limits are as before goes on with its counts."""
        clients = {}
        for key in keys:
            limits = ClientLimits(
                key.requests_per_minute or self._limits.key_requests_per_minute,
                key.streams or self._limits.key_streams, key.max_body_mb,
            )  # fmt: skip
            old = self._clients.get(key.name)
            is_same = old is not None and old.limits == limits
            clients[key.name] = old if old and is_same else Client(key.name, limits, self._clock)
        self._keys, self._clients = keys, clients

    def _warn_of_rights(self, path: Path) -> None:
        if problem := problem_of_rights(path):
            logger.warning("%s", problem)
