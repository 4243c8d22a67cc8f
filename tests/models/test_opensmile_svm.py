"""The model on openSMILE's functionals: equal to the field's reference, and finite for any clip."""

import sys

import numpy as np
import opensmile
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from serct.errors import BackendUnavailableError, CheckpointError
from serct.models import read_model_params
from serct.models.classical.estimator import LabelledRows
from serct.models.opensmile_svm import OpensmileSvm, OpensmileSvmParams

RATE_HZ = 16_000
NAMES = ("egemaps_svm", "compare_svm")


@pytest.fixture(scope="module")
def build(tiny_params):
    def build_one(name="egemaps_svm", rate_hz=RATE_HZ, **changes):
        params = read_model_params(tiny_params, name)
        assert isinstance(params, OpensmileSvmParams)
        model = params.model_copy(update=changes).build(tiny_params.train, 3, rate_hz)
        assert isinstance(model, OpensmileSvm)
        return model

    return build_one


def buzz(seed, num_samples=8000, hertz=150.0):
    rng = np.random.default_rng(seed)
    seconds = np.arange(num_samples) / RATE_HZ
    waves = [np.sin(2 * np.pi * n * hertz * seconds) / n for n in range(1, 9)]
    return (0.1 * np.sum(waves, axis=0) + 0.01 * rng.standard_normal(num_samples)).astype("f4")


@pytest.mark.parametrize(("name", "num_features"), [("egemaps_svm", 88), ("compare_svm", 6373)])
def test_features_are_opensmiles_own(build, name, num_features):
    kind = {"egemaps_svm": "eGeMAPSv02", "compare_svm": "ComParE_2016"}[name]
    smile = opensmile.Smile(opensmile.FeatureSet[kind], opensmile.FeatureLevel.Functionals)
    expected = smile.process_signal(buzz(0), RATE_HZ).to_numpy()[0]
    found = build(name).extract_features(buzz(0)[None])
    assert found.shape == (1, num_features)
    np.testing.assert_array_equal(found[0], expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("num_samples", [1, 50, 900])
def test_any_clip_has_finite_features(build, name, num_samples):
    model = build(name)
    rng = np.random.default_rng(0)
    for clip in (rng.standard_normal(num_samples), np.zeros(num_samples), np.ones(num_samples)):
        features = model._features(clip.astype(np.float32))
        assert np.isfinite(features).all()
        assert features.shape == model._features(buzz(0)).shape


def test_zeros_behind_a_clip_change_nothing(build):
    model, clip = build(), buzz(0)
    padded = np.append(clip, np.zeros(5000, np.float32))
    np.testing.assert_array_equal(model._features(padded), model._features(clip))
    assert np.abs(model._features(0.1 * clip) - model._features(clip)).max() > 0.1, "level counts"


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_decides_as_the_published_estimator(build, class_weight):
    labels = np.repeat([0, 1, 2], [12, 8, 6])
    clips = np.stack([buzz(n, hertz=120.0 + 12 * k) for n, k in enumerate(labels)])
    model = build(class_weight=class_weight)
    rows = model.extract_features(clips)
    model.fit(LabelledRows(rows, labels))
    rival = make_pipeline(StandardScaler(), SVC(gamma="auto", class_weight=class_weight))
    rival.fit(rows, labels)
    fresh = model.extract_features(np.stack([buzz(50 + n, hertz=120 + 3 * n) for n in range(9)]))
    found = model.predict(fresh)
    np.testing.assert_array_equal(found.argmax(1), rival.decision_function(fresh).argmax(1))
    assert len(set(found.argmax(1))) == 3


def test_cached_features_are_of_one_set_and_rate(build):
    variants = [build(), build("compare_svm"), build(rate_hz=8000)]
    assert len({each.feature_key() for each in variants}) == 3
    assert build(regularisation=5.0, kernel="linear").feature_key() == variants[0].feature_key()


def test_a_missing_package_is_named_before_anything_is_computed(build, monkeypatch):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    with pytest.raises(BackendUnavailableError, match=r"pip install 'serct\[opensmile\]'"):
        build()


def test_an_export_is_refused_with_the_reason(build):
    with pytest.raises(CheckpointError, match="openSMILE computes its features, and no graph"):
        build().feature_module(8000)
