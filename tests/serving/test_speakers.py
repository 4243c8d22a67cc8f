"""Enrolled speakers of a service: how long they are held, and what they change."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import websockets
from starlette.testclient import TestClient

from serct import Predictor
from serct.errors import SpeakerError, UnknownSpeakerError
from serct.inference.enrolment import Speaker
from serct.inference.recording import RecordingPrediction
from serct.models.classical.enrolment import Enrolment
from serct.serving.batching import Batcher
from serct.serving.decoding.process import DecodedAudio
from serct.serving.models import LoadedModel, ModelManager
from serct.serving.service import create_service
from serct.serving.settings import Settings
from serct.serving.speakers import SpeakerStore
from serct.serving.streams.speaker import StreamSpeaker
from tests.service_process import running


def speaker(number: int = 1) -> Speaker:
    features, decisions = np.full((1, 2), float(number)), np.zeros((1, 3))
    return Speaker(Enrolment.of(features, decisions, decisions + 1 / 3), 1, 2.0, "f" * 64)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class TestStore:
    def test_a_speaker_goes_when_it_was_not_used_for_too_long(self) -> None:
        clock = Clock()
        store = SpeakerStore(10, 5.0, clock)
        used, unused = store.add(speaker(1)), store.add(speaker(2))
        clock.now = 4.0
        assert store.get(used).sums.features.tolist() == [1, 1]
        clock.now = 8.0
        store.get(used)
        with pytest.raises(UnknownSpeakerError, match="5 s without use have passed"):
            store.get(unused)
        assert len(store) == 1
        clock.now = 13.0
        store.drop_expired()
        assert len(store) == 0

    def test_of_too_many_the_one_unused_for_longest_goes(self) -> None:
        store = SpeakerStore(2, 5.0, Clock())
        first, second = store.add(speaker(1)), store.add(speaker(2))
        store.get(first)
        third = store.add(speaker(3))
        assert [store.get(each).sums.features[0] for each in (first, third)] == [1, 3]
        with pytest.raises(UnknownSpeakerError):
            store.get(second)

    def test_names_cannot_be_guessed_and_deleted_ones_are_gone(self) -> None:
        store = SpeakerStore(100, 5.0)
        names = {store.add(speaker()) for _ in range(50)}
        assert len(names) == 50
        assert all(len(name) >= 22 for name in names)  # 128 bits in base 64
        name = names.pop()
        store.remove(name)
        for ask in (store.get, store.remove):
            with pytest.raises(UnknownSpeakerError, match="no such speaker"):
                ask(name)

    def test_recordings_are_added(self) -> None:
        store = SpeakerStore(10, 5.0)
        name = store.add(speaker(1))
        found = store.extend(name, speaker(3))
        assert store.get(name) is found
        assert (found.num_recordings, found.speech_s, found.sums.count) == (2, 4.0, 2)
        assert found.sums.features.tolist() == [4, 4]


@pytest.fixture(scope="module")
def client(trained: dict[str, Path]) -> Iterator[TestClient]:
    settings = Settings(str(trained["functionals_lda_speaker"]), Path("nowhere"))
    with TestClient(create_service(settings)) as client:
        yield client


def files(path: Path, number: int = 1) -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", ("a.wav", path.read_bytes()))] * number


@pytest.mark.slow
def test_predictions_for_a_speaker_are_those_of_the_predictor(
    client: TestClient, trained: dict[str, Path], spoken: Path
) -> None:
    predictor = Predictor.load(trained["functionals_lda_speaker"])
    anna = predictor.enrol([spoken] * 2)
    found = client.post("/v1/speakers", files=files(spoken, 2))
    assert found.status_code == 201, found.text
    content = found.json()
    name = content.pop("id")
    assert content.pop("model")["adapts_to_speaker"] is True
    assert content.pop("expires_s") == 3600
    adaptation = anna.adaptation
    assert adaptation is not None
    expected = {
        "recordings": 2, "windows": adaptation.num_windows,
        "speech_s": pytest.approx(adaptation.speech_s),
        "counts_as": pytest.approx(adaptation.counts_as), "warning": adaptation.warning,
    }  # fmt: skip
    assert content == expected
    one = client.post(f"/v1/predict?speaker={name}", files=files(spoken)).json()
    own = pytest.approx(anna.predict_file(spoken), abs=1e-6)
    assert one["predictions"][0]["probabilities"] == own
    assert one["adaptation"] == expected
    timeline = client.post(
        f"/v1/segments?speaker={name}", files={"file": ("a.wav", spoken.read_bytes())}
    ).json()
    assert (timeline["probabilities"], timeline["adaptation"]) == (own, expected)
    without = client.post("/v1/predict", files=files(spoken)).json()
    assert without["adaptation"] is None
    assert without["predictions"][0]["probabilities"] == pytest.approx(
        predictor.predict_file(spoken), abs=1e-6
    )
    more = client.post(f"/v1/speakers?speaker={name}", files=files(spoken)).json()
    assert (more["id"], more["recordings"]) == (name, 3)
    assert client.delete(f"/v1/speakers/{name}").status_code == 204
    for gone in (
        client.post(f"/v1/predict?speaker={name}", files=files(spoken)),
        client.delete(f"/v1/speakers/{name}"),
    ):
        assert gone.status_code == 404
        assert gone.json()["detail"].startswith("no such speaker: ")
    text = client.get("/metrics").text
    assert "serct_speakers 0.0" in text
    assert 'route="/v1/speakers/{speaker}"' in text
    assert name not in text


@pytest.mark.slow
def test_one_unusable_recording_enrols_nobody(client: TestClient, spoken: Path) -> None:
    broken = ("files", ("b.wav", b"no audio"))
    found = client.post("/v1/speakers", files=[*files(spoken), broken])
    assert found.status_code == 422
    assert "b.wav: not readable as audio" in found.json()["detail"]
    assert "serct_speakers 0.0" in client.get("/metrics").text
    found = client.post("/v1/speakers", files=files(spoken, 17))
    assert (found.status_code, found.json()["detail"]) == (
        413,
        "17 files, expected at most 16 in a request",
    )


@pytest.mark.slow
def test_a_model_that_adapts_to_nobody_and_several_copies_refuse(
    trained: dict[str, Path], spoken: Path
) -> None:
    plain = Settings(str(trained["functionals_lda"]), Path("nowhere"))
    with TestClient(create_service(plain)) as client:
        found = client.post("/v1/speakers", files=files(spoken))
        assert found.status_code == 409
        assert "model functionals_lda does not adapt to a speaker" in found.json()["detail"]
    copies = Settings(str(trained["functionals_lda_speaker"]), Path("nowhere"), num_copies=3)
    with TestClient(create_service(copies)) as client:
        for path in ("/v1/speakers", "/v1/predict?speaker=x"):
            found = client.post(path, files=files(spoken))
            assert found.status_code == 501
            assert "3 copies of this service share no speakers" in found.json()["detail"]


@pytest.mark.slow
def test_a_speaker_of_another_version_must_enrol_again(
    trained: dict[str, Path], spoken: Path
) -> None:
    settings = Settings(str(trained["functionals_lda_speaker"]), Path("nowhere"))
    manager = ModelManager(settings)
    with TestClient(create_service(settings, models=manager)) as client:
        name = client.post("/v1/speakers", files=files(spoken)).json()["id"]
        assert manager.current is not None
        predictor = manager.current.predictor
        card = predictor.card.model_copy(update={"fingerprint": "e" * 64})
        manager.current = LoadedModel(Predictor(predictor.classify, card), None)
        found = client.post(f"/v1/predict?speaker={name}", files=files(spoken))
        assert found.status_code == 409
        assert found.json()["detail"].endswith("which has other features: enrol again")


def test_a_stream_enrols_full_windows_that_do_not_overlap(
    trained: dict[str, Path], spoken: Path
) -> None:
    model = LoadedModel(Predictor.load(trained["functionals_lda_speaker"]), None)
    samples, rate = soundfile.read(spoken, dtype="float32")
    audio = DecodedAudio(np.resize(samples, 3 * rate), rate)
    spoken_part = RecordingPrediction("sad", {"sad": 1.0}, 3, 3, 3, 3, 3, ())
    silent_part = RecordingPrediction("no_speech", None, 3, 0, 0, 3, 3, ())

    async def counts() -> list[int]:
        batcher = Batcher(16)
        task = asyncio.create_task(batcher.run())
        one = StreamSpeaker(None, adapts=True, window_s=3.0)
        other = StreamSpeaker(None, adapts=False, window_s=3.0)
        found = []
        for end_s in (2.5, 3.0, 3.5, 4.0, 6.0, 6.5):
            part = silent_part if end_s == 3.0 else spoken_part
            times_s = (max(0.0, end_s - 3), end_s)
            for each in (one, other):
                await each.add(model, batcher, audio, times_s, part)
            adaptation = one.describe(one.adapt(model))
            assert adaptation is not None
            found.append(adaptation.recordings)
        assert other.describe(other.adapt(model)) is None
        # A replaced model begins anew; a speaker of before does not fit it.
        card = model.predictor.card.model_copy(update={"fingerprint": "e" * 64})
        replaced = LoadedModel(Predictor(model.predictor.classify, card), None)
        adaptation = one.describe(one.adapt(replaced))
        assert adaptation is not None
        assert adaptation.recordings == 0
        enrolled = StreamSpeaker(speaker(), adapts=True, window_s=3.0)
        with pytest.raises(SpeakerError, match="enrol again"):
            enrolled.adapt(replaced)
        task.cancel()
        return found

    assert asyncio.run(asyncio.wait_for(counts(), 20)) == [0, 0, 1, 1, 1, 2]


@pytest.mark.slow
def test_over_a_socket(trained: dict[str, Path], spoken: Path) -> None:
    samples, rate = soundfile.read(spoken, dtype="int16")
    pcm = np.resize(samples, 7 * rate)

    async def converse(url: str, query: str) -> tuple[list[dict[str, object]], int, str]:
        answers: list[dict[str, object]] = []
        address = url.replace("http", "ws") + f"/v1/stream?sample_rate={rate}&{query}"
        async with websockets.connect(address) as socket:
            try:
                # Half a second, then its prediction: a busy machine skips none.
                for part in np.array_split(pcm, 14):
                    await socket.send(part.tobytes())
                    answers.append(json.loads(await socket.recv()))
                await socket.send('{"type": "end"}')
                async for answer in socket:
                    answers.append(json.loads(answer))
            except websockets.ConnectionClosed:
                pass
            return answers, socket.close_code or 0, socket.close_reason or ""

    arguments = ("--model", str(trained["functionals_lda_speaker"]), "--speaker-ttl-s", "30")
    with running(*arguments) as service:
        enrolled = service.post("/v1/speakers", "files", ("a.wav", spoken.read_bytes()))
        assert enrolled.status_code == 201, enrolled.text
        assert enrolled.json()["expires_s"] == 30
        name = enrolled.json()["id"]

        plain, adapting, own = (
            asyncio.run(converse(service.url, query))
            for query in ("", "adapt=true", f"speaker={name}")
        )
        assert plain[1] == adapting[1] == own[1] == 1000
        assert {each["adaptation"] for each in plain[0]} == {None}
        counts = [dict(each["adaptation"])["recordings"] for each in adapting[0]]  # type: ignore[call-overload]
        assert counts[0] == 0
        assert counts == sorted(counts)
        assert counts[-1] == 2, "from 0 to 3 s and from 3 to 6 s"
        assert {dict(each["adaptation"])["recordings"] for each in own[0]} == {1}  # type: ignore[call-overload]
        first, last = plain[0][0], adapting[0][0]
        assert first["probabilities"] == pytest.approx(last["probabilities"])
        assert plain[0][-1]["probabilities"] != pytest.approx(adapting[0][-1]["probabilities"])
        for query, reason in (
            ("speaker=unknown", "no such speaker"),
            ("adapt=perhaps", "adapt is perhaps, expected true or false"),
        ):
            answers, code, why = asyncio.run(converse(service.url, query))
            assert (answers, code) == ([], 1008)
            assert reason in why
        assert name not in "".join(service.lines)
