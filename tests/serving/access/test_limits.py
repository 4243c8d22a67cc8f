"""A limit is one field: the option and the key of params.yaml follow from it."""

import asyncio
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from serct.config.reader import read_params
from serct.config.serving import ServingParams
from serct.errors import ParamsError
from serct.serving.access.limits import RequestLimits
from serct.serving.monitoring.metrics import ServiceMetrics
from serct.serving.settings import read_limits
from tests.cli.test_cli import serct
from tests.conftest import ROOT


def test_the_defaults_are_the_values_of_params_yaml() -> None:
    assert read_params(ROOT / "params.yaml").serving == ServingParams()


def test_params_yaml_holds_every_meaning() -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8").partition("\nserving:")[2]
    for name, field in ServingParams.model_fields.items():
        (comment,) = re.findall(rf"^  {name}: .*# (.*)$", text, re.MULTILINE)
        assert str(field.description).rstrip(".").lower() in comment.lower()


def test_a_folder_without_params_or_with_old_ones_has_the_defaults(tmp_path: Path) -> None:
    assert read_limits(tmp_path, {}) == ServingParams()
    old = ROOT / "tests" / "fixtures" / "ef68e99" / "workspace"
    assert "serving" not in read_params(old / "params.yaml").data
    assert read_limits(old, {"max_files": 3}) == ServingParams(max_files=3)


def test_an_option_replaces_the_value_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("serving: {max_files: 2, timeout_s: 5.0}\n")
    expected = ServingParams(max_files=2, timeout_s=7.0)
    assert read_limits(tmp_path, {"timeout_s": 7.0}) == expected


def test_a_mistake_names_the_option_or_the_key(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("serving: {max_fils: 2}\n")
    with pytest.raises(ParamsError, match=r"params\.yaml: serving\.max_fils is not a known key"):
        read_limits(tmp_path, {})
    with pytest.raises(ParamsError, match=r"^command line: max_files is 0: .* equal to 1"):
        read_limits(tmp_path, {"max_files": 0})


@pytest.mark.parametrize("command", ["serve", "app"])
def test_the_command_line_has_every_limit(command: str) -> None:
    shown = serct(command, "--help").stdout
    for name in ServingParams.model_fields:
        assert f"--{name.replace('_', '-')} " in shown


def test_limits_are_not_for_a_service_that_runs_already() -> None:
    result = serct("app", "--service", "http://127.0.0.1:9", "--max-files", "2")
    assert result.returncode == 1
    assert "--max-files: only for a service that `serct app` starts" in result.stderr


@pytest.mark.slow
def test_one_field_adds_a_limit(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "serct", tmp_path / "serct", ignore=shutil.ignore_patterns("*.pyc"))
    source = tmp_path / "serct" / "config" / "serving.py"
    field = (
        '    max_speech_s: Positive = Field(30.0, description="Longest speech in a file, in s.")\n'
    )
    source.write_text(source.read_text(encoding="utf-8") + field, encoding="utf-8")
    (tmp_path / "params.yaml").write_text("serving: {max_speech_s: 20.0}\n")
    code = (
        "from pathlib import Path; from serct.cli.serving import _limits; "
        "print([_limits('folder', Path(), {'max_speech_s': each})[1].max_speech_s "
        "for each in (None, 10.0)])"
    )
    for arguments, expected in (
        (["-c", code], "[20.0, 10.0]"),
        (["-m", "serct.cli", "serve", "--help"], "--max-speech-s "),
    ):
        result = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert expected in result.stdout, result.stderr


def request(
    limits: ServingParams, body: list[bytes | float], headers: dict[str, str] | None = None
) -> int:
    """Read a whole body through the middleware; return how often `receive` was called.

    A number in ``body`` is a time to wait, in s.
    """
    num_received = 0

    async def receive() -> dict[str, Any]:
        nonlocal num_received
        num_received += 1
        part = body.pop(0) if body else 10.0
        while not isinstance(part, bytes):
            await asyncio.sleep(part)
            part = body.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(body)}

    async def read_all(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass

    asyncio.run(call(RequestLimits(read_all, limits, ServiceMetrics()), receive, headers))
    return num_received


async def call(app: RequestLimits, receive: Any, headers: dict[str, str] | None = None) -> Any:
    """Send a request; return the message that starts a response of the middleware's own."""
    messages = []

    async def send(message: Any) -> None:
        messages.append(message)

    if headers is None:
        headers = {"transfer-encoding": "chunked"}
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await app({"type": "http", "path": "/v1/predict", "headers": encoded}, receive, send)
    return messages


def test_a_body_within_its_limits_is_read_whole() -> None:
    announced = {"content-length": "7"}
    assert request(ServingParams(max_body_mb=0.001), [bytes(400), bytes(600)], announced) == 2


@pytest.mark.parametrize(
    ("body", "announced"), [([bytes(600), bytes(600)], "1"), ([bytes(1)], "1001")]
)
def test_a_body_above_its_limit_gets_413(body: list[bytes | float], announced: str) -> None:
    expected = r"request body too large, expected at most 1,000 bytes"
    with pytest.raises(HTTPException, match=expected) as error:
        request(ServingParams(max_body_mb=0.001), body, {"content-length": announced})
    assert error.value.status_code == 413


def test_an_announced_size_is_refused_before_the_client_is_told_to_send() -> None:
    async def receive() -> dict[str, Any]:
        raise AssertionError("uvicorn answers 100 Continue here")

    async def read(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    limits = RequestLimits(read, ServingParams(max_body_mb=0.001), ServiceMetrics())
    with pytest.raises(HTTPException) as error:
        asyncio.run(call(limits, receive, {"content-length": "1001", "expect": "100-continue"}))
    assert error.value.status_code == 413


def test_a_body_that_stops_gets_408() -> None:
    with pytest.raises(HTTPException, match=r"request body too slow: no data for 0\.05 s") as error:
        request(ServingParams(body_timeout_s=0.05), [bytes(100_000), 10.0, b""])
    assert error.value.status_code == 408
    assert error.value.headers == {"Connection": "close"}


def test_a_body_that_drips_gets_408() -> None:
    expected = r"too slow: \d bytes in 0\.2 s, expected at least 20 kB/s after 0\.2 s"
    drops: list[bytes | float] = [b"x", 0.06] * 100
    with pytest.raises(HTTPException, match=expected) as error:
        request(ServingParams(body_timeout_s=0.2), [*drops, b""])
    assert error.value.status_code == 408


def test_a_slow_body_that_keeps_the_least_rate_is_read_whole() -> None:
    limits = ServingParams(body_timeout_s=0.1, min_body_rate_kb=1.0)
    assert request(limits, [0.05, bytes(100), 0.05, bytes(100), 0.05, bytes(100), 0.05, b""]) == 4


class Traffic:
    """Requests whose bodies end when they are told to."""

    def __init__(self, **limits: Any) -> None:
        self.metrics = ServiceMetrics()
        self.app = RequestLimits(self._respond, ServingParams(**limits), self.metrics)
        self.may_respond = asyncio.Event()

    async def _respond(self, scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        await self.may_respond.wait()

    def start(self, *parts: bytes) -> tuple["asyncio.Task[Any]", asyncio.Event]:
        """Send a body's parts and wait for the event before its end."""
        left, may_end = list(parts), asyncio.Event()

        async def receive() -> dict[str, Any]:
            if left:
                return {"type": "http.request", "body": left.pop(0), "more_body": True}
            await may_end.wait()
            return {"type": "http.request", "body": b"", "more_body": False}

        return asyncio.create_task(call(self.app, receive)), may_end

    @property
    def counts(self) -> tuple[float, float]:
        """Uploads and requests in flight."""
        metrics = self.metrics
        return metrics.uploads._value.get(), metrics.in_flight._value.get()


def test_an_upload_takes_no_place_in_flight() -> None:
    async def main() -> None:
        traffic = Traffic(max_in_flight=1)
        uploads = [traffic.start() for _ in range(5)]
        await asyncio.sleep(0.01)
        assert traffic.counts == (5, 0)
        uploads[0][1].set()
        await asyncio.sleep(0.01)
        assert traffic.counts == (4, 1)
        (refused, _) = await traffic.start()[0]
        assert refused["status"] == 503
        uploads[1][1].set()
        with pytest.raises(HTTPException, match="server busy: 1 requests in flight") as error:
            await uploads[1][0]
        assert (error.value.status_code, error.value.headers) == (503, {"Retry-After": "1"})
        traffic.may_respond.set()
        await uploads[0][0]
        for upload, may_end in uploads[2:]:
            may_end.set()
            await upload
        assert traffic.counts == (0, 0)

    asyncio.run(main())


def test_the_slowest_of_too_many_uploads_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        traffic = Traffic(max_uploads=2)
        traffic.may_respond.set()
        fast, slow = traffic.start(bytes(1000)), traffic.start(bytes(10))
        await asyncio.sleep(0.01)
        (refused, body) = await traffic.start()[0]
        assert refused["status"] == 503
        assert b"server busy: 2 uploads; retry after 1 s" in body["body"]
        monkeypatch.setattr("serct.serving.access.uploads._SAFE_S", 0.01)
        await asyncio.sleep(0.02)
        another = traffic.start()
        expected = r"too slow: 10 bytes in 0\.\d s, while 2 uploads are open"
        with pytest.raises(HTTPException, match=expected) as error:
            await slow[0]
        assert error.value.status_code == 408
        for upload, may_end in (fast, another):
            may_end.set()
            await upload

    asyncio.run(main())
