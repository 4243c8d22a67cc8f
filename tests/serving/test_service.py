"""The service as a process, with real sockets and other projects' clients."""

import asyncio
import io
import itertools
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import requests
import soundfile
import websockets

from serct import Predictor, __version__, tracking
from serct.data.preparing import resample
from serct.data.windows import geometric_mean
from serct.inference.importance import importance_over_time
from tests.conftest import add_version, make_workspace
from tests.service_process import Service, running

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def predictor(served: Path) -> Predictor:
    return Predictor.load(tracking.open_store(served, "serct", "serct").folder("1"))


def encode(samples: np.ndarray, rate: int = 16_000, form: str = "WAV", **more: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=form, **more)
    return buffer.getvalue()


class TestPredict:
    @pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
    @pytest.mark.parametrize("channels", [1, 2])
    def test_predicts_as_the_predictor(
        self, service: Service, predictor: Predictor, spoken: Path, form: str, channels: int
    ) -> None:
        samples, rate = soundfile.read(spoken)
        content = encode(np.stack([samples] * channels, axis=1), rate, form)
        answer = service.post("/v1/predict", "files", (f"clip.{form}", content))
        assert answer.status_code == 200, answer.text
        (found,) = answer.json()["predictions"]
        expected = predictor.predict_file(io.BytesIO(content))
        assert found["probabilities"] == pytest.approx(expected, abs=1e-5)
        assert found["emotion"] == predictor.decide(expected)
        assert found["file"] == f"clip.{form}"
        assert found["duration_s"] == pytest.approx(len(samples) / rate, abs=0.1)
        assert 0.5 < found["speech_s"] < found["analysed_s"] <= found["duration_s"] + 1e-6
        assert answer.json()["model"]["version"] == "1"

    def test_several_files_in_their_order(
        self, service: Service, predictor: Predictor, spoken: Path
    ) -> None:
        samples, rate = soundfile.read(spoken)
        clips = [encode(samples[start:], rate) for start in (0, 4000, 8000)]
        clips.insert(1, encode(np.zeros(16_000)))
        answer = service.post(
            "/v1/predict", "files", *((f"{n}.wav", clip) for n, clip in enumerate(clips))
        ).json()["predictions"]
        assert [each["file"] for each in answer] == ["0.wav", "1.wav", "2.wav", "3.wav"]
        assert answer[1]["emotion"] == "no_speech"
        for number in (0, 2, 3):
            expected = predictor.predict_file(io.BytesIO(clips[number]))
            assert answer[number]["probabilities"] == pytest.approx(expected, abs=1e-5)

    def test_curl(self, service: Service, spoken: Path) -> None:
        curl = shutil.which("curl")
        if curl is None:
            pytest.skip("curl is not installed")
        command = [curl, "-sS", "-F", f"files=@{spoken}", f"{service.url}/v1/predict"]
        result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert json.loads(result.stdout)["predictions"][0]["speech_s"] > 0.5

    @pytest.mark.parametrize("kind", ["silence", "noise", "tone", "melody"])
    def test_what_is_not_speech_gets_no_emotion(self, service: Service, kind: str) -> None:
        seconds = np.arange(48_000) / 16_000
        rng = np.random.default_rng(0)
        notes = rng.choice([220, 262, 330, 392], 6).repeat(8000)
        samples = {
            "silence": np.zeros(48_000),
            "noise": 0.1 * rng.standard_normal(48_000),
            "tone": 0.3 * np.sin(2 * np.pi * 440 * seconds),
            "melody": 0.2 * sum(np.sin(2 * np.pi * k * notes * seconds) / k for k in (1, 2, 3)),
        }[kind]
        answer = service.post("/v1/predict", "files", ("a.wav", encode(samples)))
        (found,) = answer.json()["predictions"]
        assert (found["emotion"], found["probabilities"], found["confidence"]) == (
            "no_speech",
            None,
            None,
        )


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content


HOSTILE = {
    "empty": b"",
    "text": b"hello, world",
    "random": bytes(np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8)),
    "zip": b"PK\x03\x04" + bytes(1000),
    "truncated wav": encode(np.ones(16_000) * 0.1)[:9000],
    "truncated flac": encode(np.random.default_rng(0).uniform(-1, 1, 16_000), form="FLAC")[:9000],
    "nan": encode(np.array([0.1, np.nan] * 8000, np.float32), subtype="FLOAT"),
    "infinite": encode(np.array([0.1, np.inf] * 8000, np.float32), subtype="FLOAT"),
    "huge numbers": encode(np.full(16_000, 1e30, np.float32), subtype="FLOAT"),
    "a minute of silence too long": encode(np.zeros(70 * 16_000), form="FLAC"),
    "an hour unfolded": encode(np.zeros((3600 * 8000, 1), np.int16), 8000, "FLAC"),
    "an hour announced": b"RIFF\x24\xb0\xe1\x06WAVE"
    + chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16))
    + b"data\x00\xb0\xe1\x06" + bytes(1000),
    "rate of 1 Hz": encode(np.zeros(100), 1),
    "rate of 2 MHz": encode(np.zeros(100), 2_000_000),
}  # fmt: skip


class TestBadInput:
    @pytest.mark.parametrize("name", HOSTILE)
    @pytest.mark.parametrize(("path", "field"), [("predict", "files"), ("segments", "file")])
    def test_is_the_clients_fault_and_says_why(
        self, service: Service, name: str, path: str, field: str
    ) -> None:
        if path == "segments" and name in ("a minute of silence too long", "an hour unfolded"):
            pytest.skip("short enough there")
        answer = service.post(f"/v1/{path}", field, ("bad.wav", HOSTILE[name]))
        assert answer.status_code == 422, answer.text
        assert "bad.wav: " in answer.json()["detail"]
        assert service.get("/health").status_code == 200

    def test_one_bad_file_among_good_ones_costs_its_own_prediction(
        self, service: Service, spoken: Path
    ) -> None:
        good = spoken.read_bytes()
        answer = service.post(
            "/v1/predict", "files", ("a.wav", good), ("b.wav", b"no"), ("c.wav", good)
        )
        assert answer.status_code == 200
        first, bad, last = answer.json()["predictions"]
        assert first["probabilities"] == last["probabilities"]
        assert set(bad) == {"file", "error"}
        assert bad["error"].startswith("b.wav: not readable as audio")

    def test_odd_but_usable_audio_is_predicted(self, service: Service) -> None:
        rng = np.random.default_rng(0)
        for content in (
            encode(np.full(1, 0.5)),
            encode(rng.uniform(-1, 1, (16_000, 8))),
            encode(rng.uniform(-1, 1, 9600), 96_000),
            # A placeholder, since nobody knows the length when a pipe begins.
            b"RIFF\xff\xff\xff\x7fWAVE"
            + chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16))
            + b"data\x00\xf0\xff\x7f"
            + bytes(1000),
        ):
            answer = service.post("/v1/predict", "files", ("odd.wav", content))
            assert answer.status_code == 200, answer.text

    def test_a_body_too_large(self, service: Service) -> None:
        answer = service.post("/v1/predict", "files", ("a.wav", bytes(21_000_000)))
        assert answer.status_code == 413
        assert "20,000,000 bytes" in answer.json()["detail"]

    def test_a_body_too_large_that_does_not_say_so(self, service: Service) -> None:
        def endless() -> Iterator[bytes]:
            yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
            for _ in range(40):
                yield bytes(1_000_000)

        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        try:
            answer = requests.post(
                f"{service.url}/v1/predict", data=endless(), headers=headers, timeout=30
            )
            assert answer.status_code == 413
        except requests.ConnectionError:
            pass  # closed while this client was still sending
        assert service.get("/health").status_code == 200

    def test_too_many_files(self, service: Service) -> None:
        answer = service.post("/v1/predict", "files", *(("a.wav", b"x") for _ in range(17)))
        assert answer.status_code == 413
        assert answer.json()["detail"] == "17 files, expected at most 16 in a request"

    def test_unknown_version(self, service: Service, spoken: Path) -> None:
        answer = service.post("/v1/predict?version=77", "files", ("a.wav", spoken.read_bytes()))
        assert answer.status_code == 404
        expected = (
            r"registered model 'serct' has no '77', it has "
            r"version 1 \(serct on tones, \w{7}, @challenger, @champion\), version 2 \(.*\)"
        )
        assert re.fullmatch(expected, answer.json()["detail"])

    @pytest.mark.parametrize("version", ["1", "@challenger", "challenger", "@champion"])
    def test_every_version_that_a_404_offers(
        self, service: Service, spoken: Path, version: str
    ) -> None:
        file = ("a.wav", spoken.read_bytes())
        answer = service.post(f"/v1/predict?version={version}", "files", file)
        assert answer.status_code == 200, answer.text
        assert answer.json()["model"]["version"] == "1"

    @pytest.mark.parametrize("version", ["@other", "@@@", "1/2", "%00", "²"])
    def test_no_version(self, service: Service, spoken: Path, version: str) -> None:
        file = ("a.wav", spoken.read_bytes())
        answer = service.post(f"/v1/predict?version={version}", "files", file)
        assert answer.status_code == 404
        assert ", it has version 1 (serct on tones, " in answer.json()["detail"]

    def test_the_name_of_a_file_is_one_printable_line(self, service: Service, spoken: Path) -> None:
        content = spoken.read_bytes()
        name = "n" * 1000 + "\x1b[31m.wav"
        for body, key in ((content, "predictions"), (b"x", "detail")):
            text = str(service.post("/v1/predict", "files", (name, body)).json()[key])
            assert "nnn….wav" in text
            assert "\x1b" not in text
            assert len(text) < 700

    @pytest.mark.parametrize(
        "charset", ["utf-7", "undefined", "zip", "idna", "punycode", "utf-32", "x" * 1000]
    )
    def test_any_charset(self, service: Service, charset: str) -> None:
        body = (
            b'--B\r\nContent-Disposition: form-data; name="files"; filename="+2AA-\xff.wav"'
            b"\r\n\r\nx\r\n--B--\r\n"
        )
        headers = {"Content-Type": f"multipart/form-data; boundary=B; charset={charset}"}
        answer = requests.post(f"{service.url}/v1/predict", data=body, headers=headers, timeout=30)
        assert answer.status_code in (400, 422)
        assert isinstance(answer.json()["detail"], str | list)


@pytest.fixture(scope="module")
def recording(spoken: Path) -> bytes:
    """Somebody speaks twice, with silence before, between and behind."""
    samples, rate = soundfile.read(spoken)
    silence = np.zeros(2 * rate)
    return encode(np.concatenate((silence, samples, silence, samples, silence)), rate, "FLAC")


def test_importance_is_that_of_the_predictor(
    service: Service, predictor: Predictor, spoken: Path
) -> None:
    samples, rate = soundfile.read(spoken)
    found = service.post("/v1/importance", "file", ("a.wav", encode(samples, rate))).json()
    expected = importance_over_time(predictor, samples, rate)
    assert found["emotion"] == expected.emotion
    assert found["probability"] == pytest.approx(expected.probability, abs=1e-4)
    for each, own in zip(found["stretches"], expected.stretches, strict=True):
        assert each == pytest.approx(asdict(own), abs=1e-3)
    silent = service.post("/v1/importance", "file", ("b.wav", encode(np.zeros(16_000)))).json()
    assert (silent["emotion"], silent["probability"], silent["stretches"]) == (
        "no_speech",
        None,
        [],
    )
    long = service.post("/v1/importance", "file", ("c.wav", encode(np.zeros(61 * 16_000))))
    assert long.status_code == 422


class TestSegments:
    def test_a_timeline_covers_the_recording(self, service: Service, recording: bytes) -> None:
        path = "/v1/segments?window_s=0.5&hop_s=0.25"
        timeline = service.post(path, "file", ("long.flac", recording)).json()
        segments, steps = timeline["segments"], timeline["steps"]
        for stretches in (segments, steps):
            assert stretches[0]["start_s"] == 0
            assert stretches[-1]["end_s"] == pytest.approx(timeline["duration_s"])
            for before, after in itertools.pairwise(stretches):
                assert before["end_s"] == after["start_s"]
        spoken_parts = [each["emotion"] != "no_speech" for each in segments]
        assert spoken_parts[0] is spoken_parts[-1] is False
        assert any(spoken_parts)
        for before, after in itertools.pairwise(segments):
            assert before["emotion"] != after["emotion"]
        for each in steps:
            if each["probabilities"]:
                assert sum(each["probabilities"].values()) == pytest.approx(1)

    def test_subtitles(self, service: Service, recording: bytes) -> None:
        answer = service.post("/v1/segments?format=vtt", "file", ("long.flac", recording))
        assert answer.headers["content-type"].startswith("text/vtt")
        assert answer.text.startswith("WEBVTT\n\n00:00:0")
        assert "no_speech" not in answer.text

    def test_a_hop_wider_than_the_window(self, service: Service, recording: bytes) -> None:
        path = "/v1/segments?window_s=0.5&hop_s=2"
        answer = service.post(path, "file", ("a.flac", recording))
        assert (answer.status_code, answer.json()["detail"]) == (
            422,
            "hop_s is 2, expected at most window_s, 0.5",
        )

    def test_a_window_longer_than_a_row(self, service: Service, recording: bytes) -> None:
        answer = service.post("/v1/segments?window_s=3", "file", ("a.flac", recording))
        assert (answer.status_code, answer.json()["detail"]) == (
            422,
            "window_s is 3, expected at most 0.5, a row of the model",
        )

    def test_headline_timeline_and_segments_agree(
        self, service: Service, predictor: Predictor, spoken: Path
    ) -> None:
        # Eight parts that sound different, 24 s in all.
        samples, rate = soundfile.read(spoken)
        parts = [
            resample(samples.astype(np.float32), 10 + part, 14, "soxr")[: 2 * rate]
            for part in range(8)
        ]
        parts = [np.pad(part, (0, 3 * rate - len(part))) for part in parts]
        content = encode(0.8 * np.concatenate(parts), rate)
        (headline,) = service.post("/v1/predict", "files", ("a.wav", content)).json()["predictions"]
        timeline = service.post("/v1/segments", "file", ("a.wav", content)).json()
        own = predictor.analyse_file(io.BytesIO(content))
        assert headline["duration_s"] == pytest.approx(24, abs=1e-3)
        for key, value in headline.items():
            assert timeline[key] == value, key
        assert headline["emotion"] == own.emotion
        assert headline["probabilities"] == pytest.approx(own.probabilities, abs=1e-5)
        assert [each["emotion"] for each in timeline["segments"]] == [
            each.emotion for each in own.segments
        ]
        spoken_parts = [each for each in timeline["segments"] if each["probabilities"]]
        rows = np.array([list(each["probabilities"].values()) for each in spoken_parts])
        seconds = np.array([each["speech_s"] for each in spoken_parts])
        mean = geometric_mean(rows, seconds)
        assert mean == pytest.approx(list(headline["probabilities"].values()), abs=1e-9)
        assert seconds.sum() <= headline["speech_s"] < headline["analysed_s"] <= 24


RAW = "expected raw 16-bit samples"
WEBM = b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01" + bytes(9000)
FLOATS = np.random.default_rng(0).uniform(-1, 1, 9000).astype("<f4").tobytes()


class TestStream:
    def converse(
        self, service: Service, messages: list[bytes | str], query: str
    ) -> tuple[list[dict[str, object]], int, str]:
        async def main() -> tuple[list[dict[str, object]], int, str]:
            address = service.url.replace("http", "ws") + f"/v1/stream?{query}"
            answers: list[dict[str, object]] = []
            async with websockets.connect(address) as socket:
                try:
                    for message in messages:
                        await socket.send(message)
                        await asyncio.sleep(0.15)  # faster than anyone speaks
                    async for answer in socket:
                        answers.append(json.loads(answer))
                except websockets.ConnectionClosed:
                    pass
                return answers, socket.close_code or 0, socket.close_reason or ""

        return asyncio.run(asyncio.wait_for(main(), 60))

    @pytest.mark.parametrize("rate", [8000, 22_050, 48_000])
    def test_partial_answers_then_a_final_one(
        self, service: Service, spoken: Path, rate: int
    ) -> None:
        samples, own = soundfile.read(spoken)
        positions = np.arange(0, len(samples), own / rate)
        pcm = (np.interp(positions, np.arange(len(samples)), samples) * 32767).astype("<i2")
        step = rate + 1  # odd numbers of bytes, a bit more than half a second
        data = pcm.tobytes()
        messages: list[bytes | str] = [data[i : i + step] for i in range(0, len(data), step)]
        answers, code, _ = self.converse(
            service, [*messages, '{"type": "end"}'], f"sample_rate={rate}"
        )
        assert code == 1000
        assert [each["type"] for each in answers[:-1]] == ["partial"] * (len(answers) - 1)
        assert len(answers) >= 3
        final = answers[-1]
        assert final["type"] == "final"
        assert final["end_s"] == pytest.approx(len(pcm) / rate, abs=0.002)
        assert final["emotion"] != "no_speech"
        ends = [float(str(each["end_s"])) for each in answers]
        assert ends == sorted(ends)

    def test_silence(self, service: Service) -> None:
        answers, code, _ = self.converse(
            service, [bytes(16_000), '{"type": "end"}'], "sample_rate=16000"
        )
        assert code == 1000
        assert {each["emotion"] for each in answers} == {"no_speech"}

    @pytest.mark.parametrize(
        ("messages", "query", "code", "reason"),
        [
            ([], "sample_rate=1", 1008, "sample_rate is 1, expected"),
            ([], "sample_rate=²", 1008, "expected 8000"),
            (["hello"], "sample_rate=16000", 1003, "expected binary samples"),
            (["[" * 90_000], "sample_rate=16000", 1003, "expected binary samples"),
            ([], "sample_rate=%E2%82%AC%0A%1B", 1008, r"sample_rate is €\n\x1b, expected"),
            ([b"Ogg", b"S" + bytes(9000)], "sample_rate=16000", 1003, f"{RAW}, found Ogg"),
            ([encode(np.zeros(9000))], "sample_rate=16000", 1003, f"{RAW}, found WAV"),
            ([WEBM], "sample_rate=48000", 1003, f"{RAW}, found WebM or Matroska"),
            ([FLOATS], "sample_rate=16000", 1003, f"{RAW}, found 32-bit floats"),
        ],
    )
    def test_mistakes_close_with_a_reason(
        self, service: Service, messages: list[bytes | str], query: str, code: int, reason: str
    ) -> None:
        answers, found, why = self.converse(service, messages, query)
        assert answers == []
        assert found == code
        assert reason in why


class TestState:
    def test_ready_metrics_and_models(self, service: Service) -> None:
        assert service.get("/health").json() == {"status": "ok"}
        root = service.get("/").json()
        assert (root.pop("service"), root.pop("version")) == ("SERCT", __version__)
        assert {service.get(path).status_code for path in root.values()} == {200}
        ready = service.get("/ready").json()
        assert ready["ready"] is True
        assert ready["model"]["name"] == "serct"
        text = service.get("/metrics").text
        assert 'serct_model_info{name="serct",version="1"} 1.0' in text
        assert "serct_request_seconds_bucket" in text
        assert service.get("/v1/models").json()[0]["aliases"] == ["challenger", "champion"]

    def test_drift_counts_predictions_by_version(self, service: Service, spoken: Path) -> None:
        def num_compared() -> dict[str, int]:
            found = service.get("/v1/drift").json()
            return {each["version"]: each["predictions"] for each in found}

        before = num_compared().get("1", 0)
        files = [("a.wav", spoken.read_bytes()), ("b.wav", encode(np.zeros(48_000)))]
        assert service.post("/v1/predict", "files", *files).status_code == 200
        assert num_compared()["1"] == before + 2
        (found,) = [each for each in service.get("/v1/drift").json() if each["version"] == "1"]
        quantities = {each["quantity"]: each for each in found["quantities"]}
        emotions = {each["name"]: each for each in quantities["emotion"]["bins"]}
        # It learned from tones, in which nobody speaks.
        assert emotions["no_speech"]["reference"] == found["reference"] > 0
        assert emotions["no_speech"]["current"] > 0
        assert sum(each["current"] for each in quantities["level"]["bins"]) > 0
        text = service.get("/metrics").text
        assert 'serct_predictions_total{emotion="no_speech",version="1"}' in text
        assert f'serct_drift_predictions{{version="1"}} {before + 2}.0' in text

    def test_the_log_holds_nothing_of_requests(self, service: Service) -> None:
        service.post("/v1/predict", "files", ("my secret.wav", b"x"))
        assert "secret" not in "".join(service.lines)
        assert "POST" not in "".join(service.lines)

    def test_pages_of_other_sites_reach_nothing(self, service: Service, spoken: Path) -> None:
        file = ("a.wav", spoken.read_bytes())
        evil = {"Origin": "http://evil.example"}
        found = service.post("/v1/predict", "files", file, headers=evil)
        assert found.status_code == 403
        # A name that was made to stand for this machine: the address is bound to loopback.
        found = service.post("/v1/predict", "files", file, headers={"Host": "evil.example"})
        assert (found.status_code, "expected localhost" in found.json()["detail"]) == (400, True)
        own = {"Origin": service.url, "X-Request-ID": "mine"}
        found = service.post("/v1/predict", "files", file, headers=own)
        assert (found.status_code, found.headers["X-Request-ID"]) == (200, "mine")

        async def connect(origin: str) -> None:
            address = service.url.replace("http", "ws") + "/v1/stream?sample_rate=16000"
            async with websockets.connect(address, origin=origin, proxy=None):  # type: ignore[arg-type]
                pass

        asyncio.run(connect(service.url))
        with pytest.raises(websockets.InvalidStatus) as error:
            asyncio.run(connect("http://evil.example"))
        assert error.value.response.status_code == 403
        assert b"this page comes from http://evil.example" in error.value.response.body
        assert "evil" not in "".join(service.lines)

    def test_openapi_has_examples(self, service: Service) -> None:
        schema = service.get("/openapi.json").json()
        assert schema["components"]["schemas"]["Predictions"]["example"]["predictions"]
        assert {"/v1/predict", "/v1/segments", "/v1/models", "/ready"} <= set(schema["paths"])


def test_schemathesis_finds_no_hole(service: Service, tmp_path: Path) -> None:
    """Requests made up from the schema get documented answers of the documented shape."""
    tool = Path(sys.executable).with_name("schemathesis")
    command = [
        str(tool), "run", f"{service.url}/openapi.json", "--max-examples", "40",
        "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,"
        "response_schema_conformance", "--seed", "1", "--no-color",
    ]  # fmt: skip
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]


class TestPromotion:
    """Each with a service and a registry of its own."""

    @pytest.fixture
    def own_root(
        self, trained: dict[str, Path], tone_shards: Path, new_database: Path, tmp_path: Path
    ) -> Path:
        make_workspace(tmp_path, trained["serct"], tone_shards, new_database)
        return tmp_path

    def test_the_challenger_is_served_until_there_is_a_champion(self, own_root: Path) -> None:
        second = add_version(own_root, 2, 0.5)
        with running("--workspace", str(own_root)) as service:
            challenger = service.get("/ready").json()["model"]["version"]
            other = "1" if challenger == second else second
            tracking.open_store(own_root, "serct", "serct").set_aliases(other, None, {})
            service.wait_for_version(other)

    def test_waits_for_the_first_champion(self, own_root: Path, spoken: Path) -> None:
        address = "models:/serct@champion"
        with running("--workspace", str(own_root), "--model", address) as service:
            ready = service.get("/ready")
            assert ready.status_code == 503
            assert "champion" in ready.json()["problem"]
            answer = service.post("/v1/predict", "files", ("a.wav", spoken.read_bytes()))
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
            _, code, reason = TestStream().converse(service, [bytes(32_000)], "sample_rate=16000")
            assert (code, reason.startswith("no model yet")) == (1013, True)
            tracking.open_store(own_root, "serct", "serct").set_aliases("1", None, {})
            service.wait_for_version("1")

    def test_follows_promotions_without_a_failed_request(
        self, own_root: Path, spoken: Path
    ) -> None:
        second = add_version(own_root, 2, 0.5)
        broken = add_version(own_root, 3, 0.5)
        store = tracking.open_store(own_root, "serct", "serct")
        (store.folder(broken) / "weights.safetensors").write_bytes(b"gone")
        content = spoken.read_bytes()
        expected = {
            version: Predictor.load(store.folder(version)).predict_file(spoken)
            for version in ("1", second)
        }
        store.set_aliases("1", None, {})
        answers: list[requests.Response] = []
        is_over = threading.Event()
        with running("--workspace", str(own_root)) as service:
            service.wait_for_version("1")

            def ask() -> None:
                while not is_over.is_set():
                    answers.append(service.post("/v1/predict", "files", ("a.wav", content)))

            threads = [threading.Thread(target=ask) for _ in range(4)]
            for thread in threads:
                thread.start()
            try:
                store.set_aliases(second, "1", {})
                service.wait_for_version(second)
                store.set_aliases(broken, second, {})
                service.wait(lambda: service.get("/ready").json()["problem"])
                ready = service.get("/ready").json()
                assert "weights.safetensors: damaged: SHA-256" in ready["problem"]
                assert (ready["ready"], ready["model"]["version"]) == (True, second)
                assert "serct_model_problem 1.0" in service.get("/metrics").text
                store.set_aliases("1", second, {})
                service.wait_for_version("1")
                time.sleep(0.5)
            finally:
                is_over.set()
                for thread in threads:
                    thread.join()
        assert len(answers) > 20
        seen = []
        for answer in answers:
            assert answer.status_code == 200, answer.text
            version = answer.json()["model"]["version"]
            seen.append(version)
            (found,) = answer.json()["predictions"]
            assert found["probabilities"] == pytest.approx(expected[version], abs=1e-5)
        assert set(seen) == {"1", second}

    def test_other_versions_on_demand(self, own_root: Path, spoken: Path) -> None:
        versions = [add_version(own_root, seed, 0.5) for seed in (2, 3, 4)]
        store = tracking.open_store(own_root, "serct", "serct")
        store.set_aliases("1", None, {})
        with running("--workspace", str(own_root)) as service:
            for version in [*versions, "1", versions[0]]:
                path = f"/v1/predict?version={version}"
                answer = service.post(path, "files", ("a.wav", spoken.read_bytes())).json()
                assert answer["model"]["version"] == version
                expected = Predictor.load(store.folder(version)).predict_file(spoken)
                found = answer["predictions"][0]["probabilities"]
                assert found == pytest.approx(expected, abs=1e-5)


class TestProcess:
    def test_a_folder_is_served_too_and_keys_are_asked_for(
        self, trained: dict[str, Path], served: Path, spoken: Path
    ) -> None:
        environment = {**os.environ, "SERCT_API_KEY": "sesame"}
        arguments = ("--model", str(trained["cnn"]), "--workspace", str(served))
        with running(*arguments, environment=environment) as service:
            file = ("a.wav", spoken.read_bytes())
            assert service.post("/v1/predict", "files", file).status_code == 401
            wrong = {"X-API-Key": "sesam"}
            assert service.post("/v1/predict", "files", file, headers=wrong).status_code == 401
            right = {"X-API-Key": "sesame"}
            answer = service.post("/v1/predict", "files", file, headers=right)
            assert answer.json()["model"]["version"] is None
            assert service.get("/ready").status_code == 200
            assert "sesame" not in "".join(service.lines)
            _, code, reason = TestStream().converse(service, [], "sample_rate=16000")
            assert (code, "X-API-Key" in reason) == (1008, True)
            log = "".join(service.lines)
            assert "Uvicorn running" in log
            assert "sample_rate" not in log
            assert "connection" not in log

    def test_sigterm_lets_requests_finish(self, served: Path, spoken: Path) -> None:
        samples, rate = soundfile.read(spoken)
        long = encode(np.tile(samples, 200)[: 300 * rate], rate, "FLAC")
        answers: list[requests.Response] = []
        with running("--workspace", str(served)) as service:
            service.wait_for_version("1")
            path = "/v1/segments?window_s=0.5&hop_s=0.25"
            thread = threading.Thread(
                target=lambda: answers.append(service.post(path, "file", ("a.flac", long)))
            )
            thread.start()
            service.wait(lambda: "serct_calls 1.0" in service.get("/metrics").text)
            service.process.send_signal(signal.SIGTERM)
            thread.join(60)
            # uvicorn ends by the signal that told it to, when all is answered.
            assert service.process.wait(30) == -signal.SIGTERM
        assert answers[0].status_code == 200

    def test_too_many_requests_get_503_with_retry_after(self, served: Path, spoken: Path) -> None:
        samples, rate = soundfile.read(spoken)
        long = encode(np.tile(samples, 200)[: 120 * rate], rate, "FLAC")
        with running("--workspace", str(served), "--max-calls", "2") as service:
            service.wait_for_version("1")
            answers: list[requests.Response] = []

            def ask() -> None:
                path = "/v1/segments?window_s=0.5&hop_s=0.25"
                answers.append(service.post(path, "file", ("a.flac", long)))

            threads = [threading.Thread(target=ask) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            statuses = sorted(answer.status_code for answer in answers)
            assert set(statuses) == {200, 503}
            for refused in (answer for answer in answers if answer.status_code == 503):
                assert refused.headers["retry-after"] == "1"
                detail = "server busy: 2 long recordings; retry after 1 s"
                assert refused.json()["detail"] == detail
            assert service.post(
                "/v1/predict", "files", ("a.wav", spoken.read_bytes())
            ).status_code == 200  # fmt: skip
