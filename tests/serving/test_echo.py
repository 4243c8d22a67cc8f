"""A response repeats next to nothing of a request."""

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import UploadFile
from starlette.testclient import TestClient

from serct.serving.echo import printable
from serct.serving.service import create_service
from serct.serving.settings import Settings

DISPOSITION = b"Content-Disposition: form-data; "
HEADERS = {"Content-Type": "multipart/form-data; boundary=B"}
NO_FILE = "expected a file: a part with a filename in its Content-Disposition"


@given(st.text(st.characters(codec=None)), st.integers(10, 300))
def test_any_text_becomes_one_short_line(text: str, max_length: int) -> None:
    shown = printable(text, max_length)
    assert len(shown.splitlines()) <= 1
    assert len(shown) <= max(max_length, 50)
    shown.encode()


def test_usual_names_stay_as_they_are() -> None:
    for name in ("a.wav", "süß – 日本語　録音.m4a", "emoji 👩‍👧.wav", "n" * 251 + ".wav"):
        assert printable(name) == name
    assert printable("n" * 252 + ".wav") == "n" * 250 + "….wav"
    assert printable("a\u202egnp.wav") == "a\\u202egnp.wav"


@pytest.fixture(scope="module")
def client() -> TestClient:
    """A service that has not started: its checks of a request come first."""
    return TestClient(create_service(Settings("models:/serct@champion", Path())))


def multipart(*parts: bytes) -> bytes:
    head = b"--B\r\n" + DISPOSITION
    return b"".join(head + part + b"\r\n" for part in parts) + b"--B--\r\n"


def test_an_upload_without_a_file_name_does_not_come_back(client: TestClient) -> None:
    body = multipart(b'name="files"\r\n\r\n' + b"secret" * 150_000)
    answer = client.post("/v1/predict", content=body, headers=HEADERS)
    assert answer.status_code == 422
    expected = {"type": "value_error", "loc": ["body", "files", 0], "msg": NO_FILE}
    assert answer.json() == {"detail": [expected]}


def test_only_the_first_problems_are_listed(client: TestClient) -> None:
    body = multipart(*[b'name="files"\r\n\r\nx'] * 900)
    answer = client.post("/v1/predict", content=body, headers=HEADERS)
    assert answer.status_code == 422
    assert len(answer.json()["detail"]) == 10


@pytest.mark.parametrize(
    ("query", "field", "problem"),
    [
        ("hop_s=SECRET", "hop_s", "Input should be a valid number"),
        ("format=SECRET", "format", "Input should be 'json', 'ndjson', 'vtt', 'rttm' or 'csv'"),
        ("version=" + "SECRET" * 1000, "version", "String should have at most 60 characters"),
    ],
)
def test_wrong_parameters_do_not_come_back(
    client: TestClient, query: str, field: str, problem: str
) -> None:
    body = multipart(b'name="file"; filename="a.wav"\r\n\r\nx')
    answer = client.post(f"/v1/segments?{query}", content=body, headers=HEADERS)
    assert answer.status_code == 422
    (found,) = answer.json()["detail"]
    assert found["loc"] == ["query", field]
    assert found["msg"].startswith(problem)
    assert "SECRET" not in answer.text
    assert set(found) == {"type", "loc", "msg"}


@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded"])
def test_other_bodies_do_not_come_back(client: TestClient, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    for body in (b'{"files": "SECRET"}', b"files=SECRET", b"SECRET", b"[" * 10_000):
        answer = client.post("/v1/predict", content=body, headers=headers)
        assert answer.status_code == 422
        assert "SECRET" not in answer.text
        assert len(answer.content) < 500


@pytest.mark.parametrize(
    "content_type", ["audio/wav", "application/json", "multipart/form-data; boundary=B", None]
)
def test_a_body_without_the_file_is_told_what_is_expected(
    client: TestClient, content_type: str | None
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    body = multipart(b'name="file"; filename="a.wav"\r\n\r\nRIFF')
    answer = client.post("/v1/predict", content=body, headers=headers)
    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert problem["msg"] == (
        "expected multipart/form-data with a file in the field files, found a body without it: "
        f"{content_type or 'no content type'}"
    )


def test_a_full_disk_is_not_the_clients_fault(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(UploadFile, "write", fill)
    answer = client.post("/v1/predict", files={"files": ("a.wav", b"RIFF")})
    assert answer.status_code == 503
    assert "the disk is full: cannot write" in answer.json()["detail"]
    assert "the disk is full" in caplog.text


@pytest.mark.parametrize("path", ["/", "/health", "/ready"])
def test_monitors_may_ask_with_head(client: TestClient, path: str) -> None:
    answers = [client.request(method, path) for method in ("GET", "HEAD")]
    assert answers[0].status_code == answers[1].status_code
    assert answers[1].content == b""
