"""The demonstrator, page and all, in front of a real service."""

import io
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
import requests
import soundfile
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Button

import serct.app
from serct import Predictor, tracking
from serct.app.client import Client
from serct.app.page import trained_on
from serct.app.pictures import timeline_figure
from serct.app.recordings import microphone_problem
from serct.errors import UnknownSpeakerError
from tests.service_process import Service, running

PAGE = Path(serct.app.__file__).with_name("page.py")


@pytest.fixture
def page(service: Service, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("SERCT_SERVICE", service.url)
    return AppTest.from_file(str(PAGE), default_timeout=120).run()


def as_m4a(recording: Path) -> bytes:
    """Return a recording as a phone saves it, AAC in MP4."""
    samples, rate = soundfile.read(recording, dtype="float32")
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], "fltp", "mono")
        frame.rate = rate
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return file.getvalue()


@pytest.mark.parametrize(
    ("url", "has_microphone"),
    [
        (None, True), ("http://localhost:8501", True), ("http://127.0.0.1:8501/", True),
        ("https://example.org/app", True), ("http://192.168.1.7:8501", False),
        ("http://example.org", False),
    ],
)  # fmt: skip
def test_a_page_without_https_explains_why_it_has_no_microphone(
    url: str | None, has_microphone: bool
) -> None:
    problem = microphone_problem(url)
    assert (problem is None) is has_microphone
    if problem:
        assert "only over HTTPS or on localhost" in problem
        assert str(url) in problem


def test_says_on_which_corpora_and_speakers_a_model_was_trained() -> None:
    parts = {
        "tess": {"language": "en", "utterances": 9, "speakers": 2},
        "own": {"language": "pl", "utterances": 9, "speakers": 0},
    }
    model = {"corpus": "joint", "language": "en", "corpora": parts}
    assert trained_on(model) == "`tess` (en, 2 speakers), `own` (pl)"
    assert trained_on({**model, "corpora": {}}) == "`joint` (en)"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
class TestPage:
    def test_says_first_what_it_does_not_predict(self, page: AppTest) -> None:
        assert not page.exception
        assert "What it does not predict:" in page.info[0].value
        assert "serct, version 1" in page.sidebar.markdown[0].value
        assert "trained on `tones` (en, 4 speakers)" in page.sidebar.markdown[0].value

    def test_a_sample_gets_a_prediction(self, page: AppTest, served: Path) -> None:
        sample = page.selectbox[0]
        assert {"angry", "happy", "sad"} <= set(sample.options)
        sample.select("sad").run()
        page.checkbox[0].check().run()
        page.button[0].click().run()
        assert not page.exception
        assert page.subheader[0].value.startswith("Prediction: ")
        assert any("Predicted by serct, version 1 (" in each.value for each in page.caption)
        assert any(each.value.startswith("Points lost: ") for each in page.caption)
        shown = page.get("vega_lite_chart") or page.get("arrow_vega_lite_chart")
        assert shown

    def test_a_refused_file_leaves_no_earlier_result(self, page: AppTest, spoken: Path) -> None:
        page.radio[0].set_value("Your file").run()
        for name, content in (("phone.m4a", as_m4a(spoken)), ("notes.txt", b"no sound")):
            page.file_uploader[0].set_value((name, content, "")).run()
            assert not page.subheader, "the prediction of another file"
            page.button[0].click().run()
            assert not page.exception
            if name == "phone.m4a":
                assert page.subheader[0].value.startswith("Prediction: ")
                assert any(each.value.startswith("`phone.m4a`. ") for each in page.caption)
        assert "notes.txt: not readable as audio" in page.error[0].value
        assert not page.subheader

    def test_two_versions_side_by_side(self, page: AppTest) -> None:
        page.sidebar.selectbox[0].select("2").run()
        page.button[0].click().run()
        captions = " ".join(caption.value for caption in page.caption)
        assert "version 1 (" in captions
        assert "version 2 (" in captions
        assert len([s for s in page.subheader if s.value.startswith("Prediction")]) == 2

    def test_a_service_that_is_gone(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SERCT_SERVICE", "http://127.0.0.1:9")
        page = AppTest.from_file(str(PAGE), default_timeout=60).run()
        assert not page.exception
        assert "http://127.0.0.1:9 does not respond" in page.error[0].value


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_people_enrol_themselves_and_are_forgotten(
    trained: dict[str, Path], spoken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = spoken.read_bytes()
    with running("--model", str(trained["functionals_lda_speaker"])) as service:
        monkeypatch.setenv("SERCT_SERVICE", service.url)
        page = AppTest.from_file(str(PAGE), default_timeout=120).run()
        assert "Make it yours" in [each.label for each in page.expander]

        def button(label: str) -> Button:
            return next(each for each in page.button if each.label == label)

        assert button("Adapt to me").disabled
        page.file_uploader[0].set_value([("a.wav", content, "audio/wav")] * 2).run()
        button("Adapt to me").click().run()
        assert not page.exception
        assert "The model adapts to you: 2 recordings" in page.success[0].value
        warning = page.session_state["speaker"]["warning"]
        assert (warning in [each.value for each in page.warning]) is (warning is not None)
        assert "serct_speakers 1.0" in service.get("/metrics").text
        # The same files are not sent again, those of another mood are added.
        assert button("Adapt to me").disabled
        page.audio_input[0].set_value(("b.wav", content, "audio/wav")).run()
        button("Adapt to me").click().run()
        assert "3 recordings" in page.success[0].value

        button("Predict the emotion").click().run()
        assert not page.exception
        assert len([s for s in page.subheader if s.value.startswith("Prediction")]) == 2
        assert "Adapted to you, with 3 recordings." in [each.value for each in page.caption]
        name = page.session_state["speaker"]["id"]
        button("Forget me").click().run()
        assert not page.success
        assert "serct_speakers 0.0" in service.get("/metrics").text
        with pytest.raises(UnknownSpeakerError, match="404: no such speaker"):
            Client(service.url).segments("a.wav", content, speaker=name)


@pytest.mark.slow
def test_the_command_starts_a_service_and_a_page_and_ends_both(served: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "serct.cli", "app", "--workspace", str(served), "--port", str(port),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                if requests.get(f"http://127.0.0.1:{port}/_stcore/health", timeout=5).ok:
                    break
            except requests.ConnectionError:
                assert time.monotonic() < deadline
                time.sleep(0.3)
    finally:
        process.terminate()
        output, _ = process.communicate(timeout=60)
    found = [word for line in output.splitlines() for word in line.split() if "127.0.0.1" in word]
    service = next(word for word in found if str(port) not in word)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{service}/health", timeout=5)


@pytest.mark.slow
def test_in_a_browser_by_keyboard(served: Path, service: Service) -> None:
    """In Chromium, from the first Tab to the prediction, without a mouse."""
    api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "serct.cli", "app", "--service", service.url, "--port", str(port),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with api.sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page()
            for _ in range(100):
                try:
                    page.goto(f"http://127.0.0.1:{port}")
                    break
                except api.Error:
                    time.sleep(0.3)
            button = page.get_by_role("button", name="Predict the emotion")
            button.wait_for(timeout=60_000)
            time.sleep(1)
            for _ in range(40):
                page.keyboard.press("Tab")
                if button.evaluate("element => element === document.activeElement"):
                    break
            page.keyboard.press("Enter")
            page.get_by_role("heading", name="Prediction:").wait_for(timeout=60_000)
            page.get_by_role("heading", name="Along the recording").wait_for(timeout=60_000)
            browser.close()
    finally:
        process.terminate()
        process.wait(30)


def test_the_figure_of_any_recording() -> None:
    rng = np.random.default_rng(0)
    for length, rate in ((1, 8000), (700, 44_100), (160_000, 16_000)):
        waveform = rng.uniform(-1, 1, length).astype(np.float32) * (length > 1)
        end = length / rate
        segments = [
            {"start_s": 0.0, "end_s": end / 2, "emotion": "happy"},
            {"start_s": end / 2, "end_s": end, "emotion": "no_speech"},
        ]
        figure = timeline_figure(waveform, rate, segments, ["happy", "sad"])
        figure.savefig(os.devnull, format="png")
        stretches = [
            {"start_s": 0.0, "end_s": end / 2, "lost": 0.25},
            {"start_s": end / 2, "end_s": end, "lost": -0.1},
        ]
        explained = timeline_figure(waveform, rate, segments, ["happy", "sad"], stretches)
        explained.savefig(os.devnull, format="png")
        assert [len(each.axes) for each in (figure, explained)] == [3, 4]
        heights = [bar.get_height() for bar in explained.axes[1].patches]
        assert heights == pytest.approx([25, -10])


@pytest.mark.slow
def test_the_client_gets_the_predictors_probabilities(
    served: Path, service: Service, spoken: Path
) -> None:
    found = Client(service.url).segments("a.wav", spoken.read_bytes())
    folder = tracking.open_store(served, "serct", "serct").folder("1")
    assert found["probabilities"] == pytest.approx(
        Predictor.load(folder).predict_file(spoken), abs=1e-5
    )
    assert soundfile.info(spoken).duration == pytest.approx(found["duration_s"], abs=1e-3)
