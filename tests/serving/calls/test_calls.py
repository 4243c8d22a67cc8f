"""Long recordings: the body, the mix and the formats, apart from the service."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message

from serct.data.decoding.level import Level
from serct.errors import AudioError
from serct.inference.recording import RecordingPrediction, TimedPrediction
from serct.serving.calls.body import Body
from serct.serving.calls.formats import rttm, webvtt
from serct.serving.calls.mixing import ArrivingMixer

BOUNDARY = b"--B"
FORM = {"content-type": "multipart/form-data; boundary=B"}


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    file = f'; filename="{filename}"' if filename is not None else ""
    head = f'Content-Disposition: form-data; name="{name}"{file}'.encode()
    return BOUNDARY + b"\r\n" + head + b"\r\n\r\n" + content + b"\r\n"


def arriving(*contents: bytes) -> Callable[[], Awaitable[Message]]:
    """Return how a body arrives in these parts; the client leaves after the last."""
    messages: list[Message] = [
        {"type": "http.request", "body": each, "more_body": number < len(contents)}
        for number, each in enumerate(contents, 1)
    ]

    async def receive() -> Message:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    return receive


def read(body: Body) -> bytes:
    async def main() -> bytes:
        return b"".join([each async for each in body.parts()])

    return asyncio.run(main())


@given(st.binary(max_size=300), st.lists(st.integers(0, 600), max_size=8))
def test_any_cut_of_a_form_gives_its_file(file: bytes, cuts: list[int]) -> None:
    if b"\r\n--B" in file:
        return
    content = part("note", b"hello") + part("file", file, "a.wav") + part("other", b"x", "b.wav")
    content += BOUNDARY + b"--\r\n"
    edges = [0, *sorted(cut for cut in cuts if cut < len(content)), len(content)]
    body = Body(FORM, arriving(*(content[a:b] for a, b in itertools.pairwise(edges))))
    assert read(body) == file
    assert (body.name, body.size, body.is_complete) == ("a.wav", len(content), True)


def test_the_body_itself_may_be_the_recording() -> None:
    body = Body({"content-type": "audio/mp4", "content-length": "6"}, arriving(b"abc", b"def"))
    assert read(body) == b"abcdef"
    assert (body.name, body.announced) == ("file", 6)


@pytest.mark.parametrize(
    ("headers", "content", "status", "problem"),
    [
        ({}, b"", 422, "expected a recording as the body"),
        (FORM, part("x", b"1") + BOUNDARY + b"--", 422, "found a body without it: multipart"),
        (FORM, part("file", b"no name") + BOUNDARY + b"--", 422, "a file in the field file"),
        (FORM, 2 * part("file", b"a", "a.wav") + BOUNDARY + b"--", 422, "several files"),
        (FORM, b"no form at all", 400, "the body is no multipart/form-data"),
        ({"content-type": "multipart/form-data"}, b"a" * 99, 400, "no multipart/form-data"),
    ],
)
def test_a_body_without_a_file_is_refused(
    headers: dict[str, str], content: bytes, status: int, problem: str
) -> None:
    with pytest.raises(HTTPException, match=problem) as found:
        read(Body(headers, arriving(content)))
    assert found.value.status_code == status


def test_a_client_that_leaves_is_noticed() -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    with pytest.raises(ClientDisconnect):
        read(Body({}, receive))


RATE = 100


def mixed(frames: np.ndarray, size: int, *, is_separate: bool = False) -> list[np.ndarray]:
    mixer = ArrivingMixer(RATE, frames.shape[1], is_separate=is_separate)
    found: list[list[np.ndarray]] = [[] for _ in range(mixer.num_waveforms)]
    pieces = [mixer.add(frames[first : first + size]) for first in range(0, len(frames), size)]
    for waveforms in (*pieces, mixer.end()):
        for kept, waveform in zip(found, waveforms, strict=bool(waveforms)):
            kept.append(waveform)
    return [np.concatenate(each) for each in found]


@pytest.mark.parametrize("size", [1, 37, 10_000])
def test_a_minute_is_mixed_as_a_whole_file_is(size: int) -> None:
    rng = np.random.default_rng(0)
    loud = rng.uniform(-2, 2, (5900, 1)).astype(np.float32)
    for frames in (loud, np.hstack([loud / 3, -loud / 3]), np.hstack([loud / 4, loud / 5 + 0.5])):
        level = Level()
        level.add(frames)
        mixing, _ = level.decide()
        [found] = mixed(frames, size)
        np.testing.assert_array_equal(found, mixing.apply(frames))


def test_channels_can_be_kept_apart() -> None:
    rng = np.random.default_rng(0)
    frames = rng.uniform(-1, 1, (9000, 2)).astype(np.float32)
    left, right = mixed(frames, 500, is_separate=True)
    np.testing.assert_array_equal(left, frames[:, 0])
    np.testing.assert_array_equal(right, frames[:, 1])


def test_another_unit_is_refused_whenever_it_shows() -> None:
    quiet = np.zeros((7000, 1), np.float32)
    with pytest.raises(AudioError, match="look like 16-bit integers"):
        mixed(np.concatenate([quiet, quiet + 20_000]), 500)
    with pytest.raises(AudioError, match="NaN or infinite"):
        mixed(np.concatenate([quiet, quiet + np.nan]), 500)


def found(*parts: TimedPrediction) -> RecordingPrediction:
    return RecordingPrediction("happy", {"happy": 0.9}, 9, 9, 9, 3, 1, tuple(parts))


CALLER = found(
    TimedPrediction(0.0, 1.5, 1.0, "happy", {"happy": 0.91, "sad": 0.09}),
    TimedPrediction(1.5, 3.0, 0.0, "no_speech", None),
    TimedPrediction(3599.9996, 3661.25, 9.0, "happy", {"happy": 0.5, "sad": 0.5}),
)
AGENT = found(TimedPrediction(0.5, 3662.25, 9.0, "uncertain", {"happy": 0.52, "sad": 0.48}))


def test_subtitles_of_one_and_of_two_channels() -> None:
    assert webvtt([CALLER], is_separate=False) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nhappy (91%)\n"
        "\n01:00:00.000 --> 01:01:01.250\nhappy (50%)\n"
    )
    assert webvtt([CALLER, AGENT], is_separate=True) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\n<v Channel 1>happy (91%)\n\n"
        "00:00:00.500 --> 01:01:02.250\n<v Channel 2>uncertain (52%)\n\n"
        "01:00:00.000 --> 01:01:01.250\n<v Channel 1>happy (50%)\n"
    )


def test_rttm_has_ten_fields_a_line() -> None:
    lines = rttm("my call.wav", [CALLER, AGENT]).splitlines()
    assert lines == [
        "SPEAKER my_call.wav 1 0.000 1.500 <NA> <NA> happy 0.9100 <NA>",
        "SPEAKER my_call.wav 1 3600.000 61.250 <NA> <NA> happy 0.5000 <NA>",
        "SPEAKER my_call.wav 2 0.500 3661.750 <NA> <NA> uncertain 0.5200 <NA>",
    ]
    assert all(len(line.split()) == 10 for line in lines)
