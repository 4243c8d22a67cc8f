"""Fitted classical models predict the same as modules of torch, which an export traces."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import skl2onnx
import torch
from skl2onnx.common.data_types import DoubleTensorType

from serct.data.dataset import ShardDataset
from serct.errors import CheckpointError
from serct.models.checkpoint import load_model
from serct.models.classical.estimator import ClassicalModel, LabelledRows
from serct.models.classical.feature_classifier import FeatureClassifier

NAMES = ("mlp", "svm", "mfcc_svm", "functionals_lda", "functionals_lda_speaker")
NUM_SAMPLES = 8000


def clips(shards: Path) -> tuple[np.ndarray, np.ndarray]:
    """Tones of several lengths, noise, one sample, silence, and a constant."""
    batch = ShardDataset(shards, ["test", "validation"]).batch(range(6))
    waveforms = np.zeros((10, NUM_SAMPLES), dtype=np.float32)
    waveforms[:6, : batch.waveforms.shape[1]] = batch.waveforms
    waveforms[6] = 0.1 * np.random.default_rng(0).standard_normal(NUM_SAMPLES)
    waveforms[7, 0] = 0.5
    waveforms[9, :3000] = 0.25
    return waveforms, np.array([*batch.num_valid, NUM_SAMPLES, 1, 500, 3000])


def logits_of(model: ClassicalModel, waveforms: np.ndarray, num_valid: np.ndarray) -> torch.Tensor:
    module = model.as_module(NUM_SAMPLES).eval()
    with torch.inference_mode():
        found = module(torch.from_numpy(waveforms), torch.from_numpy(num_valid))
    return found[0] if isinstance(found, tuple) else found


@pytest.mark.parametrize("name", NAMES)
def test_probabilities_are_the_models_for_clips_of_any_length(
    trained: dict[str, Path], tone_shards: Path, name: str
) -> None:
    model, _ = load_model(trained[name])
    assert isinstance(model, ClassicalModel)
    waveforms, num_valid = clips(tone_shards)
    logits = logits_of(model, waveforms, num_valid)
    assert logits.dtype == torch.float32
    expected = model.predict_proba(waveforms)
    np.testing.assert_allclose(logits.softmax(dim=1), expected, atol=1e-5)
    assert len(set(expected.argmax(axis=1))) > 1
    longest = int(num_valid[0])
    alone = logits_of(model, waveforms[:1, :longest], num_valid[:1])
    np.testing.assert_allclose(alone, logits[:1], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_two_emotions_have_a_logit_each(trained: dict[str, Path], name: str) -> None:
    model, _ = load_model(trained[name])
    assert isinstance(model, ClassicalModel)
    rng = np.random.default_rng(1)
    waveforms = (
        rng.uniform(0.05, 0.2, 12)[:, None] * rng.standard_normal((12, NUM_SAMPLES))
    ).astype(np.float32)
    waveforms[::2] = np.cumsum(waveforms[::2], axis=1) / 50
    rows = model.extract_features(waveforms)
    model.fit(LabelledRows(rows, np.arange(12) % 2))
    found = logits_of(model, waveforms, np.full(12, NUM_SAMPLES)).softmax(dim=1)
    np.testing.assert_allclose(found, model.predict(rows), atol=1e-5)
    assert found.shape == (12, 2)


# skl2onnx looks at attributes that scikit-learn will remove.
@pytest.mark.filterwarnings("ignore:Attribute `prob:FutureWarning")
@pytest.mark.parametrize("name", ["mfcc_svm", "functionals_lda"])
def test_heads_agree_with_those_of_skl2onnx(
    trained: dict[str, Path], tone_shards: Path, name: str
) -> None:
    model, _ = load_model(trained[name])
    assert isinstance(model, FeatureClassifier)
    waveforms, num_valid = clips(tone_shards)
    state = model.state()
    rows = model.extract_features(waveforms)
    graph = skl2onnx.to_onnx(
        state.estimator,
        initial_types=[("rows", DoubleTensorType([None, rows.shape[1]]))],
        options={id(state.estimator[-1]): {"zipmap": False, "raw_scores": True}},
        target_opset=20,
    )
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    scores = session.run(None, {"rows": rows})[1] / state.tensors["temperature"]
    found = logits_of(model, waveforms, num_valid)
    expected = torch.from_numpy(scores).softmax(dim=1)
    np.testing.assert_allclose(found.softmax(dim=1), expected, atol=1e-5)


def test_a_model_without_a_module_says_so() -> None:
    class Featured(FeatureClassifier):
        def _features(self, waveform: np.ndarray) -> np.ndarray:
            return waveform[:2].astype(np.float64)

        def _feature_params(self) -> dict[str, object]:
            return {}

        def _machine(self, num_emotions: int) -> object:
            from sklearn.svm import SVC

            return SVC()

    model = Featured(seed=0)
    rows = np.random.default_rng(0).standard_normal((8, 2))
    model.fit(LabelledRows(rows, np.arange(8) % 2))
    with pytest.raises(CheckpointError, match="Featured cannot be exported: it has no feature_mod"):
        model.as_module(NUM_SAMPLES)
