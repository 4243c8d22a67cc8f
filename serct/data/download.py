"""Download one file over HTTP, resume where it stopped, and verify it before it gets its name.

A later run, also after a kill, goes on where this one stopped (see `serct.data.partial_file`).
The package pooch does everything else here but cannot resume.
"""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from serct.data.partial_file import PartialFile
from serct.errors import DownloadError
from serct.runtime.digests import file_digest
from serct.runtime.disk import disk_errors

if TYPE_CHECKING:
    import requests

Advance = Callable[[int], object]
# Opens a progress bar from a total (0 if unknown), a label and a unit: `log.progress` is one.
Progress = Callable[[int, str, str], AbstractContextManager[Advance]]
# Also the most that is lost when a connection is cut.
_CHUNK_BYTES = 1 << 13
_LONGEST_PAUSE_S = 60.0
# A later request may succeed after these; any other refusal is final.
_PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


@contextmanager
def no_progress(total: int, label: str, unit: str) -> Iterator[Advance]:
    """Show nothing."""
    yield lambda num_units: None


@dataclass(frozen=True)
class Remote:
    """A file on a server, and what is known of its content.

    Attributes:
        url: http or https.
        num_bytes: Size, None if unknown.
        sha256: Hex digest, None if unknown.
        md5: Hex digest, None if unknown: what Dataverse publishes.
    """

    url: str
    num_bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None


@dataclass(frozen=True)
class Patience:
    """How long to try a download.

    Attributes:
        num_attempts: Failures in a row, without one new byte, after which the download fails.
        backoff_s: Pause after the first failure, in seconds; doubled with each further one.
        timeout_s: Longest silence of the server, in seconds.
    """

    num_attempts: int = 6
    backoff_s: float = 1.0
    timeout_s: float = 30.0


class _InterruptedError(Exception):
    """The transfer stopped, but a later attempt may succeed."""

    def __init__(self, reason: str, pause_s: float = 0.0) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


class _Meter:
    """A progress bar that opens when the size is known and counts each byte once."""

    def __init__(self, progress: Progress, label: str, stack: ExitStack) -> None:
        self._progress, self._label, self._stack = progress, label, stack
        self._advance: Advance | None = None
        self._furthest = 0

    def reach(self, num_bytes: int, total: int | None) -> None:
        if self._advance is None:
            bar = self._progress(total or 0, self._label, "B")
            self._advance = self._stack.enter_context(bar)
        if num_bytes > self._furthest:
            self._advance(num_bytes - self._furthest)
            self._furthest = num_bytes


def download(
    remote: Remote,
    destination: Path,
    progress: Progress = no_progress,
    patience: Patience | None = None,
    session: "requests.Session | None" = None,
) -> Path:
    """Download a file, unless it is here already.

    Args:
        remote: What to fetch, and what it must be.
        destination: Where the file appears when it is whole and verified.
        progress: Shows the bytes.
        patience: How long to try.
        session: Connections to reuse.

    Returns:
        ``destination``.

    Raises:
        DiskError: If the disk is full, read-only or failing (the next try continues from there).
        DownloadError: If the address is not http(s), the server refuses, the connection fails
            too often (the next try continues from there), or the content is not as expected.
    """
    # Only here: most stages import this module and download nothing.
    import requests

    patience = patience or Patience()
    parts = urlsplit(remote.url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise DownloadError(f"{remote.url}: expected an address that starts with http(s)://")
    if destination.exists():
        if _mismatch(destination, remote) is None:
            return destination
        destination.unlink()
    partial = PartialFile(destination)
    with ExitStack() as stack:
        stack.enter_context(disk_errors(destination))
        destination.parent.mkdir(parents=True, exist_ok=True)
        session = session or stack.enter_context(requests.Session())
        meter = _Meter(progress, destination.name, stack)
        transfer = _Transfer(remote, partial, meter, patience, session)
        was_resumed = partial.num_bytes > 0
        transfer.run()
        problem = _mismatch(partial.path, remote)
        if problem and was_resumed:
            # The bytes of an earlier run may be bad: try once more, from the start.
            partial.remove()
            transfer.run()
            problem = _mismatch(partial.path, remote)
        if problem:
            partial.remove()
            raise DownloadError(f"{remote.url}: not the expected content: {problem}")
        partial.finish()
    return destination


def _mismatch(path: Path, remote: Remote) -> str | None:
    """Return how a file differs from what is known of it, None if it does not."""
    found = path.stat().st_size
    if remote.num_bytes is not None and found != remote.num_bytes:
        return f"{found} bytes, expected {remote.num_bytes}"
    for algorithm, expected in (("sha256", remote.sha256), ("md5", remote.md5)):
        if expected is not None:
            digest = file_digest(path, algorithm)
            if digest != expected.lower():
                return f"{algorithm} is {digest}, expected {expected.lower()}"
    return None


@dataclass(frozen=True)
class _Transfer:
    """The download of one file into its partial form."""

    remote: Remote
    partial: PartialFile
    meter: _Meter
    patience: Patience
    session: "requests.Session"

    def run(self) -> None:
        """Try until the file is complete."""
        num_failures, furthest = 0, self.partial.num_bytes
        while True:
            try:
                return self._fetch_rest()
            except _InterruptedError as error:
                # A slow or unstable connection is fine while each attempt gains bytes.
                found = self.partial.num_bytes
                num_failures = 1 if found > furthest else num_failures + 1
                furthest = max(furthest, found)
                if num_failures >= self.patience.num_attempts:
                    raise DownloadError(
                        f"{self.remote.url}: given up after {num_failures} failures in a row, the "
                        f"last: {error}. What came, {found} bytes, is kept as "
                        f"{self.partial.path}: run again to go on"
                    ) from error
                pause_s = max(self.patience.backoff_s * 2 ** (num_failures - 1), error.pause_s)
                time.sleep(min(pause_s, _LONGEST_PAUSE_S))

    def _fetch_rest(self) -> None:
        """Fetch the missing bytes, or all of them if the server cannot resume."""
        from requests import RequestException, exceptions

        permanent = (
            exceptions.InvalidSchema, exceptions.InvalidURL, exceptions.MissingSchema,
            exceptions.SSLError, exceptions.TooManyRedirects,
        )  # fmt: skip
        remote, offset = self.remote, self.partial.num_bytes
        validator = self.partial.validator
        if remote.num_bytes is not None and offset == remote.num_bytes:
            return
        is_known = validator or remote.sha256 or remote.md5
        if offset and (
            not is_known or (remote.num_bytes is not None and offset > remote.num_bytes)
        ):
            self.partial.remove()
            offset = 0
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if validator:
                headers["If-Range"] = validator
        try:
            with self.session.get(
                remote.url, headers=headers, stream=True, timeout=self.patience.timeout_s
            ) as response:
                self._receive(response, offset)
        except permanent as error:
            raise DownloadError(f"{remote.url}: {error}") from error
        except RequestException as error:
            raise _InterruptedError(str(error)) from error

    def _receive(self, response: "requests.Response", offset: int) -> None:
        content_range = response.headers.get("Content-Range", "")
        where = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", content_range)
        if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and offset:
            if where and where[2] == str(offset):
                return
            self.partial.remove()
            raise _InterruptedError("the server has no bytes after those found here")
        if response.status_code in _PASSING_STATUS:
            pause = response.headers.get("Retry-After", "")
            raise _InterruptedError(_status(response), float(pause) if pause.isdecimal() else 0.0)
        if response.status_code not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            raise DownloadError(f"{self.remote.url}: {_status(response)}")
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise DownloadError(f"{self.remote.url}: the server re-encoded it though asked not to")
        if response.status_code == HTTPStatus.OK:
            self.partial.restart(_validator(response))
            offset = 0
        elif not (where and where[1] == str(offset)):
            self.partial.remove()
            raise _InterruptedError(f"the server went on elsewhere than at byte {offset}")
        length = response.headers.get("Content-Length", "")
        total = offset + int(length) if length.isdecimal() else None
        if self.remote.num_bytes is not None and total not in (None, self.remote.num_bytes):
            self.partial.remove()
            raise DownloadError(
                f"{self.remote.url}: not the expected content: the server announces {total} bytes, "
                f"expected {self.remote.num_bytes}"
            )
        self._write(response, offset, total)

    def _write(self, response: "requests.Response", offset: int, total: int | None) -> None:
        with self.partial.path.open("ab") as file:
            self.meter.reach(offset, total)
            for chunk in response.iter_content(_CHUNK_BYTES):
                file.write(chunk)
                # A kill would lose what is only in memory.
                file.flush()
                self.meter.reach(file.tell(), total)
            if total is not None and file.tell() < total:
                raise _InterruptedError(f"cut off at byte {file.tell()} of {total}")


def _status(response: "requests.Response") -> str:
    return f"the server responded with {response.status_code} {response.reason}"


def _validator(response: "requests.Response") -> str | None:
    """Return a strong ETag, else the date: what If-Range accepts (RFC 9110, 13.1.5)."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified")
