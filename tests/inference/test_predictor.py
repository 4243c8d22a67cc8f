"""The one inference path: parity with shards, any format, clear refusals."""

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from serct import Predictor
from serct.config.params import Params
from serct.data.dataset import ShardDataset, stack_clips
from serct.data.preparing import resample
from serct.data.windows import geometric_mean
from serct.errors import AudioError, CheckpointError
from serct.evaluation.classifiers import as_classifier, without_enrolment
from serct.evaluation.evaluate import predict
from serct.models.checkpoint import load_model
from tests.conftest import make_shards

NAMES = (
    "serct", "cnn", "cnn_bilstm", "lstm", "mlp", "svm", "mfcc_svm", "functionals_lda",
    "functionals_lda_speaker",
)  # fmt: skip


def test_a_file_gets_the_prediction_of_its_shard_row(
    trained: dict[str, Path], tones: Path, tone_shards: Path
) -> None:
    for name, folder in trained.items():
        predictor = Predictor.load(folder)
        model, card = load_model(folder)
        dataset = ShardDataset(tone_shards, ["test"], card.emotions)
        raw = predict(as_classifier(model, torch.device("cpu")), dataset, 16)
        expected = card.calibration.apply(raw)
        for row, predicted in zip(dataset.rows, expected, strict=True):
            one = predictor
            if name == "functionals_lda_speaker":
                own = [
                    predictor.prepare(*soundfile.read(tones / f"{r.utterance}.wav"))
                    for r in dataset.rows
                    if r.speaker == row.speaker
                ]
                # Tones are no speech, so each is enrolled as a window.
                one = predictor.for_speaker(
                    predictor.as_speaker(predictor.enrol_windows(own), len(own), 0.0)
                )
            found = one.predict_file(tones / f"{row.utterance}.wav")
            assert list(found) == list(card.emotions)
            np.testing.assert_allclose(list(found.values()), predicted, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("name", [*NAMES])
def test_batch_and_single_agree(trained: dict[str, Path], name: str) -> None:
    predictor = Predictor.load(trained[name])
    rng = np.random.default_rng(0)
    waveforms = [rng.uniform(-0.3, 0.3, n) for n in (1, 900, 8000, 20000)]
    together = predictor.predict_batch(waveforms, 16000)
    for waveform, predicted in zip(waveforms, together, strict=True):
        assert sum(predicted.values()) == pytest.approx(1)
        single = predictor.predict(waveform, 16000)
        assert list(single.values()) == pytest.approx(list(predicted.values()), abs=1e-5)
    assert predictor.predict_batch([], 16000) == []


def test_rates_formats_and_channels(trained: dict[str, Path], tmp_path: Path) -> None:
    predictor = Predictor.load(trained["serct"])
    seconds = np.arange(48000 // 4) / 48000
    tone = 0.3 * np.sin(2 * np.pi * 600 * seconds)
    stereo = io.BytesIO()
    soundfile.write(stereo, np.stack([tone, tone], axis=1), 48000, format="FLAC")
    stereo.seek(0)
    mono = tmp_path / "m.wav"
    soundfile.write(mono, tone, 48000, subtype="FLOAT")
    first = predictor.predict_file(stereo, name="upload")
    second = predictor.predict_file(str(mono))
    assert list(first.values()) == pytest.approx(list(second.values()), abs=1e-3)


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.zeros((2, 100)), r"waveform is float64 \(2, 100\)"),
        (np.zeros(0), "expected floats"),
        (np.zeros(10, dtype=np.int16), "waveform is int16"),
        (np.array([0.0, np.nan]), "NaN or infinite"),
    ],
)
def test_unusable_waveforms(trained: dict[str, Path], waveform: np.ndarray, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        Predictor.load(trained["serct"]).predict(waveform, 16000)


@pytest.mark.parametrize(
    ("sample_rate", "message"),
    [
        (44.1, "waveform: 44.1 Hz, expected 4000 to 192000"),
        (0, "waveform: 0 Hz, expected"),
        (float("nan"), "waveform: nan Hz, expected"),
        ("16000", "waveform: sample rate '16000', expected a number of Hz"),
        (None, "waveform: sample rate None, expected"),
    ],
)
def test_unusable_rates(trained: dict[str, Path], sample_rate: Any, message: str) -> None:
    predictor = Predictor.load(trained["svm"])
    for ask in (predictor.predict, predictor.analyse):
        with pytest.raises(AudioError, match=message):
            ask(np.full(100, 0.1), sample_rate)


@pytest.mark.parametrize(
    ("timing_s", "message"),
    [
        ((9.0, 1.0), "window_s is 9, expected at most 0.5, a row of the model"),
        ((0.2, 0.4), "hop_s is 0.4, expected at most window_s, 0.2"),
        ((0.0, 0.0), "window_s is 0, expected above 0"),
        ((0.2, -1.0), "hop_s is -1, expected above 0"),
        ((0.2, float("nan")), "hop_s is nan, expected above 0"),
    ],
)
def test_windows_that_leave_gaps_or_exceed_a_row_are_refused(
    trained: dict[str, Path], timing_s: tuple[float, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Predictor.load(trained["svm"]).analyse(np.full(16000, 0.1), 16000, timing_s)


def test_unusable_models(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file; expected the folder of a model"):
        Predictor.load(tmp_path)


def test_without_enrolment_a_dataset_is_predicted_clip_by_clip(
    trained: dict[str, Path], tones: Path, tone_shards: Path
) -> None:
    predictor = Predictor.load(trained["functionals_lda_speaker"])
    dataset = ShardDataset(tone_shards, ["test"], predictor.card.emotions)
    found = predict(without_enrolment(predictor.classify), dataset, 16)
    assert not np.array_equal(found, predict(predictor.classify, dataset, 16))
    for row, predicted in zip(dataset.rows, found, strict=True):
        waveform, rate = soundfile.read(tones / f"{row.utterance}.wav")
        alone = predictor.classify(*stack_clips([predictor.prepare(waveform, rate)]))[0]
        np.testing.assert_allclose(predicted, alone, atol=1e-9)


@pytest.fixture(scope="module")
def talk(spoken: Path) -> tuple[np.ndarray, int]:
    """Speech twice, each time with a pause of one second behind, some five rows long."""
    samples, rate = soundfile.read(spoken, dtype="float32")
    pause = np.zeros(rate, np.float32)
    return np.concatenate((pause, samples, pause, 0.5 * samples[::-1], pause)), rate


@pytest.mark.parametrize("name", [*NAMES])
def test_the_prediction_for_a_long_recording_is_the_mean_of_its_timeline(
    trained: dict[str, Path], talk: tuple[np.ndarray, int], name: str
) -> None:
    predictor = Predictor.load(trained[name])
    found = predictor.analyse(*talk)
    samples, rate = talk
    assert found.duration_s == pytest.approx(len(samples) / rate, abs=1e-3)
    assert found.speech_s < found.analysed_s < found.duration_s
    assert found.emotion == predictor.decide(found.probabilities)
    assert predictor.predict(*talk) == found.probabilities
    for parts in (found.steps, found.segments):
        assert parts[0].start_s == 0
        assert parts[-1].end_s == found.duration_s
        assert all(a.end_s == b.start_s for a, b in itertools.pairwise(parts))
        assert sum(part.speech_s for part in parts) == pytest.approx(found.speech_s)
        spoken = [part for part in parts if part.probabilities]
        rows = np.array([list((part.probabilities or {}).values()) for part in spoken])
        mean = geometric_mean(rows, np.array([part.speech_s for part in spoken]))
        assert list((found.probabilities or {}).values()) == pytest.approx(mean, abs=1e-9)
    assert [part.emotion for part in found.segments].count("no_speech") >= 2
    assert all(a.emotion != b.emotion for a, b in itertools.pairwise(found.segments))


def test_nothing_depends_on_how_a_file_is_read(
    trained: dict[str, Path],
    talk: tuple[np.ndarray, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    predictor = Predictor.load(trained["serct"])
    path = tmp_path / "talk.wav"
    soundfile.write(path, *talk, subtype="PCM_16")
    expected = predictor.analyse_file(path)
    monkeypatch.setattr("serct.inference.predictor._IN_MEMORY_S", 0.0)
    assert predictor.analyse_file(path) == expected
    samples, rate = soundfile.read(path, dtype="float32")
    assert predictor.analyse(samples, rate) == expected
    assert predictor.predict_file(path) == expected.probabilities


def test_other_windows_may_be_asked_for(
    trained: dict[str, Path], talk: tuple[np.ndarray, int]
) -> None:
    predictor = Predictor.load(trained["serct"])
    found = predictor.analyse(*talk, timing_s=(0.4, 0.1))
    assert (found.window_s, found.hop_s) == (0.4, 0.1)
    assert len(found.steps) == int(np.ceil(found.duration_s / 0.1))
    row_s = predictor.row_s(talk[1])
    assert predictor.analyse(*talk, timing_s=(row_s, 0.1)).window_s == row_s


def test_where_nobody_speaks_there_is_no_emotion_but_the_model_has_probabilities(
    trained: dict[str, Path],
) -> None:
    predictor = Predictor.load(trained["serct"])
    noise = 0.1 * np.random.default_rng(0).standard_normal(48_000)
    found = predictor.analyse(noise, 16_000)
    assert (found.emotion, found.probabilities, found.confidence) == ("no_speech", None, None)
    assert (found.analysed_s, found.speech_s) == (0, 0)
    assert [part.emotion for part in found.segments] == ["no_speech"]
    assert sum(predictor.predict(noise, 16_000).values()) == pytest.approx(1)


@pytest.mark.slow
def test_evaluation_predicts_whole_recordings_as_the_predictor_does(
    trained: dict[str, Path], talk: tuple[np.ndarray, int], tiny_params: Params, tmp_path: Path
) -> None:
    samples, rate = talk
    rng = np.random.default_rng(0)
    for place, emotion in enumerate(("angry", "happy", "sad")):
        for number in range(4):
            path = tmp_path / "raw" / emotion / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            # Each at another speed, so that none is a copy of another.
            faster = resample(samples, 20 + 4 * number + place, 30, "soxr")
            faster = faster[rate : rate + rate // 4] if number == 0 else faster
            noise = 0.01 * rng.standard_normal(len(faster))
            soundfile.write(path, np.clip(0.8 * faster + noise, -1, 1), rate)
    shards = make_shards(tmp_path / "raw", tmp_path / "shards", tiny_params)
    for name in ("serct", "svm", "functionals_lda"):
        predictor = Predictor.load(trained[name])
        dataset = ShardDataset(shards, ["train", "validation", "test"], predictor.card.emotions)
        assert (dataset.lengths > dataset.num_valid).sum() >= 9
        found = predictor.card.calibration.apply(predict(predictor.classify, dataset, 16))
        for row, predicted in zip(dataset.rows, found, strict=True):
            one = predictor.predict_file(tmp_path / "raw" / f"{row.utterance}.wav")
            np.testing.assert_allclose(list(one.values()), predicted, atol=1e-5)
