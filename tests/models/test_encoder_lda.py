"""`encoder_lda`: discriminants of a frozen encoder's features, saved with the encoder."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from serct import Predictor
from serct.config.params import Params
from serct.data.dataset import ShardDataset
from serct.errors import CheckpointError
from serct.evaluation.classifiers import as_classifier
from serct.models import read_model_params
from serct.models.encoder_lda import EncoderLda
from serct.training.experiment import train_and_track
from serct.training.fitting import fit
from tests.conftest import ROOT
from tests.models.encoders import write_encoder
from tests.models.enrolled import enrolled

NAMES = ("whisper_lda", "whisper_lda_speaker")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoders") / "whisper")


@pytest.fixture
def params(tiny_params: Params, encoder: Path) -> Params:
    """Small params, with a tiny encoder in place of the real one."""
    entry = {"path": str(encoder), "licence": "CC0", "trained_on": "noise"}
    return tiny_params.replace(encoders={**tiny_params.encoders, "whisper_tiny_en": entry})


@pytest.fixture
def saved(params: Params, tone_shards: Path, tmp_path: Path) -> Path:
    """A folder with both models."""
    for name in NAMES:
        train_and_track(params, name, tone_shards, tmp_path / "state", tmp_path / name)
    return tmp_path


def test_a_saved_model_needs_no_other_folder(
    saved: Path, tone_shards: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = ShardDataset(tone_shards, ["test"]).batch(np.arange(2))
    hidden = encoder.with_name("hidden")
    encoder.rename(hidden)
    try:
        for name in NAMES:
            predictor = Predictor.load(saved / name)
            found = predictor.classify(test.waveforms, test.num_valid)
            assert found.sum(axis=1) == pytest.approx(np.ones(2))
            assert predictor.card.architecture["encoder"]["licence"] == "CC0"
    finally:
        hidden.rename(encoder)
    shutil.copyfile(saved / NAMES[0] / "card.json", saved / "card.json")
    (saved / NAMES[0] / "encoder.json").unlink()
    with pytest.raises(CheckpointError, match=r"encoder\.json: no such file"):
        Predictor.load(saved / NAMES[0])


def test_the_module_predicts_as_the_model(params: Params, tone_shards: Path) -> None:
    sets = [ShardDataset(tone_shards, [split]) for split in ("train", "validation")]
    test = ShardDataset(tone_shards, ["test"]).batch(np.arange(2))
    for name in NAMES:
        model = fit(read_model_params(params, name), params.train, 3, *sets, Path("state")).model
        assert isinstance(model, EncoderLda)
        expected = as_classifier(model, "cpu")(test.waveforms, test.num_valid)
        with torch.inference_mode():
            waveforms, num_valid = map(torch.from_numpy, (test.waveforms, test.num_valid))
            logits, features = model.as_module(test.waveforms.shape[1])(waveforms, num_valid)
        np.testing.assert_allclose(logits.softmax(dim=1), expected, atol=1e-4)
        own = model.extract_features(test.waveforms)
        np.testing.assert_allclose(features, own, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_threads_that_want_the_encoder_at_once_predict_as_one(saved: Path) -> None:
    """In a new process, in which transformers is not yet imported."""
    code = f"""
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np
from serct import Predictor

predictor = Predictor.load(Path({str(saved / NAMES[0])!r}))
waveform = 0.1 * np.random.default_rng(0).standard_normal(5000)
start = threading.Barrier(8)
sys.setswitchinterval(1e-6)

def predict(_):
    start.wait()
    return predictor.predict(waveform, 16_000)

with ThreadPoolExecutor(8) as pool:
    found = list(pool.map(predict, range(8)))
assert all(each == found[0] for each in found), found
assert found[0] == predictor.predict(waveform, 16_000)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.slow
def test_what_is_served_needs_neither_torch_nor_transformers(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an export, made once; that of a model that adapts to speakers adapts too."""
    from serct.inference.serving_form import serving_form

    monkeypatch.setenv("SERCT_CACHE", str(saved / "cache"))

    waveforms = 0.1 * np.random.default_rng(0).standard_normal((3, 5000))
    silence = np.zeros(800)
    np.save(saved / "waveforms.npy", waveforms)
    for name in NAMES:
        exported = serving_form(saved / name, "cpu")
        written = (exported / "model.onnx").stat().st_mtime_ns
        assert serving_form(saved / name, "cpu") == serving_form(exported, "cpu") == exported
        assert (exported / "model.onnx").stat().st_mtime_ns == written
        predictor = Predictor.load(saved / name)
        served = Predictor.load(exported).predict(silence, 16_000)
        assert list(served.values()) == pytest.approx(
            list(predictor.predict(silence, 16_000).values()), abs=1e-3
        )
        expected = [*predictor.predict(waveforms[0], 16_000).values()]
        if predictor.adapts_to_speaker:
            speaker = predictor.as_speaker(enrolled(predictor, waveforms[1:]), 2, 1.0)
            expected += predictor.for_speaker(speaker).predict(waveforms[0], 16_000).values()
        code = f"""
import sys

class Absent:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("torch", "transformers"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
import numpy as np
from serct import Predictor
from tests.models.enrolled import enrolled
waveforms = np.load({str(saved / "waveforms.npy")!r})
predictor = Predictor.load({str(exported)!r})
print(*predictor.predict(waveforms[0], 16000).values())
if predictor.adapts_to_speaker:
    speaker = predictor.as_speaker(enrolled(predictor, waveforms[1:]), 2, 1.0)
    print(*predictor.for_speaker(speaker).predict(waveforms[0], 16000).values())
"""
        result = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stderr
        assert [float(x) for x in result.stdout.split()] == pytest.approx(expected, abs=1e-3)


def test_features_are_named_by_layer_and_statistic(saved: Path) -> None:
    from serct.models.checkpoint import load_model

    model, _ = load_model(saved / "whisper_lda")
    assert isinstance(model, EncoderLda)
    names = model.feature_names()
    assert len(set(names)) == len(names) == model.num_features
    groups = list(dict.fromkeys(each.group for each in names))
    layers = model.pooled_encoder().layers
    assert groups == [f"layer {n}, {what}" for what in ("mean", "deviation") for n in layers]
    rows = model.extract_features(np.random.default_rng(0).normal(0, 0.1, (1, 8000)).astype("f4"))
    is_deviation = np.array([each.group.endswith("deviation") for each in names])
    assert (rows[0, is_deviation] > 0).all()
    assert (rows[0, ~is_deviation] < 0).any()
