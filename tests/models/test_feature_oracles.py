"""Features are equal to those of librosa, so that models of earlier releases predict the same."""

import warnings

import librosa
import numpy as np
import pytest

from serct.config.params import Params
from serct.models import read_model_params
from serct.models.classical.feature_classifier import FeatureClassifier
from serct.models.classical.pitch import yin
from tests.feature_oracles import cepstra, functionals, neutral, speech


def tone(hertz: float, num_samples: int) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(num_samples) / 16_000).astype(np.float32)


# By rate: TESS has 24,414 Hz, where windows have an odd length.
CLIPS = {
    16_000: [
        *(speech(seed, 16_000, 9_001 + 7_013 * seed) for seed in range(4)),
        np.append(speech(5, 16_000, 12_345), np.zeros(4_000, np.float32)),
        np.zeros(701, np.float32),
        np.ones(1, np.float32),
        speech(6, 16_000, 50),
        tone(220, 9_000),
    ],
    24_414: [speech(7, 24_414, 30_011), np.zeros(1, np.float32)],
    8_000: [speech(8, 8_000, 11_003)],
}


@pytest.mark.parametrize("rate", CLIPS)
@pytest.mark.parametrize(
    ("name", "oracle"), [("functionals_lda", functionals), ("mfcc_svm", cepstra)]
)
def test_features_are_librosas(tiny_params: Params, name: str, oracle, rate: int) -> None:
    model = read_model_params(tiny_params, name).build(tiny_params.train, 3, rate)
    assert isinstance(model, FeatureClassifier)
    for clip in CLIPS[rate]:
        with warnings.catch_warnings():
            # librosa warns about clips that are shorter than a window.
            warnings.filterwarnings("ignore", message="n_fft=", category=UserWarning)
            expected = oracle(clip, rate)
        found = model._features(clip)
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)


def test_pitches_are_librosas_in_every_frame() -> None:
    clip = neutral(speech(9, 16_000, 20_000), 512)
    expected = librosa.yin(clip, fmin=65, fmax=600, sr=16_000, frame_length=1024, hop_length=160)
    found = yin(clip, np.arange(len(expected)), 160, 1024, (65, 600), 16_000)
    np.testing.assert_allclose(found, expected, rtol=1e-7)
    some = np.array([90, 3, 41])
    np.testing.assert_array_equal(yin(clip, some, 160, 1024, (65, 600), 16_000), found[some])
    assert len(yin(clip, some[:0], 160, 1024, (65, 600), 16_000)) == 0
