"""Whole sessions of live speech over real sockets, with the example client of the documentation."""

import asyncio
import importlib.util
import io
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import requests
import soundfile
import websockets
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter
from starlette.websockets import WebSocket, WebSocketState

from serct.config.serving import ServingParams
from serct.data.preparing import resample, to_pcm16
from serct.serving.access.clients import Clients
from serct.serving.batching import Batcher
from serct.serving.decoding.pool import DecoderPool
from serct.serving.models import ModelManager
from serct.serving.monitoring.metrics import ServiceMetrics
from serct.serving.settings import Settings
from serct.serving.speakers import SpeakerStore
from serct.serving.state import ServiceState
from serct.serving.streams.messages import RefusedError, ServerMessage, SessionStart
from serct.serving.streams.session import StreamSession
from serct.serving.streams.speaker import StreamSpeaker
from tests.conftest import ROOT
from tests.serving.in_thread import serving

RATE = 22_050
Messages = list[dict[str, Any]]
_CLIENT = importlib.util.spec_from_file_location(
    "stream_client", ROOT / "docs" / "examples" / "stream_client.py"
)
assert _CLIENT is not None
assert _CLIENT.loader is not None
stream_client = importlib.util.module_from_spec(_CLIENT)
_CLIENT.loader.exec_module(stream_client)


@pytest.fixture(scope="module")
def url(trained: dict[str, Path]) -> Iterator[str]:
    """The address of a service."""
    limits = ServingParams(max_streams=2, idle_s=0.5)
    model = str(trained["functionals_lda_speaker"])
    with serving(Settings(model, Path("nowhere"), api_key="k3y", limits=limits)) as url:
        yield url


@pytest.fixture(scope="module")
def stream(spoken: Path) -> np.ndarray:
    """Two utterances with a pause between them, 16 bits."""
    samples, rate = soundfile.read(spoken, dtype="int16")
    assert rate == RATE
    pause = np.zeros(RATE, np.int16)
    return np.concatenate([pause, samples, pause, samples[: 3 * len(samples) // 4], pause])


def converse(
    url: str, start: dict[str, Any], audio: bytes | list[bytes], step: int = 11_025
) -> Messages:
    """Have a session with the example client; return what the service sent, each checked."""

    async def parts() -> AsyncIterator[bytes]:
        if isinstance(audio, list):
            for each in audio:
                yield each
            return
        for first in range(0, len(audio), step):
            yield audio[first : first + step]
            await asyncio.sleep(0.01)

    async def main() -> Messages:
        address = url.replace("http", "ws") + "/v1/stream"
        own = {"api_key": "k3y", "sample_rate": RATE} | start
        return [each async for each in stream_client.converse(address, own, parts())]

    found = asyncio.run(asyncio.wait_for(main(), 30))
    schemas = requests.get(f"{url}/asyncapi.json", timeout=30).json()["components"]
    for each in found:
        TypeAdapter(ServerMessage).validate_python(each, extra="forbid")
        payload = schemas["messages"][each["type"]]["payload"]
        Draft202012Validator({**payload, "components": schemas}).validate(each)
        assert stream_client.describe(each)
    return found


def kinds(messages: Messages) -> list[str]:
    return [each["type"] for each in messages]


def test_an_utterance_is_predicted_as_a_file_with_its_samples(url: str, stream: np.ndarray) -> None:
    messages = converse(url, {"hop_s": 0.25}, stream.tobytes())
    found = kinds(messages)
    assert (found[0], found[-1]) == ("session.started", "session.end")
    assert [each for each in found if each != "utterance.partial"][1:-1] == [
        "utterance.start", "utterance.end", "utterance.start", "utterance.end"
    ]  # fmt: skip
    assert messages[-1]["utterances"] == 2
    assert messages[-1]["duration_s"] == pytest.approx(len(stream) / RATE, abs=1e-5)
    for end in (each for each in messages if each["type"] == "utterance.end"):
        cut = stream[round(end["start_s"] * RATE) : round(end["end_s"] * RATE)]
        file = io.BytesIO()
        soundfile.write(file, cut, RATE, format="WAV")
        response = requests.post(
            f"{url}/v1/predict", files={"files": ("a.wav", file.getvalue())},
            headers={"X-API-Key": "k3y"}, timeout=30,
        )  # fmt: skip
        (prediction,) = response.json()["predictions"]
        for key in ("emotion", "confidence", "probabilities", "speech_s", "analysed_s", "notes"):
            assert end[key] == prediction[key], key
        assert prediction["duration_s"] == pytest.approx(end["end_s"] - end["start_s"], abs=1e-4)
        assert prediction["speech_s"] > 0.5


def test_partial_predictions_come_while_somebody_speaks(url: str, stream: np.ndarray) -> None:
    async def main() -> Messages:
        has_partial, messages = asyncio.Event(), []

        async def parts() -> AsyncIterator[bytes]:
            yield stream[: 5 * RATE // 2].tobytes()
            await has_partial.wait()  # within the utterance, however slow the machine is
            yield stream[5 * RATE // 2 : 4 * RATE].tobytes()

        start = {"api_key": "k3y", "sample_rate": RATE, "hop_s": 0.1}
        address = url.replace("http", "ws") + "/v1/stream"
        async for each in stream_client.converse(address, start, parts()):
            messages.append(each)
            if each["type"] == "utterance.partial":
                has_partial.set()
        return messages

    messages = asyncio.run(asyncio.wait_for(main(), 30))
    first, partial = messages[1:3]
    assert (first["type"], partial["type"]) == ("utterance.start", "utterance.partial")
    assert partial["start_s"] == first["start_s"]
    assert partial["end_s"] <= 2.5
    assert sum(partial["probabilities"].values()) == pytest.approx(1)


def test_floats_and_channels_give_what_integers_give(url: str, stream: np.ndarray) -> None:
    floats = (stream / 32_768).astype("<f4")
    both = np.stack([1.5 * floats, 0.5 * floats], axis=1)
    integers = converse(url, {}, stream.tobytes())
    for start, audio in (
        ({"encoding": "pcm_f32le"}, floats),
        ({"encoding": "pcm_f32le", "channels": 2}, both),
    ):
        messages = converse(url, start, audio.tobytes(), 10_001)
        ends, expected = (
            [each for each in every if each["type"] == "utterance.end"]
            for every in (messages, integers)
        )
        assert len(ends) == len(expected)
        for each, other in zip(ends, expected, strict=True):
            assert each["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)


def webm(samples: np.ndarray) -> bytes:
    """Return 16-bit samples as a browser records them: Opus in WebM."""
    file = io.BytesIO()
    with av.open(file, "w", format="webm") as container:
        track = container.add_stream("libopus", rate=48_000, layout="mono")
        for packet in track.encode(as_frame(samples)):
            container.mux(packet)
        container.mux(track.encode(None))
    return file.getvalue()


def opus_packets(samples: np.ndarray) -> list[bytes]:
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "mono", "s16"
    return [bytes(each) for each in (*encoder.encode(as_frame(samples)), *encoder.encode(None))]


def as_frame(samples: np.ndarray) -> av.AudioFrame:
    waveform = resample((samples / 32_768).astype(np.float32), RATE, 48_000, "soxr")
    frame = av.AudioFrame.from_ndarray(to_pcm16(waveform)[None], "s16", "mono")
    frame.sample_rate = 48_000
    return frame


def test_files_and_packets_are_decoded_as_they_arrive(url: str, stream: np.ndarray) -> None:
    wav = io.BytesIO()
    soundfile.write(wav, stream, RATE, format="WAV")
    expected = converse(url, {}, stream.tobytes())
    forms = {"sample_rate": None}
    found = [
        converse(url, {"encoding": "file"} | forms, wav.getvalue()),
        converse(url, {"encoding": "file"} | forms, webm(stream), 2000),
        converse(url, {"encoding": "opus"} | forms, opus_packets(stream)),
    ]
    for messages in found:
        ends, others = (
            [each for each in every if each["type"] == "utterance.end"]
            for every in (messages, expected)
        )
        assert len(ends) == len(others) == 2
        for each, other in zip(ends, others, strict=True):
            assert each["start_s"] == pytest.approx(other["start_s"], abs=0.1)
            assert each["end_s"] == pytest.approx(other["end_s"], abs=0.1)
            if messages is found[0]:
                assert each["probabilities"] == other["probabilities"]
        assert messages[-1]["duration_s"] == pytest.approx(len(stream) / RATE, abs=0.1)


def test_steps_come_with_utterances_or_alone(url: str, stream: np.ndarray) -> None:
    both = kinds(converse(url, {"mode": "both"}, stream.tobytes()))
    assert {"partial", "utterance.start", "utterance.end", "final"} <= set(both)
    assert both[-2:] == ["final", "session.end"]
    steps = kinds(converse(url, {"mode": "steps"}, stream.tobytes()))
    assert set(steps) == {"session.started", "partial", "final", "session.end"}
    assert kinds(converse(url, {}, b"")) == ["session.started", "session.end"]


def test_finished_utterances_are_enrolled(url: str, stream: np.ndarray) -> None:
    messages = converse(url, {"adapt": True}, np.resize(stream, 3 * len(stream)).tobytes())
    ends = [each["adaptation"] for each in messages if each["type"] == "utterance.end"]
    assert [each["recordings"] for each in ends] == list(range(6))


def test_a_late_model_loses_no_utterance(
    url: str, stream: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    from serct.serving.streams import session as stream_session

    analyse = stream_session.analyse

    async def late(*arguments: Any) -> Any:
        await asyncio.sleep(0.1)
        return await analyse(*arguments)

    monkeypatch.setattr(stream_session, "analyse", late)
    messages = converse(url, {}, np.resize(stream, 3 * len(stream)).tobytes(), 500_000)
    found = [each for each in kinds(messages) if each.startswith("utterance")]
    assert found.count("utterance.end") == found.count("utterance.start") == 6
    assert [each["utterance"] for each in messages if each["type"] == "utterance.end"] == [
        *range(1, 7)
    ]


@pytest.mark.parametrize(
    ("start", "audio", "problem"),
    [
        ({"api_key": "wrong"}, b"", r"1008: the header X-API-Key is missing or wrong"),
        ({"version": 2}, b"", r"1008: session\.start: version is 2: Input should be 1"),
        ({"encoding": "mp3"}, b"", r"1008: session\.start: encoding is mp3: Input should be"),
        ({"sample_rate": None}, b"", r"sample_rate is missing, pcm_s16le needs it"),
        ({"sample_rate": 100}, b"", r"sample_rate is 100: Input should be greater than or equal"),
        ({"channels": 9}, b"", r"channels is 9: Input should be less than or equal to 8"),
        ({"encoding": "file"}, b"", r"sample_rate is for samples, a file says its own"),
        ({"mood": "sad"}, b"", r"mood is sad: Extra inputs are not permitted"),
        ({"speaker": "nobody"}, b"", r"1008: no such speaker"),
        ({"model": "7"}, b"", r"1008: this service uses a model folder"),
        ({"encoding": "file", "sample_rate": None}, b"no sound", r"1003: stream: not readable as"),
        ({"encoding": "opus", "sample_rate": None}, b"\xff" * 99, r"1003: stream: packet 1 of"),
        ({}, b"OggS" + bytes(9000), r"1003: expected raw 16-bit samples, found Ogg"),
        ({"encoding": "pcm_f32le"}, b"RIFF1234WAVE" * 99, r"1003: expected raw 32-bit floats"),
        ({"encoding": "pcm_f32le"}, b"\xff" * 8000, r"1003: holds NaN or infinite samples"),
    ],
)  # fmt: skip
def test_mistakes_are_named_before_the_close(
    url: str, start: dict[str, Any], audio: bytes, problem: str
) -> None:
    with pytest.raises(RuntimeError, match=problem):
        converse(url, start, audio)


def test_text_silence_and_too_many_streams_close(url: str) -> None:
    address = url.replace("http", "ws") + "/v1/stream"
    first = {"type": "session.start", "version": 1, "sample_rate": RATE, "api_key": "k3y"}

    async def last_message(*messages: str | bytes) -> dict[str, Any]:
        async with websockets.connect(address) as socket:
            for message in messages:
                await socket.send(message)
            found = []
            with suppress(websockets.ConnectionClosed):
                async for each in socket:
                    found.append(json.loads(each))
            assert socket.close_code == found[-1]["code"]
            return dict(found[-1])

    async def main() -> list[dict[str, Any]]:
        start = json.dumps(first)
        alone = [await last_message(start, "hello"), await last_message(start)]
        never = [await last_message(), await last_message(b"12")]
        three = await asyncio.gather(*(last_message(start) for _ in range(3)))
        return [*alone, *never, max(three, key=lambda each: int(each["code"]))]

    found = asyncio.run(asyncio.wait_for(main(), 20))
    assert [(each["code"], each["reason"]) for each in found] == [
        (1003, 'expected binary samples or {"type": "end"}'),
        (1008, "no message for 0.5 s"),
        (1008, "no session.start for 0.5 s"),
        (
            1008,
            "expected session.start as the first message, or an address with sample_rate, 8000 to "
            "192000",
        ),
        (1013, "server busy: 2 streams open; retry after 1 s"),
    ]


def test_a_client_that_reads_nothing_ends_its_session() -> None:
    async def never(*_: Any) -> Any:
        await asyncio.Event().wait()

    limits = ServingParams(idle_s=0.05)
    settings = Settings("nowhere", Path("nowhere"), limits=limits)
    pools = [DecoderPool(1, 100, 1) for _ in range(2)]
    state = ServiceState(
        settings,
        ModelManager(settings),
        Batcher(1),
        ServiceMetrics(),
        *pools,
        SpeakerStore(1, 1),
        Clients(None, None, limits),
    )
    socket = WebSocket({"type": "websocket"}, never, never)
    start = SessionStart(type="session.start", version=1, sample_rate=RATE)
    socket.application_state = WebSocketState.CONNECTED
    speaker = StreamSpeaker(None, adapts=False, window_s=3)
    session = StreamSession(state, socket, start, lambda: None, speaker, None)
    with pytest.raises(RefusedError, match=r"no message was read for 0\.05 s"):
        asyncio.run(asyncio.wait_for(session.conclude(), 5))
