"""The one inference path: parity with shards, any format, clear refusals."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from serct import Predictor
from serct.data.dataset import ShardDataset, stack_clips
from serct.errors import AudioError, CheckpointError, SpeakerError
from serct.evaluation.evaluate import as_classifier, predict, without_enrolment
from serct.models.checkpoint import load_model

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
        recordings = {
            speaker: [tones / f"{r.utterance}.wav" for r in dataset.rows if r.speaker == speaker]
            for speaker in dataset.speakers
        }
        for row, predicted in zip(dataset.rows, expected, strict=True):
            one = (
                predictor.adapt_to_speaker(recordings[row.speaker])
                if name == "functionals_lda_speaker"
                else predictor
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


def test_unusable_models(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file; expected the folder of a model"):
        Predictor.load(tmp_path)


def test_only_an_adaptive_model_uses_recordings_of_a_speaker(
    trained: dict[str, Path], tones: Path, tmp_path: Path
) -> None:
    recordings = sorted(tones.rglob("s1_*.wav"))
    adaptive = Predictor.load(trained["functionals_lda_speaker"])
    clip = stack_clips([adaptive.prepare(*soundfile.read(recordings[0]))])
    plain = adaptive.classify(*clip)
    adapted = adaptive.adapt_to_speaker(recordings).classify(*clip)
    assert adapted.sum() == pytest.approx(1)
    assert not np.array_equal(adapted, plain)
    np.testing.assert_array_equal(adaptive.classify(*clip), plain)
    with pytest.raises(SpeakerError, match="does not adapt to a speaker; one that does"):
        Predictor.load(trained["functionals_lda"]).adapt_to_speaker(recordings)
    with pytest.raises(SpeakerError, match="expected at least one"):
        adaptive.adapt_to_speaker([])
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    with pytest.raises(AudioError, match=r"broken\.wav"):
        adaptive.adapt_to_speaker([tmp_path / "broken.wav"])


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
