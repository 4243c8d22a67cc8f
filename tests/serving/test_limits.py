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
from serct.serving.limits import RequestLimits
from serct.serving.metrics import ServiceMetrics
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


def request(limits: ServingParams, body: list[bytes], announced: str | None = None) -> Any:
    """Read a whole body through the middleware; return how often `receive` was called."""
    num_received = 0

    async def receive() -> dict[str, Any]:
        nonlocal num_received
        num_received += 1
        if not body:
            await asyncio.sleep(10)
        return {"type": "http.request", "body": body.pop(0), "more_body": bool(body)}

    async def read_all(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass

    async def send(message: Any) -> None:
        raise AssertionError(message)

    headers = [] if announced is None else [(b"content-length", announced.encode())]
    scope = {"type": "http", "path": "/v1/predict", "headers": headers}
    app = RequestLimits(read_all, limits, ServiceMetrics())
    asyncio.run(app(scope, receive, send))
    return num_received


def test_a_body_within_its_limits_is_read_whole() -> None:
    assert request(ServingParams(max_body_mb=0.001), [bytes(400), bytes(600)], "7") == 2


@pytest.mark.parametrize(
    ("body", "announced"), [([bytes(600), bytes(600)], None), ([bytes(1)], "1001")]
)
def test_a_body_above_its_limit_gets_413(body: list[bytes], announced: str | None) -> None:
    expected = r"request body too large, expected at most 1,000 bytes"
    with pytest.raises(HTTPException, match=expected) as error:
        request(ServingParams(max_body_mb=0.001), body, announced)
    assert error.value.status_code == 413


def test_a_body_that_stops_gets_408() -> None:
    with pytest.raises(HTTPException, match=r"request body too slow: no data for 0\.05 s") as error:
        request(ServingParams(body_timeout_s=0.05), [])
    assert error.value.status_code == 408
