"""What every request meets before its route: keys, limits, foreign pages, headers and ids."""

import asyncio
import json
import logging
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.staticfiles import StaticFiles
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from serct.errors import ParamsError
from serct.serving.access.origins import check_origin
from serct.serving.access.request_context import ServiceFormatter
from serct.serving.service import create_service
from serct.serving.settings import Settings
from tests.serving.access.test_keys import make

FILE = {"files": ("my secret.wav", b"RIFF")}
OPEN_PATHS = ("/", "/health", "/ready", "/metrics", "/docs", "/openapi.json")
PREFLIGHT = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST",
             "Access-Control-Request-Headers": "X-API-Key"}  # fmt: skip


def client(**settings: Any) -> TestClient:
    """Return a client of a service that has not started: what is tested here comes first."""
    service = create_service(Settings("models:/serct@champion", Path(), **settings))
    return TestClient(service, raise_server_exceptions=False)


@pytest.fixture(scope="module")
def plain() -> TestClient:
    return client()


class TestKeys:
    def test_only_pages_for_monitoring_are_open(self, tmp_path: Path) -> None:
        key = make(tmp_path / "k", "lab")["lab"]
        service = client(keys_file=tmp_path / "k")
        for path in OPEN_PATHS:
            assert service.get(path).status_code in (200, 503)
        for path in ("/v1/models", "/v1/predict", "/v1/speakers/x", "/other", "/docs/"):
            found = service.get(path)
            assert found.status_code == 401
            assert found.json()["detail"].startswith("the header X-API-Key is missing or wrong")
        assert service.get("/other", headers={"X-API-Key": key}).status_code == 404
        found = service.post("/v1/predict", files=FILE, headers={"X-API-Key": key})
        assert found.json()["detail"] == "no model yet: the model is loading"

    def test_a_body_without_a_key_is_not_read(self, tmp_path: Path) -> None:
        make(tmp_path / "k", "lab")
        service = create_service(Settings("models:/x", Path(), keys_file=tmp_path / "k"))
        sent: list[Any] = []

        async def receive() -> Any:
            raise AssertionError("it reads the body")

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/v1/predict", "headers": [],
                 "query_string": b""}  # fmt: skip
        asyncio.run(service(scope, receive, send))
        assert sent[0]["status"] == 401

    def test_each_key_has_its_own_limit(self, tmp_path: Path) -> None:
        keys = make(tmp_path / "k", "one", "two", requests_per_minute=2)
        service = client(keys_file=tmp_path / "k")
        statuses = [
            service.post("/v1/predict", headers={"X-API-Key": keys[name]}).status_code
            for name in ("one", "one", "one", "two")
        ]
        assert statuses == [422, 422, 429, 422]
        found = service.post("/v1/predict", headers={"X-API-Key": keys["one"]})
        assert 1 <= int(found.headers["Retry-After"]) <= 30
        assert "more than 2 requests a minute with the key one" in found.json()["detail"]
        text = service.get("/metrics").text
        assert 'serct_client_requests_total{client="one",status="429"} 2.0' in text
        assert 'serct_client_requests_total{client="two",status="422"} 1.0' in text
        assert keys["one"] not in text

    def test_a_key_may_have_smaller_bodies(self, tmp_path: Path) -> None:
        key = make(tmp_path / "k", "lab", max_body_mb=0.001)["lab"]
        service = client(keys_file=tmp_path / "k", api_key="sesame")
        body = {"files": ("a.wav", bytes(2000))}
        found = service.post("/v1/predict", files=body, headers={"X-API-Key": key})
        assert (found.status_code, "at most 1,000 bytes" in found.text) == (413, True)
        found = service.post("/v1/predict", files=body, headers={"X-API-Key": "sesame"})
        assert found.status_code == 503

    def test_streams_of_a_key(self, tmp_path: Path) -> None:
        key = make(tmp_path / "k", "lab", streams=1)["lab"]
        service = client(keys_file=tmp_path / "k")
        address, headers = "/v1/stream?sample_rate=16000", {"X-API-Key": key}
        with service.websocket_connect(address, headers=headers):
            with service.websocket_connect(address, headers=headers) as second:
                assert second.receive() == {
                    "type": "websocket.close", "code": 1013,
                    "reason": "1 streams open with the key lab; close one first",
                }  # fmt: skip
            with service.websocket_connect(address) as third:
                assert third.receive()["code"] == 1008

    def test_a_stream_ends_when_its_key_is_removed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("serct.serving.access.clients._CHECK_S", 0.0)
        key = make(tmp_path / "k", "lab", "other")["lab"]
        service = client(keys_file=tmp_path / "k")
        address = "/v1/stream?sample_rate=16000"
        with service.websocket_connect(address, headers={"X-API-Key": key}) as socket:
            socket.send_bytes(bytes(320))
            make(tmp_path / "k", "other")
            socket.send_bytes(bytes(320))
            closed = socket.receive()
        assert (closed["code"], "X-API-Key" in closed["reason"]) == (1008, True)

    def test_a_broken_file_is_said(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("serct.serving.access.clients._CHECK_S", 0.0)
        key = make(tmp_path / "k", "lab")["lab"]
        service = client(keys_file=tmp_path / "k")
        assert service.get("/ready").json()["keys_problem"] is None
        (tmp_path / "k").write_text("keys: 1")
        problem = service.get("/ready").json()["keys_problem"]
        assert service.get("/other", headers={"X-API-Key": key}).status_code == 404
        assert problem == "k: keys: Input should be a valid array; the keys of before stay in use"


class TestBrowsers:
    def test_no_response_lets_other_sites_read_it(self, plain: TestClient) -> None:
        for method, path in [("GET", path) for path in OPEN_PATHS] + [("POST", "/v1/predict")]:
            found = plain.request(method, path, headers={"Origin": "https://a.example"})
            assert not [name for name in found.headers if name.startswith("access-control")]
            assert found.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        found = plain.options("/v1/predict", headers=PREFLIGHT)
        assert found.status_code == 405
        assert not [name for name in found.headers if name.startswith("access-control")]

    def test_an_allowed_site_may_read_responses_and_refusals(self) -> None:
        service = client(allow_origins=("https://a.example",), api_key="sesame")
        found = service.options("/v1/predict", headers=PREFLIGHT)
        assert found.status_code == 200
        assert found.headers["Access-Control-Allow-Origin"] == "https://a.example"
        assert "X-API-Key" in found.headers["Access-Control-Allow-Headers"]
        assert "Access-Control-Allow-Credentials" not in found.headers
        found = service.post("/v1/predict", files=FILE, headers={"Origin": "https://a.example"})
        assert found.status_code == 401
        assert found.headers["Access-Control-Allow-Origin"] == "https://a.example"
        other = {**PREFLIGHT, "Origin": "https://b.example"}
        found = service.options("/v1/predict", headers=other)
        assert found.status_code == 400
        assert "Access-Control-Allow-Origin" not in found.headers

    @pytest.mark.parametrize(
        ("origin", "host", "status"),
        [
            (None, "testserver", 503),
            ("http://testserver", "testserver", 503),
            ("https://testserver", "testserver", 503),  # a proxy adds TLS
            ("http://a.example:8000", "a.example:8000", 503),
            ("https://ok.example", "testserver", 503),
            ("http://127.0.0.1:8501", "127.0.0.1:8000", 403),
            ("https://evil.example", "testserver", 403),
            ("https://testserver.evil.example", "testserver", 403),
            ("null", "testserver", 403),
            ("http://[", "testserver", 403),
            ("http://testserver:x", "testserver", 403),
        ],
    )
    def test_pages_of_other_sites_can_send_nothing(
        self, origin: str | None, host: str, status: int
    ) -> None:
        service = client(allow_origins=("https://ok.example",))
        headers = {"Host": host} | ({"Origin": origin} if origin else {})
        found = service.post("/v1/predict", files=FILE, headers=headers)
        assert found.status_code == status, found.text
        address = "/v1/stream?sample_rate=16000"
        if status == 403:
            assert found.json()["detail"].startswith("this page comes from")
            with (
                pytest.raises(WebSocketDisconnect),
                service.websocket_connect(address, headers=headers),
            ):
                raise AssertionError
        else:
            with service.websocket_connect(address, headers=headers) as socket:
                socket.close()

    @pytest.mark.parametrize(
        ("host", "status"),
        [
            ("localhost:8000", 200), ("127.0.0.1:8000", 200), ("[::1]:8000", 200),
            ("10.0.0.7", 200), ("a.example", 200), ("A.example:8000", 200), ("x.localhost", 200),
            ("evil.example", 400), ("127.0.0.1.evil.example", 400), ("[::1", 400), ("", 400),
        ],
    )  # fmt: skip
    def test_a_name_that_suddenly_stands_for_this_machine(self, host: str, status: int) -> None:
        service = client(allow_hosts=("a.example",))
        assert service.get("/health", headers={"Host": host}).status_code == status

    @pytest.mark.parametrize(
        ("text", "expected"),
        [("https://a.example", "https://a.example"), ("https://A.example:443/", "https://a.example"),
         ("http://[::1]:8000", "http://[::1]:8000"), ("*", "*")],
    )  # fmt: skip
    def test_sites(self, text: str, expected: str) -> None:
        assert check_origin(text) == expected

    @pytest.mark.parametrize(
        "text", ["a.example", "ftp://a", "https://a/b", "https://u@a", "http://[", "http://a:b", ""]
    )
    def test_what_is_no_site(self, text: str) -> None:
        with pytest.raises(ParamsError, match="expected scheme and host"):
            check_origin(text)

    def test_the_page_of_routes_loads_nothing(self, plain: TestClient) -> None:
        page = plain.get("/docs")
        loaded: list[tuple[str, str | None]] = []

        class Reader(HTMLParser):
            def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
                assert tag not in ("script", "link", "img", "iframe", "form", "object")
                assert not [name for name, _ in attrs if name.startswith("on")]
                loaded.extend(each for each in attrs if each[0] in ("src", "href"))

        Reader().feed(page.text)
        assert loaded == [("href", "openapi.json")]
        policy = page.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "frame-ancestors 'none'" in policy
        for path in plain.get("/openapi.json").json()["paths"]:
            assert path in page.text

    def test_headers(self, plain: TestClient) -> None:
        for path in (*OPEN_PATHS, "/v1/models", "/other"):
            headers = plain.get(path).headers
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["Cache-Control"] == "no-store"
            assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
            assert "server" not in headers


def failing(fail: Callable[[], object]) -> TestClient:
    service: FastAPI = create_service(Settings("models:/serct@champion", Path()))
    service.add_api_route("/v1/fail/{name}", lambda name: fail())
    return TestClient(service)

    def test_a_page_runs_its_own_scripts_alone(self, tmp_path: Path) -> None:
        (tmp_path / "index.html").write_text("<script src=a.js></script>")
        service = create_service(Settings("models:/x", Path(), api_key="sesame"))
        service.mount("/stream", StaticFiles(directory=tmp_path, html=True))
        found = TestClient(service).get("/stream/")
        assert found.status_code == 200
        policy = found.headers["Content-Security-Policy"]
        assert "script-src 'self';" in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert TestClient(service).get("/stream/../v1/models").status_code == 401


class TestIds:
    @pytest.mark.parametrize("given", ["a", "0190-Ab_c.d", "x" * 64])
    def test_a_clients_id_comes_back(self, plain: TestClient, given: str) -> None:
        for path in ("/health", "/v1/models", "/other"):
            assert plain.get(path, headers={"X-Request-ID": given}).headers["X-Request-ID"] == given

    @pytest.mark.parametrize("given", [None, "", "x" * 65, "a b", "\x1b[31m", "ä", 'a"', "a,b"])
    def test_an_unusable_one_is_replaced(self, plain: TestClient, given: str | None) -> None:
        headers = {"X-Request-ID": given.encode("latin-1")} if given is not None else {}
        found = plain.get("/health", headers=headers).headers["X-Request-ID"]  # type: ignore[arg-type]
        assert re.fullmatch("[0-9a-f]{16}", found)

    def test_a_stream_has_one(self, plain: TestClient) -> None:
        headers = {"X-Request-ID": "mine"}
        with plain.websocket_connect("/v1/stream?sample_rate=16000", headers=headers) as socket:
            assert (b"x-request-id", b"mine") in (socket.extra_headers or [])

    def test_an_unexpected_error_is_logged_without_what_was_sent(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail() -> None:
            try:
                raise KeyError("secret.wav")
            except KeyError as error:
                raise ValueError("secret.wav is odd") from error

        found = failing(fail).get("/v1/fail/secret.wav", headers={"X-Request-ID": "mine"})
        assert found.status_code == 500
        detail = "internal error; the service's log has more under mine"
        assert found.json() == {"detail": detail}
        assert found.headers["X-Request-ID"] == "mine"
        assert found.headers["X-Content-Type-Options"] == "nosniff"
        assert "secret" not in caplog.text.replace('KeyError("secret.wav")', "").replace(
            'ValueError("secret.wav is odd")', ""
        )  # the lines of code above are quoted
        assert "unexpected ValueError:" in caplog.text
        assert "because of unexpected KeyError:" in caplog.text
        assert "a request failed: route /v1/fail/{name}, status 500" in caplog.text

    def test_refused_requests_cannot_fill_the_log(
        self, plain: TestClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        for _ in range(100):
            assert plain.get("/ready").status_code == 503
        assert 50 <= len(caplog.records) <= 65

    def test_lines_have_the_id_and_may_be_json(self) -> None:
        lines = []
        handlers = {form: ServiceFormatter(form) for form in ("text", "json")}  # type: ignore[arg-type]

        class Keep(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                lines.append({form: each.format(record) for form, each in handlers.items()})

        log, handler = logging.getLogger("serct"), Keep()
        log.addHandler(handler)
        try:
            headers = {"X-Request-ID": "mine"}
            client().post("/v1/predict", files=FILE, headers=headers)
        finally:
            log.removeHandler(handler)
        (line,) = lines
        assert re.search(r"status 503, seconds [\d.]+ \(request mine\)$", line["text"])
        found = json.loads(line["json"])
        assert found["request_id"] == "mine"
        assert (found["level"], found["route"], found["status"]) == ("warning", "/v1/predict", 503)
        assert "secret" not in line["json"]
