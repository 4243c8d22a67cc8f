"""Which stretches of a recording decide: known ones for models whose rule is known."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serct import Predictor
from serct.cli import app
from serct.errors import AudioError
from serct.inference.importance import (
    Occlusion,
    TimeImportance,
    importance_in_file,
    importance_over_time,
)
from serct.models.records import Card
from serct.runtime.arrays import Floats, Integers, Probabilities
from tests.fake_results import make_card

RATE_HZ = 16_000
ROW = 8000  # samples, 0.5 s


def whistles(waveforms: Floats, num_valid: Integers) -> Probabilities:
    """The rule: the first emotion is the more probable, the more of 3 kHz there is."""
    time = np.arange(waveforms.shape[1]) / RATE_HZ
    found = np.abs(waveforms @ np.exp(-6j * np.pi * 1000 * time)) / RATE_HZ
    first = 0.3 + 0.6 * np.minimum(1.0, found / 0.01)
    return np.stack([first, (1 - first) / 2, (1 - first) / 2], axis=1)


@pytest.fixture
def predictor() -> Predictor:
    """A card, and a known rule in place of the model."""
    audio = {"sample_rate": RATE_HZ, "num_samples": ROW, "resampler": "soxr"}
    card = {**make_card("tess", "cnn"), "emotions": ["angry", "happy", "sad"], "audio": audio}
    return Predictor(whistles, Card.parse(json.dumps(card), "card.json"))


def recording(length_s: float, at_s: float | None, num_s: float = 0.25) -> Floats:
    """Soft noise, with a whistle of 3 kHz at one place."""
    seconds = np.arange(round(length_s * RATE_HZ)) / RATE_HZ
    samples = 0.003 * np.random.default_rng(1).standard_normal(len(seconds))
    if at_s is not None:
        within = (seconds >= at_s) & (seconds < at_s + num_s)
        samples += within * 0.1 * np.sin(2 * np.pi * 3000 * seconds)
    return samples.astype(np.float32)


@pytest.mark.parametrize(("length_s", "at_s"), [(0.5, 0.25), (2.0, 0.0), (2.0, 1.25), (1.9, 1.0)])
def test_the_stretch_that_alone_decides_is_found(
    predictor: Predictor, length_s: float, at_s: float
) -> None:
    found = importance_over_time(predictor, recording(length_s, at_s), RATE_HZ)
    assert found.emotion == predictor.card.emotions[0]
    assert found.probability == predictor.predict(recording(length_s, at_s), RATE_HZ)[found.emotion]
    [first, *others] = found.decisive
    assert first.start_s == pytest.approx(at_s, abs=0.13)
    assert first.lost > 0.1
    overlapping = [e for e in found.stretches if e.start_s < at_s + 0.25 and at_s < e.end_s]
    assert sum(each.lost for each in overlapping) > 0.9 * sum(abs(e.lost) for e in found.stretches)
    assert all(each.lost <= first.lost for each in others)


def test_a_stretch_counts_in_every_window_that_it_is_in(predictor: Predictor) -> None:
    """In place of a whistle there is what the recording would be without one."""
    found = importance_over_time(predictor, recording(2.0, 1.25), RATE_HZ)
    without = predictor.predict(recording(2.0, None), RATE_HZ)[found.emotion]
    [best] = [each for each in found.stretches if each.start_s == 1.25]
    assert found.probability - best.lost == pytest.approx(without, abs=0.02)


def test_stretches_are_equal_and_leave_no_gap(predictor: Predictor) -> None:
    for length_s, stretch_s, count in ((1.1, 0.25, 4), (0.1, 0.25, 1), (0.5, 0.05, 10)):
        found = importance_over_time(predictor, recording(length_s, 0.0), RATE_HZ, stretch_s)
        starts = [each.start_s for each in found.stretches]
        ends = [each.end_s for each in found.stretches]
        assert len(starts) == count
        assert (starts[0], ends[-1]) == (0.0, length_s)
        assert starts[1:] == ends[:-1]
        lengths = np.subtract(ends, starts)
        assert np.ptp(lengths) <= 1.01 / RATE_HZ


def test_noise_in_place_of_a_stretch_is_soft_and_no_padding(predictor: Predictor) -> None:
    pcm = predictor.prepare(recording(0.5, None), RATE_HZ)
    pcm[2000:6000] *= 50
    whole, *changed = Occlusion(predictor, pcm, RATE_HZ).windows()
    np.testing.assert_array_equal(whole, pcm)
    assert len(changed) == 2
    quiet = float(pcm[:2000].std())
    assert changed[0][100:3900].std() == pytest.approx(quiet, rel=0.15), "but for its edges"
    np.testing.assert_array_equal(changed[0][4000:], pcm[4000:])
    silent = np.zeros(4000, np.int16)
    silent[1000] = 3000
    _, replaced, _ = Occlusion(predictor, silent, RATE_HZ, 0.125).windows()
    assert 0 < np.abs(replaced[:2000]).max() <= 5, "digital silence would be padding"


@pytest.mark.parametrize("name", ["serct", "mfcc_svm", "functionals_lda_speaker"])
def test_it_works_for_any_model_and_twice_alike(trained: dict[str, Path], name: str) -> None:
    one = Predictor.load(trained[name])
    first, again = (importance_over_time(one, recording(0.9, 0.5), RATE_HZ) for _ in range(2))
    assert first == again
    expected = one.predict(recording(0.9, 0.5), RATE_HZ)
    assert first.probability == pytest.approx(max(expected.values()), abs=1e-6)
    assert all(-1 <= each.lost <= first.probability for each in first.stretches)


def test_long_files_are_refused(predictor: Predictor, tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.tile(recording(1.0, 0.5), 61), RATE_HZ)
    with pytest.raises(AudioError, match=r"long\.wav.*61.*60"):
        importance_in_file(predictor, path)


def test_the_command_prints_what_decided(trained: dict[str, Path], spoken: Path) -> None:
    from typer.testing import CliRunner

    arguments = ["predict", "--model", str(trained["mfcc_svm"]), "--importance", str(spoken)]
    expected = importance_in_file(Predictor.load(trained["mfcc_svm"]), spoken)
    assert expected.decisive
    printed = CliRunner().invoke(app, arguments)
    assert printed.exit_code == 0
    [first, *_] = expected.decisive
    assert f"{first.start_s:8.2f} to {first.end_s:8.2f} s" in printed.stdout
    assert f"{expected.emotion} loses {100 * first.lost:.1f} points" in printed.stdout
    printed = CliRunner().invoke(app, [*arguments, "--json"])
    found = json.loads(printed.stdout)["importance"]
    assert found["emotion"] == expected.emotion
    assert [each["lost"] for each in found["stretches"]] == pytest.approx(
        [each.lost for each in expected.stretches]
    )


def test_no_stretch_decides_where_the_emotion_loses_nothing() -> None:
    assert TimeImportance("angry", 0.9, ()).decisive == ()
