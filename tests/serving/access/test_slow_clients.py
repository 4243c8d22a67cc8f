"""Clients that send a byte now and then shut nobody out, and lose their connection soon."""

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service_process import Service, running

pytestmark = pytest.mark.slow

HEAD = (
    b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
    b"Content-Type: multipart/form-data; boundary=B\r\n\r\n"
    b'--B\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
)


@pytest.fixture(scope="module")
def patient(served: Path) -> Iterator[Service]:
    options = ("--body-timeout-s", "3", "--max-in-flight", "4", "--max-uploads", "40")
    with running("--workspace", str(served), *options) as service:
        service.wait_for_version("1")
        yield service


def connect(service: Service, head: bytes) -> socket.socket:
    host, port = service.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    connection.sendall(head)
    return connection


def responses(connections: list[socket.socket]) -> list[bytes]:
    """Return what each client gets."""
    found = []
    for connection in connections:
        connection.settimeout(20)
        with connection:
            content = b""
            try:
                while not content.endswith(b"}") and (part := connection.recv(10_000)):
                    content += part
            except ConnectionResetError:  # a byte came too late
                pass
            found.append(content)
    return found


@pytest.mark.parametrize("count", [30, 100])
def test_others_are_served_while_bodies_drip(patient: Service, spoken: Path, count: int) -> None:
    content = spoken.read_bytes()
    dripping = [connect(patient, HEAD) for _ in range(count)]
    time.sleep(0.5)  # until some are old enough to be ended
    started = time.monotonic()
    statuses = []
    while time.monotonic() - started < 4:
        statuses.append(patient.post("/v1/predict", "files", ("a.wav", content)).status_code)
        for connection in dripping:
            with contextlib.suppress(OSError):
                connection.send(b"x")
        time.sleep(0.2)
    assert set(statuses) == {200}
    found = responses(dripping)
    assert time.monotonic() - started < 12
    refused = [each for each in found if each.startswith(b"HTTP/1.1 408 ")]
    assert len(refused) >= min(count, 40) // 2  # the others were reset
    assert all(b"request body too slow: " in each for each in refused)
    assert "serct_uploads 0.0" in patient.get("/metrics").text
    assert patient.post("/v1/predict", "files", ("a.wav", content)).status_code == 200


def test_a_client_that_hangs_up_leaves_nothing(patient: Service) -> None:
    for _ in range(10):
        connect(patient, HEAD + b"RIFF").close()
    patient.wait(lambda: "serct_uploads 0.0" in patient.get("/metrics").text)
    assert "serct_requests_in_flight 0.0" in patient.get("/metrics").text
