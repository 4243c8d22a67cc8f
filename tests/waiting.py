"""Wait in tests for what other threads and processes do."""

import time
from collections.abc import Callable

import requests


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until a condition holds; a server that does not answer yet fails none.

    Raises:
        AssertionError: If it does not within that time.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except requests.RequestException:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.05)
