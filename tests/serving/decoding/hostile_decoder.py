"""A decoder that does what a file says, as a broken C library might do with a real file.

Run as a program it is the whole service with this decoder: ``WORKSPACE PORT OPTION=VALUE...``.
"""

import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import BinaryIO

import numpy as np

from serct.data.audio import Recording
from serct.serving.decoding import decoder

# Its name in a file keeps the real one from being read.
_PREFIX = b"HOSTILE "


def file(deed: str) -> bytes:
    """Return a file that makes the decoder do something."""
    return _PREFIX + deed.encode()


def decode(source: BinaryIO, name: str, max_duration_s: float) -> Recording:
    content = source.read()
    if not content.startswith(_PREFIX):
        source.seek(0)
        return decoder.decode(source, name, max_duration_s)
    deed, _, detail = content.removeprefix(_PREFIX).decode().partition(" ")
    if deed == "signal":
        os.kill(os.getpid(), int(detail))
    elif deed == "exit":
        os._exit(int(detail))
    elif deed == "sleep":
        time.sleep(float(detail))
    elif deed == "spin":  # inside C, with the lock of the interpreter
        re.match("(a+)+$", "a" * 60 + "b")
    elif deed == "eat":
        eaten = [np.ones(10_000_000) for _ in range(1000)]
        raise AssertionError(len(eaten))
    elif deed == "raise":
        raise IndexError(content)
    elif deed == "garbage":
        descriptor = int(sys.argv[1])
        os.write(descriptor, b"\xff" * 100)
        signal.pause()
    return Recording(np.zeros((os.getpid(), 1), np.float32), 16_000)


if __name__ == "__main__":
    from serct.serving import service
    from serct.serving.settings import Settings, read_limits
    from tests.serving.decoding.hostile_decoder import decode as decode_by_name

    workspace, port, *options = sys.argv[1:]
    pairs = (option.split("=") for option in options)
    limits = read_limits(Path(workspace), {name: float(value) for name, value in pairs})
    settings = Settings("models:/serct@champion", Path(workspace), limits=limits)
    service.run(service.create_service(settings, decode_by_name), limits, "127.0.0.1", int(port))
