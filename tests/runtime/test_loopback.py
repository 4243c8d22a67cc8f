"""Connections to this machine never go through a proxy."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from serct.app.client import Client
from serct.errors import SerctError
from serct.runtime.loopback import avoid_proxies
from tests.web import QuietHandler, in_background


class _Service(QuietHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"model": null}')


class _Proxy(_Service):
    """Refuses everything, as a company's proxy refuses the address of a machine behind it."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        self.send_error(403)


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler], family: socket.AddressFamily) -> Iterator[int]:
    class Server(ThreadingHTTPServer):
        address_family = family

    host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    server = Server((host, 0), handler)
    server.asked = asked  # type: ignore[attr-defined]
    with in_background(server):
        yield server.server_port


asked: list[str] = []


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    asked.clear()
    with listening(_Proxy, socket.AF_INET) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_the_demonstrators_client_goes_past_a_proxy(
    name: str, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, proxy)
    hosts = [("127.0.0.1", socket.AF_INET), ("localhost", socket.AF_INET)]
    if socket.has_ipv6:
        hosts.append(("[::1]", socket.AF_INET6))
    for host, family in hosts:
        with listening(_Service, family) as port:
            assert Client(f"http://{host}:{port}").ready() == {"model": None}
    assert asked == []
    with pytest.raises(SerctError, match="responded with 403"):
        Client("http://elsewhere.invalid:8000").ready()
    assert asked == ["http://elsewhere.invalid:8000/ready"]


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_every_library_goes_past_a_proxy_once_it_is_told(
    name: str, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, proxy)
    monkeypatch.setenv("NO_PROXY", "intranet.example.org")
    with monkeypatch.context() as patch:
        # Both spellings are restored after the test.
        patch.setenv("no_proxy", "")
        avoid_proxies()
        with listening(_Service, socket.AF_INET) as port:
            for host in ("127.0.0.1", "localhost"):
                assert requests.get(f"http://{host}:{port}/x", timeout=10).status_code == 200
    assert asked == []


def test_what_is_excepted_already_stays() -> None:
    environment = {"https_proxy": "http://proxy:1", "no_proxy": "a.example, ::1"}
    avoid_proxies(environment)
    assert environment["no_proxy"] == environment["NO_PROXY"] == "a.example,::1,localhost,127.0.0.1"
    for untouched in ({}, {"http_proxy": ""}, {"HTTP_PROXY": "http://p:1", "NO_PROXY": "*"}):
        copy = dict(untouched)
        avoid_proxies(copy)
        assert copy == untouched


def test_a_stage_excepts_this_machine() -> None:
    code = (
        "import os, sys; sys.argv[1:] = ['--help']\n"
        "from pipeline.stage import run\n"
        "try: run('', lambda params: None)\n"
        "finally: print(os.environ['NO_PROXY'])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={"HTTP_PROXY": "http://proxy:1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.stdout.splitlines()[-1] == "localhost,127.0.0.1,::1"
