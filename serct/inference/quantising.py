"""Models in ONNX with 8 bits a weight.

Shapes: M samples of a clip.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from serct.data.dataset import ShardDataset
from serct.errors import CheckpointError
from serct.inference.onnx_model import INPUTS, Calibration
from serct.runtime.arrays import Floats

# Narrower layers, such as the one that places windows, save little and lose much: they stay exact.
_NARROWEST = 64
# Several of each emotion and speaker of the usual corpora.
_NUM_CALIBRATED = 64


def quantise(plain: Path, path: Path, clips: Sequence[Floats] = ()) -> None:
    """Write a float32 model with its wider matrix products in int8, weights by output channel.

    Convolutions stay as they are: one range for all of a recording's frames leaves nothing of the
    silent ones, which a layer norm behind them makes as large as the others.

    Args:
        plain: The float32 model.
        path: The file to write.
        clips: Recordings like those that the model is for, none that scores it: the ranges of
            inputs are measured on them and kept, which OpenVINO makes use of. Without, they are
            found anew for each batch. float32 [M] each

    Raises:
        CheckpointError: If no matrix product is wide enough.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static

    layers = _wide_products(onnx.load(plain).graph)
    if not layers:
        raise CheckpointError(
            f"has no matrix product whose weights are {_NARROWEST} wide: in int8 it would be the "
            "same"
        )
    how = {"nodes_to_quantize": layers, "per_channel": True, "weight_type": QuantType.QInt8}
    with _without_hints():
        if clips:
            # ONNX Runtime has more kernels for unsigned inputs than for signed ones.
            quantize_static(
                plain, path, _Reader(clips), quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8, **how,
            )  # fmt: skip
        else:
            quantize_dynamic(plain, path, **how)


def calibration_clips(shards: Path, emotions: Sequence[str]) -> tuple[list[Floats], Calibration]:
    """Choose recordings of the training part, evenly among all of them.

    Raises:
        CheckpointError: If the shards have no training part.
    """
    dataset = ShardDataset(shards, ["train"], emotions)
    if not len(dataset):
        raise CheckpointError(
            f"{shards}: has no recording in its training part, expected some to calibrate int8 with"
        )
    count = min(_NUM_CALIBRATED, len(dataset))
    chosen = np.linspace(0, len(dataset) - 1, count).round().astype(int)
    clips = [dataset.batch([index]).waveforms[0] for index in chosen]
    return clips, Calibration(corpus=dataset.meta.corpus, split="train", num_clips=count)


def _wide_products(graph: Any) -> list[str]:
    """Return the names of the nodes whose float32 weights are wide in both directions."""
    from onnx import TensorProto

    is_float = TensorProto.FLOAT
    shapes = {w.name: w.dims for w in graph.initializer if w.data_type == is_float}
    return [
        node.name
        for node in graph.node
        if node.op_type in {"MatMul", "Gemm"}
        and node.input[0] not in shapes
        and min(shapes.get(node.input[1], [0])) >= _NARROWEST
    ]


class _Reader:
    """Hands clips to ONNX Runtime, each as a batch of its own."""

    def __init__(self, clips: Sequence[Floats]) -> None:
        self._batches = (
            dict(zip(INPUTS, (clip[None], np.array([len(clip)])), strict=True)) for clip in clips
        )

    def get_next(self) -> dict[str, Any] | None:
        """Return the next batch, or None behind the last."""
        return next(self._batches, None)


@contextmanager
def _without_hints() -> Iterator[None]:
    """Keep quiet about steps that are no use here; they come through the root logger."""
    root, level = logging.getLogger(), logging.getLogger().level
    root.setLevel(max(level, logging.ERROR))
    try:
        yield
    finally:
        root.setLevel(level)
