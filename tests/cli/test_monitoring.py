"""`serct monitor` asks a service, shows what drifts, and exits with 1 if something does."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from serct.cli.shared import app
from serct.evaluation.observation import count
from serct.models.reference import Reference
from serct.reports.drift import drift_page
from serct.serving.monitoring.drift import DriftMonitor
from serct.serving.monitoring.routes import _response
from tests.serving.monitoring.test_drift import EMOTIONS, as_observation, model, recording
from tests.web import QuietHandler, in_background


def answer(num: int, level_dbfs: float, *, has_reference: bool = True) -> str:
    """What `GET /v1/drift` of a service gives after so many predictions."""
    random = np.random.default_rng(0)
    counts = count((as_observation(recording(random)) for _ in range(300)), EMOTIONS)
    reference = Reference(recordings=300, of=400, counts=counts) if has_reference else None
    monitor = DriftMonitor(500, 60)
    for _ in range(num):
        monitor.observe(model("7", reference), recording(random, level_dbfs))
    return json.dumps([_response(each).model_dump() for each in monitor.drift()])


@contextmanager
def answering(body: str) -> Iterator[str]:
    """Answer `GET /v1/drift` of clients with the key."""

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            is_right = self.path == "/v1/drift" and self.headers["X-API-Key"] == "k"
            self.send_response(200 if is_right else 401)
            self.end_headers()
            self.wfile.write(body.encode() if is_right else b'{"detail": "no key"}')

    with in_background(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as address:
        yield f"http://{address}"


def monitor(body: str, *arguments: str) -> tuple[int, str]:
    with answering(body) as url:
        command = ["monitor", "--service", url, "--api-key", "k", *arguments]
        result = CliRunner().invoke(app, command)
    return result.exit_code, result.stdout


def test_what_is_as_in_validation_is_0_and_what_drifts_is_1() -> None:
    code, text = monitor(answer(200, -20.0))
    assert code == 0
    assert text.count("as in validation") == 6
    code, text = monitor(answer(200, -32.0))
    assert code == 1
    (line,) = [line for line in text.splitlines() if "DRIFT" in line]
    assert "level of the speech" in line


def test_nothing_measured_is_said() -> None:
    code, text = monitor(answer(200, -32.0, has_reference=False))
    assert code == 0
    assert text.count("not measured") == 6
    assert "version 7: the model's card has no reference" in text
    code, text = monitor("[]")
    assert (code, text.strip()) == (0, "Drift: none")


def test_json_and_page(tmp_path: Path) -> None:
    body, page = answer(200, -32.0), tmp_path / "drift.html"
    code, text = monitor(body, "--json", "--page", str(page))
    assert code == 1
    assert json.loads(text) == json.loads(body)
    content = page.read_text()
    assert "Version 7" in content
    assert "<script" not in content
    assert "src=" not in content
    assert "href=" not in content
    # Both sides of a bin, as bars.
    assert content.count('class="number bar"') > 20


def test_a_service_that_refuses_is_an_error() -> None:
    with answering("[]") as url:
        result = CliRunner().invoke(app, ["monitor", "--service", url, "--api-key", "wrong"])
    assert result.exit_code == 1
    assert "the service responded with 401: no key" in str(result.exception)


def test_page_of_a_service_without_predictions() -> None:
    content = drift_page([], "http://service", "today")
    assert "The service has predicted nothing since it started." in content
