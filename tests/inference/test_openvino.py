"""Exports computed by OpenVINO: close to what they are in float32, and nothing is sent."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, save

from serct import Predictor
from serct.errors import CheckpointError
from serct.inference.onnx_model import OnnxClassifier
from tests.inference.test_exporting import noise

pytestmark = pytest.mark.slow


def test_probabilities_are_those_of_float32_but_for_rounding(exported: Path) -> None:
    waveforms = [noise(length, seed) for seed, length in enumerate((8000, 1, 700, 12_001))]
    found, expected = (
        Predictor.load(exported, precision=precision).predict_batch(waveforms, 16000)
        for precision in ("bfloat16", "float32")
    )
    for got, wanted in zip(found, expected, strict=True):
        assert list(got.values()) == pytest.approx(list(wanted.values()), abs=0.02)


def test_a_clip_is_the_same_alone_and_in_a_batch_of_longer_ones(exported: Path) -> None:
    """The graph's own value for the lengths, "all samples", must not be taken for good."""
    classify = OnnxClassifier(exported / "model.onnx", precision="bfloat16")
    clips = np.stack([noise(8000, seed) for seed in range(3)]).astype(np.float32)
    lengths = np.array([8000, 900, 3000])
    clips *= np.arange(8000) < lengths[:, None]
    together = classify(clips, lengths)
    for clip, length, expected in zip(clips, lengths, together, strict=True):
        alone = classify(clip[None, :length], np.array([length]))
        np.testing.assert_allclose(alone[0], expected, atol=0.02)


def test_threads_do_not_disturb_each_other(exported: Path) -> None:
    classify = OnnxClassifier(exported / "model.onnx", 1, "bfloat16")
    clips = [noise(500 + 100 * seed, seed)[None].astype(np.float32) for seed in range(24)]
    lengths = [np.array([clip.shape[1]]) for clip in clips]
    expected = [classify(*each) for each in zip(clips, lengths, strict=True)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(classify, clips, lengths))
    np.testing.assert_array_equal(found, expected)


def test_nothing_is_sent_when_it_is_imported(exported: Path) -> None:
    code = (
        "import socket, sys\n"
        "def refuse(*_): raise SystemExit('a connection was opened')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from serct import Predictor\n"
        "Predictor.load(sys.argv[1], precision='bfloat16')\n"
        "print([name for name in sys.modules if name.startswith('openvino_telemetry')])"
    )
    done = run(code, exported)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_without_it_the_package_to_install_is_named(exported: Path) -> None:
    code = (
        "import sys; sys.modules['openvino'] = None\n"
        "from serct import Predictor; Predictor.load(sys.argv[1], precision='bfloat16')"
    )
    done = run(code, exported)
    assert "needs OpenVINO, which is not installed: pip install 'serct[openvino]'" in done.stderr


def test_recurrent_networks_are_refused(tmp_path: Path) -> None:
    shapes = {"w": (2, 16, 3), "r": (2, 16, 4)}
    weights = [
        helper.make_tensor(name, TensorProto.FLOAT, shape, np.ones(shape))
        for name, shape in shapes.items()
    ]
    value = helper.make_tensor_value_info
    ends = (
        value("waveforms", TensorProto.FLOAT, [5, "batch", 3]),
        value("logits", TensorProto.FLOAT, [5, 2, "batch", 4]),
    )
    node = helper.make_node(
        "LSTM", ["waveforms", "w", "r"], ["logits"], hidden_size=4, direction="bidirectional"
    )
    graph = helper.make_graph([node], "graph", [ends[0]], [ends[1]], weights)
    opset = helper.make_opsetid("", 20)
    save(helper.make_model(graph, opset_imports=[opset], ir_version=10), tmp_path / "model.onnx")
    with pytest.raises(CheckpointError, match=r"recurrent networks \(LSTMSequence\) wrongly"):
        OnnxClassifier(tmp_path / "model.onnx", precision="bfloat16")


def test_what_is_no_graph_is_said(tmp_path: Path) -> None:
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(CheckpointError, match=r"junk\.onnx: not usable by OpenVINO"):
        OnnxClassifier(tmp_path / "junk.onnx", precision="bfloat16")


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False
    )
