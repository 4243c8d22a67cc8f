"""The service as a process of its own, for tests."""

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import requests


class Service:
    """A running `serct serve`.

    Attributes:
        url: Where it listens.
        lines: What it logged so far.
    """

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[str] = []
        self.url = ""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if found := re.search(r"http://[\d.]+:\d+", line):
                self.url = found[0]

    def post(
        self, path: str, field: str, *files: tuple[str, bytes], **more: object
    ) -> requests.Response:
        parts = [(field, (name, content)) for name, content in files]
        return requests.post(f"{self.url}{path}", files=parts, timeout=60, **more)  # type: ignore[arg-type]

    def get(self, path: str) -> requests.Response:
        return requests.get(f"{self.url}{path}", timeout=30)

    def wait_for_version(self, version: str) -> None:
        self.wait(lambda: (self.get("/ready").json()["model"] or {}).get("version") == version)

    def wait(self, condition) -> None:  # type: ignore[no-untyped-def]
        deadline = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < deadline, "".join(self.lines)
            time.sleep(0.1)


@contextmanager
def running(
    *arguments: str,
    environment: dict[str, str] | None = None,
    program: Sequence[str] = ("serct.cli", "serve", "--port", "0", "--convert-after-s", "3600"),
) -> Iterator[Service]:
    """Run `serct serve`, or another module, on a free port until the block ends."""
    command = [sys.executable, "-m", *program, *arguments]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment
    )
    service = Service(process)
    try:
        service.wait(lambda: service.url or process.poll() is not None)
        assert process.poll() is None, "".join(service.lines)
        yield service
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        finally:
            service.reader.join(10)
            if process.stderr:
                process.stderr.close()
