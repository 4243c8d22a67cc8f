"""Features are computed once for all stages, and what is taken from the cache is what they are."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from serct.config.params import Params
from serct.data.dataset import ShardDataset
from serct.evaluation.classifiers import as_classifier
from serct.evaluation.evaluate import predict
from serct.evaluation.windows import Windows
from serct.models import read_model_params
from serct.models.classical.feature_classifier import FeatureClassifier
from serct.models.interface import ClassicalParams
from serct.training.classical import fit_classical
from serct.training.fitted import Fitted

ALL = ["train", "validation", "test"]
CPU = torch.device("cpu")
Fit = Callable[..., Fitted]
Build = Callable[..., FeatureClassifier]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SERCT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of samples of each clip whose features are computed."""
    from serct.models.functionals_lda import FunctionalsLda
    from serct.models.mfcc_svm import MfccSvm

    lengths: list[int] = []
    for kind in (FunctionalsLda, MfccSvm):
        compute = kind._features

        def count(model, waveform, compute=compute):
            if len(waveform) > 1:
                lengths.append(len(waveform))
            return compute(model, waveform)

        monkeypatch.setattr(kind, "_features", count)
    return lengths


@pytest.fixture
def fit(tiny_params: Params, tone_shards: Path) -> Fit:
    def fit_one(name: str, augment: dict[str, float] | None = None, **changes: object) -> Fitted:
        params = read_model_params(tiny_params, name).model_copy(update=changes)
        assert isinstance(params, ClassicalParams)
        train = tiny_params.train.model_copy(update={"augment": augment})
        train_set = ShardDataset(tone_shards, ["train"])
        validation_set = ShardDataset(tone_shards, ["validation"], train_set.emotions)
        return fit_classical(params, train, 3, train_set, validation_set, lambda row: None)

    return fit_one


def predict_all(fitted: Fitted, shards: Path) -> np.ndarray:
    dataset = ShardDataset(shards, ALL)
    return predict(as_classifier(fitted.model, CPU), dataset, 7)


@pytest.mark.parametrize(
    "name", [pytest.param("functionals_lda_speaker", marks=pytest.mark.slow), "mfcc_svm"]
)
def test_what_training_computed_is_not_computed_again(
    fit: Fit, computed: list[int], tone_shards: Path, name: str, folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    num_test = len(ShardDataset(tone_shards, ["test"]))
    num_trained = len(ShardDataset(tone_shards, ["train", "validation"]))
    first = fit(name)
    assert len(computed) == num_trained
    found = predict_all(first, tone_shards)
    assert len(computed) == num_trained + num_test
    again = fit(name)
    np.testing.assert_array_equal(predict_all(again, tone_shards), found)
    np.testing.assert_array_equal(again.validation, first.validation)
    assert len(computed) == num_trained + num_test
    # Where nothing can be kept, all is computed, and the same.
    monkeypatch.setenv("SERCT_CACHE", str(tone_shards / "index.csv"))
    fresh = fit(name)
    np.testing.assert_array_equal(predict_all(fresh, tone_shards), found)
    np.testing.assert_array_equal(fresh.validation, first.validation)
    assert len(computed) > 2 * (num_trained + num_test)


@pytest.fixture
def build(tiny_params: Params) -> Build:
    def build_one(name: str, **changes: object) -> FeatureClassifier:
        params = read_model_params(tiny_params, name).model_copy(update=changes)
        assert isinstance(params, ClassicalParams)
        built = params.build(tiny_params.train, 3, 16_000)
        assert isinstance(built, FeatureClassifier)
        return built

    return build_one


@pytest.fixture
def model(build: Build) -> FeatureClassifier:
    return build("functionals_lda")


def features(model: FeatureClassifier, dataset: ShardDataset) -> tuple[np.ndarray, int]:
    """Return the features of whole utterances, and the number of utterances that were begun."""
    begun: list[int] = []
    found = Windows.of_recordings(dataset).features(model, 4, begun.append)
    return found, sum(begun)


def test_models_share_features_unless_they_decide_them(
    build: Build, computed: list[int], tone_shards: Path
) -> None:
    dataset = ShardDataset(tone_shards, ["test"])
    others = [
        build("functionals_lda"),
        build("functionals_lda", num_mels=24),
        build("functionals_lda", noise_floor_db=-50.0),
        build("mfcc_svm"),
        build("mfcc_svm", num_coefficients=20),
    ]
    for count, model in enumerate(others, start=1):
        features(model, dataset)
        assert len(computed) == count * len(dataset)
    features(build("functionals_lda_speaker", relevance_factor=2.0), dataset)
    features(build("mfcc_svm", regularisation=1.0), dataset)
    assert len(computed) == len(others) * len(dataset)


def test_the_same_changes_are_computed_once(fit: Fit, computed: list[int]) -> None:
    fit("mfcc_svm", {"speed": 0.2})
    count = len(computed)
    fit("mfcc_svm", {"speed": 0.2})
    assert len(computed) == count
    fit("mfcc_svm", {"speed": 0.1})
    assert len(computed) == 1.5 * count


def test_a_changed_clip_alone_is_computed(
    model: FeatureClassifier, computed: list[int], tone_shards: Path, monkeypatch
) -> None:
    dataset = ShardDataset(tone_shards, ALL)
    before, begun = features(model, dataset)
    assert begun == len(dataset)
    read = dataset.window

    def change_one(index: int, start: int, end: int) -> np.ndarray:
        pcm = read(index, start, end)
        return pcm[::-1].copy() if index == 5 else pcm

    monkeypatch.setattr(dataset, "window", change_one)
    computed.clear()
    after, begun = features(model, dataset)
    assert computed == [dataset.lengths[5]]
    assert begun == len(dataset)
    assert (before != after).any(axis=1).nonzero()[0].tolist() == [5]


def test_a_damaged_file_is_a_warning_and_mended(
    model: FeatureClassifier, computed: list[int], tone_shards: Path, folder: Path, caplog
) -> None:
    dataset = ShardDataset(tone_shards, ["test"])
    expected, _ = features(model, dataset)
    [path] = folder.iterdir()
    whole = path.read_bytes()
    half = len(whole) // 2
    for damaged in (whole[:half], b"", whole[:half] + b"\xff" * 8 + whole[half + 8 :]):
        path.write_bytes(damaged)
        computed.clear()
        with caplog.at_level(logging.WARNING):
            found, _ = features(model, dataset)
        np.testing.assert_array_equal(found, expected)
        assert len(computed) == len(dataset)
        assert f"{path}: not used: " in caplog.text
        caplog.clear()
        computed.clear()
        features(model, dataset)
        assert (computed, caplog.text) == ([], "")
