"""The models that extract features of a clip and classify them with scikit-learn."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from serct.config.params import Params
from serct.models import read_model_params
from serct.models.classical.estimator import LabelledRows
from serct.models.classical.feature_classifier import FeatureClassifier

RATE_HZ = 16_000
Build = Callable[[str], FeatureClassifier]


@pytest.fixture
def build(tiny_params: Params) -> Build:
    def build_one(name: str) -> FeatureClassifier:
        model = read_model_params(tiny_params, name).build(tiny_params.train, 3, RATE_HZ)
        assert isinstance(model, FeatureClassifier)
        return model

    return build_one


def clip(seed: int = 0, num_samples: int = 8000) -> np.ndarray:
    rng = np.random.default_rng(seed)
    colour = np.convolve(rng.standard_normal(num_samples), np.ones(8) / 8, mode="same")
    return (0.1 * colour).astype(np.float32)


def tone(hertz: float, num_samples: int = 16_000) -> np.ndarray:
    """A buzz of ten harmonics."""
    seconds = np.arange(num_samples) / RATE_HZ
    waves = [np.sin(2 * np.pi * n * hertz * seconds) / n for n in range(1, 11)]
    return (0.1 * np.sum(waves, axis=0)).astype(np.float32)


@pytest.mark.parametrize("name", ["mfcc_svm", "functionals_lda"])
@pytest.mark.parametrize(
    "change",
    [
        lambda waveform: 0.125 * waveform,
        lambda waveform: np.append(waveform, np.zeros(5000, np.float32)),
        lambda waveform: waveform + np.float32(0.05),
    ],
    ids=["level", "zeros behind", "constant"],
)
def test_easy_cues_change_no_feature(build: Build, name: str, change) -> None:
    model, waveform = build(name), clip()
    found = model._features(change(waveform))
    expected = model._features(waveform)
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()
    assert np.abs(model._features(clip(1)) - expected).max() > 0.02 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["mfcc_svm", "functionals_lda"])
@pytest.mark.parametrize("num_samples", [1, 50, 700])
def test_any_length_has_features(build: Build, name: str, num_samples: int) -> None:
    model = build(name)
    sizes = set()
    for waveform in (clip(0, num_samples), np.zeros(num_samples, np.float32), clip()):
        features = model._features(waveform)
        assert np.isfinite(features).all()
        sizes.add(features.shape)
    assert len(sizes) == 1


@pytest.mark.parametrize("name", ["mfcc_svm", "functionals_lda", "functionals_lda_speaker"])
def test_tells_colours_of_noise_apart(build: Build, name: str) -> None:
    model = build(name)
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1, 2], 12)
    rows = np.stack(
        [np.convolve(rng.standard_normal(4000), np.ones(2 + 6 * k), mode="same") for k in labels]
    ).astype(np.float32)
    model.fit(LabelledRows(model.extract_features(rows[:27]), labels[:27]))
    probabilities = model.predict_proba(rows[27:])
    assert (probabilities.argmax(axis=1) == labels[27:]).all()
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(9))
    assert model.num_features == model.extract_features(rows[:1]).shape[1]


@pytest.mark.parametrize("name", ["mfcc_svm", "functionals_lda", "functionals_lda_speaker"])
def test_a_saved_one_answers_alike(trained: dict[str, Path], name: str) -> None:
    from serct.models.checkpoint import load_model

    folder = trained[name]
    one, other = load_model(folder)[0], load_model(folder)[0]
    assert isinstance(one, FeatureClassifier)
    assert isinstance(other, FeatureClassifier)
    rows = np.stack([clip(seed) for seed in range(3)])
    np.testing.assert_array_equal(one.predict_proba(rows), other.predict_proba(rows))
    assert {path.name for path in folder.iterdir()} >= {"model.skops", "weights.safetensors"}


def test_pitch_is_relative_to_the_clip(build: Build) -> None:
    from serct.models.functionals_lda import FunctionalsLda

    model = build("functionals_lda")
    assert isinstance(model, FunctionalsLda)
    loud = np.zeros(201)
    for hertz in (100.0, 200.0, 280.0):
        buzz = np.append(tone(hertz), tone(2 * hertz))[:32_000].astype(np.float64)
        pitches, is_voiced = model._pitches(buzz, loud, 160)
        assert is_voiced.mean() > 0.9
        low, high = np.quantile(pitches, (0.2, 0.8))
        assert high - low == pytest.approx(12, abs=0.2), "an octave, in semitones"
        assert np.median(pitches) == pytest.approx(0)
    _, is_voiced = model._pitches(tone(100).astype(np.float64), np.array([0.0, -40, 0]), 160)
    assert is_voiced.tolist() == [True, False, True], "what is soft has no pitch"


def test_a_course_tells_how_a_contour_runs() -> None:
    from serct.models.functionals_lda import _course

    time = np.linspace(-1, 1, 400)
    rising, falling = _course(5 * time), _course(-5 * time)
    assert rising[:3] == pytest.approx([5, 0, 0], abs=1e-9)
    assert falling[[0, 3, 4]] == pytest.approx([-5, 0, 10 / 399])
    arched = _course(1.5 * time**2)
    assert arched[:3] == pytest.approx([0, 1, 0], abs=1e-9), "Legendre's second polynomial"
    np.testing.assert_allclose(_course(5 * time + 100), rising, atol=1e-9)


def test_rhythm_counts_stretches_of_voice() -> None:
    from serct.models.functionals_lda import _rhythm

    is_voiced = np.repeat([False, True, False, True], [20, 10, 40, 30])
    share, a_second, mean, spread = _rhythm(is_voiced)
    assert (share, a_second) == (0.4, 2.0)
    assert (mean, spread) == (pytest.approx(0.2), pytest.approx(0.1))
    assert _rhythm(np.zeros(10, bool)).tolist() == [0, 0, 0, 0]


def test_modulation_peaks_at_the_speed_of_swelling() -> None:
    from serct.models.functionals_lda import _modulation

    seconds = np.arange(800) / 100
    for speed, expected in ((1.0, 0), (3.0, 1), (6.0, 2), (12.0, 3), (24.0, 4)):
        bands = np.tile(10 * np.sin(2 * np.pi * speed * seconds), (40, 1))
        strengths = _modulation(bands).reshape(5, 8)
        assert (strengths.argmax(axis=0) == expected).all(), speed


@pytest.mark.parametrize("name", ["mfcc_svm", "functionals_lda", "egemaps_svm", "compare_svm"])
def test_every_feature_has_a_name_of_its_own(build: Build, name: str) -> None:
    model = build(name)
    names = model.feature_names()
    assert len(set(names)) == len(names) == len(model._features(clip()))


def test_names_of_functionals_are_those_of_their_values(build: Build) -> None:
    model = build("functionals_lda")
    values = dict(
        zip(model.feature_names(), model._features(tone(150) + clip(0, 16_000)), strict=True)
    )
    contours = {
        n.name.removesuffix(", range"): n.group for n in values if n.name.endswith(", range")
    }
    assert len(contours) == model._feature_params()["num_mels"] + 6
    for contour, group in contours.items():
        of = {n.name.removeprefix(f"{contour}, "): v for n, v in values.items() if n.group == group}
        assert of["range"] == pytest.approx(of["quantile 0.95"] - of["quantile 0.05"])
        assert of["quantile 0.05"] <= of["quantile 0.5"] <= of["quantile 0.95"]
        assert abs(of["mean"] - of["quantile 0.5"]) <= of["deviation"]
    assert values["pitch", "pitch, quantile 0.5"] == pytest.approx(0), "relative to the median"
    assert values["energy", "energy, quantile 0.95"] <= 0, "relative to the loudest frame"
    assert 0 < values["rhythm", "voiced share"] <= 1
    assert values["spectrum", "centroid, mean"] > 1000 > values["spectrum", "flux, mean"]


def test_names_of_cepstral_statistics_are_those_of_their_values(build: Build) -> None:
    model = build("mfcc_svm")
    values = {
        n.name: v for n, v in zip(model.feature_names(), model._features(clip()), strict=True)
    }
    for number in range(30):
        of = [values[f"coefficient {number}, quantile {q}"] for q in (0.1, 0.5, 0.9)]
        assert of == sorted(of)
        mean, deviation = (values[f"coefficient {number}, {w}"] for w in ("mean", "deviation"))
        assert abs(mean - of[1]) <= deviation, "a median is no further from the mean"
        slope = abs(values[f"coefficient {number}, derivative 1, mean"])
        assert slope < values[f"coefficient {number}, derivative 1, deviation"]
