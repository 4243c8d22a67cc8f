"""A card's reference holds what a service notes of the validation part."""

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serct import Predictor
from serct.config.params import Params
from serct.data import voice_activity
from serct.data.dataset import ShardDataset
from serct.evaluation.evaluate import predict
from serct.evaluation.observation import Observation, count, measure_signal
from serct.models.checkpoint import load_card
from serct.models.records import Card
from serct.training import reference
from serct.training.reference import measure_reference
from tests.conftest import make_shards


@pytest.fixture(scope="module")
def dataset(
    spoken: Path, tones: Path, tiny_params: Params, tmp_path_factory: pytest.TempPathFactory
) -> ShardDataset:
    """Somebody who speaks, ever softer, in rows of half a second, and tones."""
    root = tmp_path_factory.mktemp("heard")
    for number, path in enumerate(sorted(spoken.parent.glob("*.wav"))):
        samples, rate = soundfile.read(path)
        padded = np.pad(samples * 0.5**number, (1000 * number, 3000))
        (root / "happy").mkdir(exist_ok=True)
        soundfile.write(root / "happy" / f"s{number % 4}_{number:02d}.wav", padded, rate)
    for path in (tones / "angry").iterdir():
        (root / "angry").mkdir(exist_ok=True)
        (root / "angry" / path.name).write_bytes(path.read_bytes())
    shards = make_shards(root, tmp_path_factory.mktemp("heard_shards") / "tones", tiny_params)
    return ShardDataset(shards, ["train", "validation", "test"], ("angry", "happy", "sad"))


def test_it_is_what_the_service_notes(dataset: ShardDataset, trained: dict[str, Path]) -> None:
    predictor = Predictor.load(trained["cnn"])
    probabilities = predict(predictor.classify, dataset, 8)
    found = measure_reference(dataset, probabilities, predictor.card.calibration)
    assert found is not None
    expected = []
    for index in range(len(dataset)):
        pcm, rate = dataset.recording(index), dataset.meta.sample_rate_hz
        each = predictor.analyse(pcm / 32768, rate)
        signal = measure_signal(pcm, predictor.find_speech([pcm], rate), rate)
        expected.append(
            Observation(each.emotion, each.confidence, each.duration_s, each.speech_s, signal)
        )
    assert found.counts == count(expected, dataset.emotions)
    assert found.recordings == found.of == len(dataset) == 21
    assert found.counts["emotion"]["no_speech"] >= 12
    assert sum(found.counts["level"].values()) >= 5


def test_another_model_looks_for_no_speech_again(
    dataset: ShardDataset, trained: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SERCT_CACHE", str(tmp_path))
    calibration = load_card(trained["cnn"]).calibration
    even = np.full((len(dataset), 3), 1 / 3)
    first = measure_reference(dataset, even, calibration)
    monkeypatch.setattr(voice_activity, "find_speech", None)
    assert measure_reference(dataset, even, calibration) == first
    # A damaged cache costs a warning and the time.
    (file,) = (tmp_path / "features").iterdir()
    file.write_bytes(b"no cache")
    monkeypatch.undo()
    monkeypatch.setenv("SERCT_CACHE", str(tmp_path))
    assert measure_reference(dataset, even, calibration) == first


def test_it_travels_in_the_card(trained: dict[str, Path], tone_shards: Path) -> None:
    card = load_card(trained["svm"])
    num = len(ShardDataset(tone_shards, ["validation"]))
    assert card.reference is not None
    assert card.reference.recordings == num
    # Tones are no speech.
    assert card.reference.counts["emotion"]["no_speech"] == num
    assert Card.parse(card.model_dump_json(), "again").reference == card.reference


def test_of_a_large_part_some_are_taken_from_all_of_it(
    dataset: ShardDataset, trained: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "MAX_RECORDINGS", 5)
    card = load_card(trained["cnn"])
    even = np.full((len(dataset), 3), 1 / 3)
    found = measure_reference(dataset, even, card.calibration)
    assert found is not None
    assert (found.recordings, found.of) == (5, 21)
    assert 0 < found.counts["emotion"]["no_speech"] < 5


def test_without_voice_activity_there_is_none_and_the_log_says_so(
    dataset: ShardDataset,
    trained: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("SERCT_CACHE", str(tmp_path))
    voice_activity.load_network.cache_clear()
    monkeypatch.setitem(sys.modules, "silero_vad", None)
    even = np.full((len(dataset), 3), 1 / 3)
    try:
        assert measure_reference(dataset, even, load_card(trained["cnn"]).calibration) is None
    finally:
        voice_activity.load_network.cache_clear()
    assert "pip install silero-vad; without it the model has no reference" in caplog.text
