"""/v1/segments over sockets: lines while the recording arrives, formats, channels, limits."""

import io
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import requests
import soundfile

from serct.config.serving import ServingParams
from serct.inference.predictor import Predictor
from serct.serving.settings import Settings
from tests.serving.decoding.test_decoder_pool import is_decoder
from tests.serving.in_thread import serving

RATE = 22_050
MAX_S = 200.0


@pytest.fixture(scope="module")
def url(trained: dict[str, Path]) -> Iterator[str]:
    """The route of a service."""
    limits = ServingParams(max_calls=1, max_recording_s=MAX_S, body_timeout_s=120)
    settings = Settings(str(trained["mlp"]), Path("nowhere"), limits=limits)
    with serving(settings) as url:
        yield f"{url}/v1/segments"


@pytest.fixture(scope="module")
def call(spoken: Path) -> np.ndarray:
    """Two people who speak in turns for 90 s, each on a channel. int16 [N, 2]."""
    samples, rate = soundfile.read(spoken, dtype="int16")
    assert rate == RATE
    both = np.zeros((90 * RATE, 2), np.int16)
    for number, start in enumerate(range(0, len(both) - len(samples), 4 * RATE)):
        both[start : start + len(samples), number % 2] = samples
    return both


def wav(samples: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="WAV")
    return file.getvalue()


def lines(response: requests.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


def of_type(found: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in found if each["type"] == kind]


def test_lines_are_those_of_the_whole(url: str, call: np.ndarray, trained: dict[str, Path]) -> None:
    content = wav(call[:, :1])
    found = lines(requests.post(f"{url}?format=ndjson", data=content, timeout=60))
    expected = Predictor.load(trained["mlp"]).analyse_file(io.BytesIO(content))
    assert [each["type"] for each in (found[0], found[-1])] == ["start", "result"]
    assert found[-1]["emotion"] == expected.emotion
    assert found[-1]["probabilities"] == pytest.approx(expected.probabilities, abs=1e-6)
    for kind, parts in (("step", expected.steps), ("segment", expected.segments)):
        told = of_type(found, kind)
        assert [(each["start_s"], each["emotion"]) for each in told] == [
            (part.start_s, part.emotion) for part in parts
        ]
    whole = requests.post(url, files={"file": ("a.wav", content)}, timeout=60).json()
    assert whole["file"] == "a.wav"
    assert len(whole["steps"]) == len(expected.steps)
    assert whole["probabilities"] == pytest.approx(expected.probabilities, abs=1e-6)


def test_each_channel_is_a_speaker(url: str, call: np.ndarray) -> None:
    options = f"{url}?channels=separate&format="
    found = lines(requests.post(f"{options}ndjson", data=wav(call), timeout=60))
    assert found[0]["channels"] == 2
    results = of_type(found, "result")
    assert [each["channel"] for each in results] == [1, 2]
    both = requests.post(f"{options}json", data=wav(call), timeout=60).json()["channels"]
    for channel, timeline in enumerate(both):
        alone = requests.post(url, data=wav(call[:, channel]), timeout=60).json()
        assert timeline["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-6)
        assert timeline["speech_s"] == alone["speech_s"] == results[channel]["speech_s"]
        # Each speaks for half of the time at most.
        assert 0 < timeline["speech_s"] < 50
    rttm = requests.post(f"{options}rttm", data=wav(call), timeout=60).text.splitlines()
    assert {line.split()[2] for line in rttm} == {"1", "2"}


def test_lines_come_before_the_recording_ends(url: str, call: np.ndarray) -> None:
    """A call that is still being recorded: its first minute is predicted before the rest comes."""
    content = wav(call[:, :1])
    place = url.removeprefix("http://").partition("/")[0]
    host, _, port = place.partition(":")
    with socket.create_connection((host, int(port)), timeout=120) as connection:
        path = "/v1/segments?format=ndjson"
        head = f"POST {path} HTTP/1.1\r\nHost: {place}\r\nContent-Length: {len(content)}\r\n\r\n"
        connection.sendall(head.encode() + content[: len(content) * 3 // 4])
        text = receive(connection, lambda text: b'"step"' in text)
        busy = requests.post(url, data=content, timeout=30)
        assert busy.status_code == 503
        assert "1 long recordings" in busy.json()["detail"]
        assert busy.headers["Retry-After"]
        connection.sendall(content[len(content) * 3 // 4 :])
        text = receive(connection, lambda text: text.endswith(b"0\r\n\r\n"))
    assert b'"result"' in text


def receive(connection: socket.socket, is_done: Callable[[bytes], bool]) -> bytes:
    text = b""
    while not is_done(text):
        part = connection.recv(65_536)
        assert part, text.decode()
        text += part
    return text


def test_the_work_ends_when_the_client_leaves(url: str, call: np.ndarray) -> None:
    place = url.removeprefix("http://").partition("/")[0]
    host, _, port = place.partition(":")
    before = {each.pid for each in psutil.Process().children() if is_decoder(each)}
    with socket.create_connection((host, int(port)), timeout=120) as connection:
        head = f"POST /v1/segments HTTP/1.1\r\nHost: {place}\r\nContent-Length: 9999999\r\n\r\n"
        connection.sendall(head.encode() + wav(call)[:200_000])
        until = time.monotonic() + 60
        while not (decoders(before) or time.monotonic() > until):
            time.sleep(0.02)
        assert decoders(before)
    while decoders(before) and time.monotonic() < until:
        time.sleep(0.02)
    assert not decoders(before)
    # The place is free again.
    assert requests.post(url, data=wav(call[: 3 * RATE]), timeout=30).status_code == 200


def decoders(before: set[int]) -> set[int]:
    return {each.pid for each in psutil.Process().children() if is_decoder(each)} - before


def test_formats_that_other_programs_read(url: str, call: np.ndarray) -> None:
    content = wav(call[: 20 * RATE])
    found = {
        form: requests.post(f"{url}?format={form}", data=content, timeout=30)
        for form in ("vtt", "rttm", "csv")
    }
    assert found["vtt"].text.startswith("WEBVTT\n\n00:00:0")
    assert found["rttm"].text.startswith("SPEAKER file 1 ")
    assert found["csv"].text.startswith("file,start,end,emotion,emotion.confidence,prediction,")
    assert found["csv"].headers["content-type"].startswith("text/csv")


@pytest.mark.parametrize(
    ("query", "cut", "status", "problem"),
    [
        ("", slice(0, 50_000), 422, "cut off, found 49956 of"),
        ("window_s=3", slice(None), 422, "window_s is 3, expected at most 0.5, a row"),
        ("channels=separate&format=csv", slice(None), 422, "format csv has no channels"),
        ("channels=separate&speaker=x", slice(None), 422, "speaker is one person"),
        ("speaker=nobody", slice(None), 404, "no such speaker"),
        ("format=ndjson", slice(0, 10), 422, "not readable as audio"),
    ],
)
def test_what_is_wrong_has_a_status(
    url: str, call: np.ndarray, query: str, cut: slice, status: int, problem: str
) -> None:
    answer = requests.post(f"{url}?{query}", data=wav(call)[cut], timeout=30)
    assert answer.status_code == status
    assert problem in answer.json()["detail"]


def test_what_is_wrong_later_is_the_last_line(url: str, call: np.ndarray) -> None:
    content = wav(np.tile(call[:, 0], 2))
    cut = lines(requests.post(f"{url}?format=ndjson", data=content[:-1000], timeout=60))
    assert cut[-1] == {"type": "error", "detail": cut[-1]["detail"]}
    assert "file: cut off, found" in cut[-1]["detail"]
    assert len(of_type(cut, "step")) > 100
    long = requests.post(url, data=wav(np.tile(call[:, 0], 3)), timeout=60)
    assert (long.status_code, long.json()["detail"]) == (
        422, f"file: longer than the {MAX_S:g} s expected at most"
    )  # fmt: skip
