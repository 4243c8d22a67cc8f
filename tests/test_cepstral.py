"""`mfcc_svm` learns what its features tell, and its features leave out the easy cues."""

from pathlib import Path

import numpy as np
import pytest

from serct.models.cepstral import MfccSvm
from serct.params import Params


@pytest.fixture
def model(tiny_params: Params) -> MfccSvm:
    params = tiny_params.models["mfcc_svm"]
    return MfccSvm(params, seed=3, sample_rate_hz=16_000)  # type: ignore[arg-type]


def clip(seed: int = 0, num_samples: int = 8000) -> np.ndarray:
    rng = np.random.default_rng(seed)
    colour = np.convolve(rng.standard_normal(num_samples), np.ones(8) / 8, mode="same")
    return (0.1 * colour).astype(np.float32)


@pytest.mark.parametrize(
    "change",
    [
        lambda waveform: 0.125 * waveform,
        lambda waveform: np.append(waveform, np.zeros(5000, np.float32)),
        lambda waveform: waveform + np.float32(0.05),
    ],
    ids=["level", "zeros behind", "constant"],
)
def test_easy_cues_change_no_feature(model: MfccSvm, change) -> None:
    waveform = clip()
    found = model._describe(change(waveform))
    expected = model._describe(waveform)
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()
    assert np.abs(model._describe(clip(1)) - expected).max() > 0.02 * np.abs(expected).max()


@pytest.mark.parametrize("num_samples", [1, 50, 700])
def test_any_length_has_features(model: MfccSvm, num_samples: int) -> None:
    for waveform in (clip(0, num_samples), np.zeros(num_samples, np.float32)):
        assert np.isfinite(model._describe(waveform)).all()


def test_tells_colours_of_noise_apart(model: MfccSvm) -> None:
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1, 2], 12)
    rows = np.stack(
        [np.convolve(rng.standard_normal(4000), np.ones(2 + 6 * k), mode="same") for k in labels]
    ).astype(np.float32)
    model.fit(rows[:27], labels[:27])
    probabilities = model.predict_proba(rows[27:])
    assert (probabilities.argmax(axis=1) == labels[27:]).all()
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(9))


def test_a_saved_one_answers_alike(trained: dict[str, Path]) -> None:
    from serct.checkpoint import load_model

    folder = trained["mfcc_svm"]
    one, other = load_model(folder)[0], load_model(folder)[0]
    rows = np.stack([clip(seed) for seed in range(3)])
    np.testing.assert_array_equal(one.predict_proba(rows), other.predict_proba(rows))
    assert (folder / "model.skops").exists()
    assert not (folder / "weights.safetensors").exists()
