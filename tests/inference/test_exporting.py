"""Exported models predict as the original does, and damaged or lossy ones are refused."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import audonnx
import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, load, save

from serct import Predictor
from serct.errors import CheckpointError
from serct.inference.exporting import export_onnx
from serct.inference.onnx_model import OnnxClassifier
from serct.inference.quantising import quantise
from tests.cli.test_cli import serct
from tests.conftest import ROOT
from tests.edited import edit_record

pytestmark = pytest.mark.slow


def noise(num_samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.3, 0.3, num_samples)


def test_swapped_are_the_originals_for_any_batch_and_length(
    exported: Path, trained: dict[str, Path]
) -> None:
    onnx, torch = Predictor.load(exported), Predictor.load(trained["serct"])
    assert onnx.card == torch.card
    for lengths in ([1], [8000], [7999, 3], [40, 900, 2500, 5000], [30_000]):
        waveforms = [noise(length, seed) for seed, length in enumerate(lengths)]
        for found, expected in zip(
            onnx.predict_batch(waveforms, 16000), torch.predict_batch(waveforms, 16000), strict=True
        ):
            assert list(found) == list(expected)
            assert list(found.values()) == pytest.approx(list(expected.values()), abs=1e-5)
            assert sum(found.values()) == pytest.approx(1)


@pytest.mark.parametrize("int8", [False, True])
def test_nothing_of_the_machine_is_in_the_file(
    trained: dict[str, Path],
    exported: Path,
    tmp_path: Path,
    int8: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = exported
    if int8:
        folder = tmp_path / "onnx"
        monkeypatch.setattr("serct.inference.quantising._NARROWEST", 8)
        export_onnx(trained["serct"], folder, int8=True)
    for name in ("model.onnx", "clip.onnx"):
        content = (folder / name).read_bytes()
        assert str(ROOT).encode() not in content
        assert b".py" not in content
        nodes = load(folder / name).graph.node
        assert nodes
        assert not any(node.metadata_props or node.doc_string for node in nodes)


def test_masked_padding_is_exported_too(
    trained: dict[str, Path], tmp_path: Path, exported: Path
) -> None:
    masked = tmp_path / "masked"
    shutil.copytree(trained["serct"], masked)
    card = json.loads((masked / "card.json").read_text())
    card["architecture"]["mask_padding"] = True
    edit_record(masked / "card.json", architecture=card["architecture"])
    export_onnx(masked, tmp_path / "onnx")
    clips = [noise(n) for n in (700, 4000)]
    found, expected = (
        Predictor.load(folder).predict_batch(clips, 16000) for folder in (tmp_path / "onnx", masked)
    )
    plain = Predictor.load(exported).predict_batch(clips, 16000)
    for got, wanted, other in zip(found, expected, plain, strict=True):
        assert list(got.values()) == pytest.approx(list(wanted.values()), abs=1e-5)
        assert list(got.values()) != pytest.approx(list(other.values()), abs=1e-5)


def test_int8_is_compared_on_a_corpus_and_refused_where_it_loses(
    trained: dict[str, Path], tone_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serct.inference.quantising._NARROWEST", 8)  # these models are narrow
    note = export_onnx(
        trained["serct"],
        tmp_path / "a",
        int8=True,
        shards=tone_shards,
        max_loss_points=100,  # one of three clips may tip over
    )
    assert note.precision == "int8"
    assert note.calibration is not None
    assert note.calibration.split == "train"
    nodes = load(tmp_path / "a" / "model.onnx").graph.node
    rounded = {name for n in nodes if n.op_type == "DequantizeLinear" for name in n.output}
    products = [n for n in nodes if n.op_type == "MatMul" and rounded.issuperset(n.input)]
    assert products
    assert not any(n.op_type == "Conv" and rounded & set(n.input) for n in nodes)
    assert note.comparison is not None
    assert note.comparison.num_clips > 0
    assert 1e-4 < note.comparison.largest_difference < 0.3  # rounding in float32 gives 1e-7
    assert Predictor.load(tmp_path / "a").predict(noise(4000), 16000)

    class Contrary:
        """Gives the opposite of what it was loaded from."""

        def __init__(self, path: Path) -> None:
            self.inner = OnnxClassifier(path)
            self.logits = self.inner.logits

        def __call__(self, waveforms: np.ndarray, num_valid: np.ndarray) -> np.ndarray:
            swapped = 1 - self.inner(waveforms, num_valid)
            return swapped / swapped.sum(axis=1, keepdims=True)

    monkeypatch.setattr("serct.inference.exporting.OnnxClassifier", Contrary)
    with pytest.raises(CheckpointError, match=r"loses \d+\.\d\d points .* at most 0\.2; nothing"):
        export_onnx(trained["serct"], tmp_path / "b", int8=True, shards=tone_shards)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    "name", ["cnn_bilstm", pytest.param("mel_conformer", marks=pytest.mark.long), "mfcc_svm"]
)
def test_other_architectures_are_exported_too(
    trained: dict[str, Path], tmp_path: Path, name: str
) -> None:
    """One that recurs, one with a spectrogram, and one of scikit-learn; see also test_graphs."""
    export_onnx(trained[name], tmp_path / "onnx")
    waveforms = [noise(length, seed) for seed, length in enumerate((1, 900, 8000, 12_001))]
    found, expected = (
        Predictor.load(folder).predict_batch(waveforms, 16000)
        for folder in (tmp_path / "onnx", trained[name])
    )
    for got, wanted in zip(found, expected, strict=True):
        assert list(got.values()) == pytest.approx(list(wanted.values()), abs=1e-5)


def test_int8_needs_wide_products_in_float32(tmp_path: Path) -> None:
    """Products in float64, of features, stay as they are."""
    value = helper.make_tensor_value_info
    for kind, width in ((TensorProto.FLOAT, 63), (TensorProto.DOUBLE, 64), (TensorProto.FLOAT, 64)):
        weight = helper.make_tensor("w", kind, [64, width], np.ones(64 * width))
        node = helper.make_node("MatMul", ["x", "w"], ["y"], name="product")
        ends = value("x", kind, [1, 64]), value("y", kind, [1, width])
        graph = helper.make_graph([node], "graph", [ends[0]], [ends[1]], [weight])
        opset = helper.make_opsetid("", 20)
        save(helper.make_model(graph, opset_imports=[opset], ir_version=10), tmp_path / "x.onnx")
        if (kind, width) == (TensorProto.FLOAT, 64):
            quantise(tmp_path / "x.onnx", tmp_path / "y.onnx")
            assert "MatMulInteger" in {n.op_type for n in load(tmp_path / "y.onnx").graph.node}
        else:
            with pytest.raises(CheckpointError, match="no matrix product whose weights are 64"):
                quantise(tmp_path / "x.onnx", tmp_path / "y.onnx")


def test_lengths_may_be_left_out(exported: Path) -> None:
    session = onnxruntime.InferenceSession(exported / "model.onnx")
    waveforms = np.stack([noise(4000, seed) for seed in range(3)]).astype(np.float32)
    assert [entry.name for entry in session.get_inputs()] == ["waveforms"]
    [found] = session.run(["logits"], {"waveforms": waveforms})
    expected = OnnxClassifier(exported / "model.onnx").logits(waveforms, np.full(3, 4000))
    np.testing.assert_array_equal(found, expected)


def test_audonnx_reads_an_export(exported: Path) -> None:
    model = audonnx.load(str(exported))
    signal = noise(4000).astype(np.float32)
    exponentials = np.exp(model(signal, 16000)[0].astype(float))
    card = Predictor.load(exported).card
    assert list(model.labels()) == list(card.emotions)
    assert card.calibration.temperature != 1
    classifier = OnnxClassifier(exported / "model.onnx")
    expected = card.calibration.apply(classifier(signal[None], np.array([4000])))
    np.testing.assert_allclose(exponentials / exponentials.sum(), expected[0], atol=1e-6)


@pytest.mark.parametrize(
    "name", ["model.onnx", "model.onnx.data", "clip.onnx", "model.yaml", "card.json", "export.json"]
)
def test_damage_is_found(exported: Path, tmp_path: Path, name: str) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(exported, broken)
    content = (broken / name).read_bytes()
    for seed in range(5):
        chance = np.random.default_rng(seed)
        first = int(chance.integers(max(1, len(content) - 500)))
        damaged = content[:first] + chance.bytes(500) + content[first + 500 :]
        for found in (damaged[: len(content)], content[:first]):
            (broken / name).write_bytes(found)
            with pytest.raises(CheckpointError, match=rf"{name}: (damaged: SHA-256|not readable)"):
                Predictor.load(broken)
    (broken / name).write_bytes(content)
    Predictor.load(broken)


def test_the_card_of_another_model_is_not_the_exports(exported: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(exported, broken)
    edit_record(broken / "card.json", emotions=["sad", "happy", "angry"])
    with pytest.raises(CheckpointError, match=r"card\.json: damaged: .* as export\.json says"):
        Predictor.load(broken)


def test_an_export_of_the_first_format_is_checked_as_far_as_its_note_says(
    exported: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    shutil.copytree(exported, old)
    note = json.loads((old / "export.json").read_text())
    digest = note.pop("files")["model.onnx"]
    for key in ("format_version", "written_by", "content_sha256", "calibration"):
        del note[key]
    (old / "export.json").write_text(json.dumps(note | {"sha256": digest}))
    assert Predictor.load(old).predict(noise(4000), 16000)
    with (old / "model.onnx").open("ab") as file:
        file.write(b"0")
    with pytest.raises(CheckpointError, match=r"model\.onnx: damaged: SHA-256"):
        Predictor.load(old)


def test_what_is_no_export_is_said(exported: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(exported, broken)
    (broken / "export.json").unlink()
    with pytest.raises(CheckpointError, match="not a whole export"):
        Predictor.load(broken)
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(CheckpointError, match="not usable by ONNX Runtime"):
        OnnxClassifier(tmp_path / "junk.onnx")


def test_without_onnx_runtime_the_package_to_install_is_named(exported: Path) -> None:
    code = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from serct import Predictor; Predictor.load(sys.argv[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(exported)], capture_output=True, text=True, check=False
    )
    assert "pip install onnxruntime" in done.stderr


def test_on_the_command_line(trained: dict[str, Path], tone_shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "onnx"
    done = serct("export", str(trained["serct"]), "--out", str(out), "--shards", str(tone_shards))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["comparison"]["num_clips"] > 0
    scored = serct("evaluate", "--model", str(out), "--shards", str(tone_shards))
    before = serct("evaluate", "--model", str(trained["serct"]), "--shards", str(tone_shards))
    assert json.loads(scored.stdout)["masked"]["wa"] == json.loads(before.stdout)["masked"]["wa"]
