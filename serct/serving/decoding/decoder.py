"""The process that decodes clients' files, one after another, within limits of its own.

The C libraries that decode audio meet bytes from anybody. Here a crash, a hang or a lack of memory
ends this process and one request, not the service: `DecoderPool` starts another one. The process
imports neither PyTorch nor the web framework, so that it starts in a fifth of a second.

Run as ``python -m serct.serving.decoding.decoder FD FUNCTION MEMORY_MB PARENT``, with
`serct.serving.decoding.messages` both ways. A process decodes whole files, or one stream and then
ends.
"""

import ctypes
import io
import os
import pkgutil
import resource
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from serct.data.audio import Limits, Recording, read_recording
from serct.serving.decoding.messages import describe_failure, receive, send

# Of one channel: 120 MB after decoding. Ten minutes at 48 kHz fit.
MAX_SAMPLES = 30_000_000
_PR_SET_PDEATHSIG = 1

DecodeFunction = Callable[[BinaryIO, str, float], Recording]


def decode(source: BinaryIO, name: str, max_duration_s: float) -> Recording:
    """Decode a file and mix it down. Silence is accepted: it has no speech.

    Args:
        source: An open file that can seek.
        name: What errors call the file.
        max_duration_s: Longest file that is accepted.

    Raises:
        AudioError: If the file is not usable audio, too long, or has too many samples.
    """
    limits = Limits(silence_peak=None, max_duration_s=max_duration_s)
    return read_recording(source, limits, name, mono=True, max_samples=MAX_SAMPLES)


def _main(descriptor: str, function: str, memory_mb: str, parent: str) -> None:
    """Decode until the service closes the connection."""
    _outlive_nobody(int(parent))
    decode_function: DecodeFunction = pkgutil.resolve_name(function)
    _limit_memory(float(memory_mb))
    with socket.socket(fileno=int(descriptor)) as connection:
        send(connection, {"ready": True})
        _silence()
        while True:
            try:
                header, content = receive(connection, sys.maxsize)
            except (EOFError, OSError):
                return
            if "encoding" in header:
                # Here, since FFmpeg takes time to load and most files need none.
                from serct.serving.decoding.stream import decode_stream

                decode_stream(connection, header)
                return
            response, samples = _respond(decode_function, header, content)
            del content  # before the next file comes
            send(connection, response, samples)
            del samples


def _respond(
    decode_function: DecodeFunction, header: dict[str, Any], content: bytearray
) -> tuple[dict[str, Any], Any]:
    """Return what to send for one file: samples, or why there are none."""
    try:
        source = io.BytesIO(content)
        recording = decode_function(source, header["name"], header["max_duration_s"])
        samples = np.ascontiguousarray(recording.waveform, "<f4")
    except Exception as error:  # whatever a decoder raises, the file is at fault
        return describe_failure(error), b""
    return {"sample_rate": recording.sample_rate, "notes": recording.notes}, samples


def _outlive_nobody(parent: int) -> None:
    """End with the service, and not before it.

    The terminal and process managers send their signals to every process of a service, while its
    open requests still need this one.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        # An idle process sees the end of the connection; this is for one that hangs.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit()


def _limit_memory(memory_mb: float) -> None:
    """Allow so much memory beyond what this process has now, and no core dump of a client's file.

    A limit of data, not of addresses: libraries reserve addresses that they never use.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # others do not enforce it
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
        allowed = pages * resource.getpagesize() + int(memory_mb * 1e6)
        resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))


def _silence() -> None:
    """Discard what libraries print about files: the service logs nothing of what is sent."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


if __name__ == "__main__":
    _main(*sys.argv[1:])
