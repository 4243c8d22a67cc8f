"""Exports for Hugging Face's transformers: whole, lean, and equal to the model without serct."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from serct import Predictor
from serct.cli.evaluation import ExportFormat, export
from serct.config.params import Params
from serct.errors import BackendUnavailableError, CheckpointError
from serct.inference.huggingface import exporting
from serct.inference.huggingface.bundling import bundle
from serct.inference.huggingface.card import hub_card
from serct.inference.huggingface.exporting import HuggingFaceExport, export_huggingface
from serct.models import read_model_params
from serct.models.records import Card
from serct.training.experiment import train_and_track
from tests.conftest import ROOT
from tests.fake_results import make_card
from tests.models.encoders import write_encoder

OLD = ROOT / "tests" / "fixtures" / "ef68e99"
# Beside a model's own code; pydantic reads its params.
PACKAGES = {"numpy", "pydantic", "torch", "transformers"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tiny models of each kind, of an older format."""
    from serct.data.archives import extract

    root = tmp_path_factory.mktemp("models")
    shutil.copytree(OLD / "workspace", root / "workspace")
    shutil.copytree(OLD / "encoder", root / "encoder")
    extract(OLD / "packed.tar.xz", root / "unpacked", max_bytes=10**8)
    shutil.copytree(root / "unpacked", root, dirs_exist_ok=True)
    return root / "workspace" / "data" / "models"


@pytest.fixture(autouse=True)
def _in_workspace(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(models.parents[1])  # the card of ssl names its encoder's folder from there


def check_closed(files: dict[str, str], root: str) -> set[str]:
    """Check that files need nothing but each other and packages, whose names it returns."""
    needed, packages = {root}, set()
    trees = {name: ast.parse(text) for name, text in files.items()}
    for name, text in files.items():
        assert not re.search(r"^\s*(from|import) serct", text, re.MULTILINE)
        assert text.startswith("# SPDX-License-Identifier: Apache-2.0\n# From serct")
        for node in ast.walk(trees[name]):
            if isinstance(node, ast.Import):
                packages |= {each.name.split(".")[0] for each in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                packages.add(str(node.module).split(".")[0])
            elif isinstance(node, ast.ImportFrom):
                beside = [node.module] if node.module else [each.name for each in node.names]
                needed |= {f"{each}.py" for each in beside}
                for each in beside:
                    assert f"from .{each} import" in text, "transformers searches for such lines"
                if node.module:
                    names = {each.name for each in node.names} - {"__name__"}
                    assert names <= defined_in(trees[f"{node.module}.py"])
    assert needed == files.keys()
    return packages - set(sys.stdlib_module_names)


def defined_in(tree: ast.Module) -> set[str]:
    found = set()
    for stmt in tree.body:
        if isinstance(stmt, ast.FunctionDef | ast.ClassDef):
            found.add(stmt.name)
        found |= {
            node.id
            for node in ast.walk(stmt)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
    return found


def test_imports_inside_functions_are_followed_too() -> None:
    files = bundle("serct.models.encoder_lda", {})
    assert (
        "    from .serct_models_encoders_pooled import PooledEncoder\n" in files["encoder_lda.py"]
    )
    assert "sklearn" in check_closed(files, "encoder_lda.py")
    assert "def write_json(" in files["serct_runtime_atomic.py"], "of a module imported whole"
    assert "TYPE_CHECKING:" not in files["encoder_lda.py"]


# mel_conformer imports a whole module, ssl is now encoder_network.
@pytest.mark.parametrize("name", ["cnn", "serct", "mel_conformer", "ssl"])
def test_the_folder_holds_what_the_model_needs_and_nothing_else(
    models: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "out"
    note = export_huggingface(models / f"demo_en-{name}", out)
    assert note.difference < 1e-6
    assert {path.name: path.stat().st_size for path in out.iterdir()} == note.files
    code = {path.name: path.read_text("utf-8") for path in out.glob("*.py")}
    assert note.files.keys() - code.keys() == {
        "README.md", "config.json", "model.safetensors", "preprocessor_config.json",
    }  # fmt: skip
    assert check_closed(code, "modeling_serct.py") <= PACKAGES
    config = json.loads((out / "config.json").read_text())
    emotions = json.loads((models / f"demo_en-{name}" / "card.json").read_text())["emotions"]
    assert list(config["id2label"].values()) == list(config["label2id"]) == emotions
    assert config["torch_dtype"] == "float32"


def test_the_card_can_be_read_by_the_hub() -> None:
    corpora = {
        name: {"language": language, "utterances": 10, "speakers": 2}
        for name, language in (("tess", "en"), ("emodb", "de"))
    }
    card = Card.parse(
        json.dumps({**make_card("tess", "serct"), "corpora": corpora, "synthetic": True}),
        "card.json",
    )
    text = hub_card(card, {"tess": "CC BY-NC-ND 4.0"})
    _, header, body = text.split("---\n", 2)
    found: dict[str, Any] = yaml.safe_load(header)
    assert found["library_name"] == "transformers"
    assert found["pipeline_tag"] == "audio-classification"
    assert found["license"] == "other"
    assert found["language"] == ["de", "en"]
    assert {"audio-classification", "speech-emotion-recognition"} <= set(found["tags"])
    [model] = found["model-index"]
    scores = {each["type"]: each["value"] for each in model["results"][0]["metrics"]}
    assert scores["recall"] == pytest.approx(card.validation.ua, abs=1e-4)
    assert body.startswith("\n# serct, trained on tess\n")
    assert body.index("**Synthetic") < body.index("## Use\n") < body.index("\n\n## Data\n")
    assert "forbids commercial use" in body
    assert 'pipeline("audio-classification"' in body


def test_the_card_of_a_model_with_speaker_enrolment_claims_no_score(tiny_params: Params) -> None:
    model = read_model_params(tiny_params, "functionals_lda_speaker").model_dump(mode="json")
    content = {**make_card("tess", "functionals_lda_speaker"), "architecture": model}
    text = hub_card(Card.parse(json.dumps(content), "card.json"), {})
    assert "model-index" not in yaml.safe_load(text.split("---\n")[1])
    assert "- **Speaker enrolment.** Here every speaker is predicted like one without" in text


@pytest.mark.parametrize("name", ["svm", "mfcc_svm"])
def test_a_model_without_a_form_in_torch_is_refused(
    models: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises(CheckpointError, match=rf"architecture {name} cannot be built without"):
        export_huggingface(models / f"demo_en-{name}", tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_an_export_that_predicts_differently_is_refused(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "_TOLERANCE", 0.0)  # rounding differs by more
    with pytest.raises(CheckpointError, match="probabilities of the export differ by"):
        export_huggingface(models / "demo_en-cnn", tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_the_models_own_folder_is_never_written(models: Path) -> None:
    source = models / "demo_en-cnn"
    before = sorted(source.iterdir())
    for destination in (source, source / "hf", models):
        with pytest.raises(CheckpointError, match="expected a folder apart from the model's"):
            export_huggingface(source, destination)
    assert sorted(source.iterdir()) == before


def test_options_of_another_format_and_a_missing_package_are_named(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, form = str(models / "demo_en-cnn"), ExportFormat.HUGGINGFACE
    with pytest.raises(CheckpointError, match="with --format onnx only"):
        export(tmp_path / "x", model=source, form=form, int8=True)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(BackendUnavailableError, match=r"pip install 'serct\[encoders\]'"):
        export(tmp_path / "x", model=source, form=form)
    assert not list(tmp_path.iterdir())


def test_emotions_can_be_others_and_recordings_must_fit(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_huggingface(models / "demo_en-cnn", out)
    predictor = Predictor.load(models / "demo_en-cnn")
    with exporting._imported(out) as code:
        load = code.SerctForAudioClassification.from_pretrained
        model, old = load(out, num_labels=2, ignore_mismatched_sizes=True), load(out)
        extract = code.SerctFeatureExtractor.from_pretrained(out)
        weights, kept = model.state_dict(), old.state_dict()
        head = [name for name in kept if weights[name].shape != kept[name].shape]
        assert {name.rpartition(".")[0] for name in head} == {"network.head.6"}
        for name, value in weights.items():
            assert value.isfinite().all()
            assert name in head or value.equal(kept[name])
        assert model(**extract(np.ones(50), return_tensors="pt")).logits.shape == (1, 2)
        rate = extract.sampling_rate
        with pytest.raises(ValueError, match=f"have {rate + 1} Hz, expected {rate} Hz"):
            extract(np.zeros(50), sampling_rate=rate + 1)
        for wrong in (np.zeros((2, 50, 2)), [np.array([])], np.zeros(50, np.int16)):
            with pytest.raises(ValueError, match=r"recording 0: .* expected floats in \[-1, 1\]"):
                extract(wrong)
        with pytest.raises(ValueError, match="recording 1: holds NaN"):
            extract([np.zeros(50), np.full(9, np.nan)])
        # As in serct: a mean that is no sound, and samples beyond full scale.
        for waveform in (0.5 + 0.1 * np.sin(np.arange(80)), 1.5 * np.sin(np.arange(80))):
            found = extract(waveform, return_tensors="np")["input_values"][0]
            expected = predictor.prepare(waveform, rate)
            np.testing.assert_array_equal(found * 32_768, expected)


def _predict_all(predictor: Predictor, waveform: np.ndarray, rate: int) -> dict[str, float]:
    """Predict a recording from all its windows, also from those where nobody speaks."""
    prepared = predictor.prepare(waveform, rate)
    plan = predictor.plan(len(prepared), rate, None)
    windows = [prepared[start:end] for start, end in plan.windows]
    return predictor.by_emotion(plan.combine(predictor.predict_windows(windows))[0])


@pytest.mark.slow
def test_transformers_predicts_as_serct_in_a_process_without_it(
    models: Path, tiny_params: Params, tone_shards: Path, tmp_path: Path
) -> None:
    """Short and long recordings, alone and padded; one model is trained and saved anew there."""
    encoder = write_encoder(tmp_path / "encoder")
    entry = {"path": str(encoder), "licence": "CC0", "trained_on": "noise"}
    params = tiny_params.replace(encoders={**tiny_params.encoders, "whisper_tiny_en": entry})
    lda = tmp_path / "whisper_lda"
    train_and_track(params, "whisper_lda_speaker", tone_shards, tmp_path / "state", lda)
    sources = [*(models / f"demo_en-{name}" for name in ("cnn", "serct")), lda]
    expected: dict[str, list[dict[str, float]]] = {}
    for source in sources:
        folder = tmp_path / "work" / source.name
        note: HuggingFaceExport = export_huggingface(source, folder / "export")
        assert note.difference < 1e-5
        predictor = Predictor.load(source)
        num_samples, rate = predictor.card.audio.num_samples, predictor.card.sample_rate_hz
        rng = np.random.default_rng(1)
        lengths = [num_samples, num_samples // 3, 7, int(2.5 * num_samples)]
        clips = [0.1 * rng.standard_normal(length).astype(np.float32) for length in lengths]
        loud = [0.05 * 2.0 ** (place % 3) * rng.standard_normal(num_samples) for place in range(9)]
        np.savez(folder / "clips.npz", *clips, *loud)
        expected[source.name] = [_predict_all(predictor, clip, rate) for clip in clips]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-P", ROOT / "tests" / "inference" / "huggingface_process.py"]
        + [tmp_path / "work" / source.name for source in sources],
        env={**environment, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["imported"] == []
    for name, rows in expected.items():
        for row, alone, padded in zip(rows, found[name]["one"], found[name]["batch"], strict=True):
            assert alone == pytest.approx(row, abs=1e-5)
            assert padded == pytest.approx(list(row.values()), abs=1e-5)
    training = found["training"]
    assert training["losses"][-1] < training["losses"][0]
    np.testing.assert_allclose(training["saved"], training["trained"], atol=1e-6)
