"""The files of an exported model: two graphs that share their weights, and what audonnx reads.

`model.onnx` takes a batch, and the lengths of its clips if these differ. `clip.onnx` takes one clip
and gives its logits alone, calibrated. audonnx, audEERING's format for models in ONNX, reshapes a
signal to the shape of a graph's input, where one length may be open but not two. `model.yaml` names
that graph and the labels, so `audonnx.load(folder)` reads it.

Source:
    https://audeering.github.io/audonnx, version 1.0; audobject's YAML.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serct.inference.onnx_model import (
    CLIP_FILE,
    INPUTS,
    LABELS_FILE,
    MODEL_FILE,
    OUTPUTS,
    WEIGHTS_FILE,
)
from serct.runtime import atomic

# Of audonnx, whose reader warns if it is older than what wrote a file.
_AUDONNX = "1.0.0"
# Stands for "all samples": a caller may leave out how many of each clip are valid.
_ALL = -1


def write_graphs(plain: Path, folder: Path, emotions: Sequence[str], temperature: float) -> None:
    """Write a traced model, one file, as the files of an export.

    Args:
        plain: The file.
        folder: An existing one.
        emotions: Labels of the logits, in order.
        temperature: Calibrates the logits of `clip.onnx`, which nobody reads a card with.
    """
    import onnx

    model = onnx.load(plain)
    _fill_in_lengths(model.graph)
    onnx.save(model, folder / MODEL_FILE, save_as_external_data=True, location=WEIGHTS_FILE)
    # After that the model only refers to its weights, so both graphs share one file of them.
    batch = model.graph.input[0].type.tensor_type.shape.dim[0]
    batch.ClearField("dim_param")
    batch.dim_value = 1
    del model.graph.input[1:], model.graph.output[1:]
    _calibrate(model.graph, temperature)
    onnx.save(model, folder / CLIP_FILE)
    quoted = [json.dumps(name, ensure_ascii=False) for name in (CLIP_FILE, OUTPUTS[0], *emotions)]
    path, output, *labels = quoted
    lines = [
        f"$audonnx.core.model.Model=={_AUDONNX}:",
        f"  path: {path}",
        "  labels:",
        f"    {output}:",
        *(f"    - {label}" for label in labels),
        "  transform: null",
    ]
    atomic.write_text(folder / LABELS_FILE, "\n".join(lines) + "\n")


def _calibrate(graph: Any, temperature: float) -> None:
    """Divide a graph's logits by a temperature."""
    from onnx import TensorProto, helper

    logits, uncalibrated = OUTPUTS[0], f"{OUTPUTS[0]}_uncalibrated"
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [uncalibrated if name == logits else name for name in names]
    graph.initializer.append(
        helper.make_tensor("temperature", TensorProto.FLOAT, [1], [temperature])
    )
    graph.node.append(helper.make_node("Div", [uncalibrated, "temperature"], [logits]))


def _fill_in_lengths(graph: Any) -> None:
    """Make a graph take all samples for valid where no lengths are given.

    An initializer of an input's name is its default.
    """
    from onnx import TensorProto, helper

    waveforms, lengths = INPUTS
    found = [entry for entry in graph.input if entry.name == lengths]
    if not found:
        return
    # One default serves batches of any size, so the two inputs no longer have one length.
    found[0].type.tensor_type.shape.dim[0].dim_param = "lengths"
    filled = f"{lengths}_filled"
    for node in graph.node:
        node.input[:] = [filled if name == lengths else name for name in node.input]
    numbers = {lengths: _ALL, "first_axis": 0, "second_axis": 1, "no_samples": 0}
    graph.initializer.extend(
        helper.make_tensor(name, TensorProto.INT64, [1], [value]) for name, value in numbers.items()
    )
    steps = [
        ("Shape", [waveforms], "waveforms_shape"),
        ("Gather", ["waveforms_shape", "first_axis"], "num_clips"),
        ("Gather", ["waveforms_shape", "second_axis"], "num_samples"),
        ("Expand", [lengths, "num_clips"], "lengths_given"),
        ("Less", ["lengths_given", "no_samples"], "is_left_out"),
        ("Where", ["is_left_out", "num_samples", "lengths_given"], filled),
    ]
    nodes = [helper.make_node(kind, names, [name], name=name) for kind, names, name in steps]
    # Nodes stand in the order in which they are computed.
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
