"""Models in ONNX, run by ONNX Runtime or OpenVINO; importing this module imports neither.

An exported folder holds `model.onnx`, the model's own `card.json`, and `export.json`, which says
how the model was exported and checked, and lists the digests of the others. `model.onnx.data` has
the weights, which `clip.onnx` uses too; `serct.inference.onnx_files` says what that one and
`model.yaml` are for. The folder of a model that adapts to speakers holds its estimator too. In
exports of older versions `model.onnx` holds the weights itself.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from safetensors.numpy import load_file

from serct.config.record import Migration, Record, RecordPart
from serct.errors import CheckpointError, SerctError
from serct.evaluation.classifiers import Classifier, as_classifier
from serct.inference.onnx_engines import Engine, OnnxRuntime, OpenVino, Values
from serct.models import restore_model_params
from serct.models.checkpoint import load_card
from serct.models.interface import ClassicalParams
from serct.models.records import CARD, ESTIMATOR, WEIGHTS, Card
from serct.runtime.arrays import Features, Floats, Integers, Probabilities
from serct.runtime.digests import check_files
from serct.runtime.machine import threads_each

MODEL_FILE = "model.onnx"
WEIGHTS_FILE = "model.onnx.data"
CLIP_FILE = "clip.onnx"
LABELS_FILE = "model.yaml"
NOTE_FILE = "export.json"
INPUTS = ("waveforms", "num_valid")
# The second one of encoders' models alone.
OUTPUTS = ("logits", "features")


class Comparison(RecordPart):
    """Scores of the exported model and of the one it came from, on the same clips."""

    corpus: str
    split: str
    num_clips: int
    accuracy_before: float
    accuracy_after: float
    largest_difference: float


class Calibration(RecordPart):
    """Recordings on which the ranges of int8 were measured."""

    corpus: str
    split: str
    num_clips: int


def _note_2(note: dict[str, Any]) -> dict[str, Any]:
    """Return a note of version 1, which had the model's digest alone."""
    return {"files": {MODEL_FILE: note.pop("sha256", "")}, **note}


def _note_3(note: dict[str, Any]) -> dict[str, Any]:
    """Return a note of version 2, before ranges were measured on recordings."""
    return {"calibration": None, **note}


class ExportNote(Record):
    """The content of `export.json`.

    Attributes:
        precision: Of the wider matrix products; all else is float32.
        calibration: What the ranges of int8 were measured on; None: on each batch anew.
        opset: Version of ONNX' operators.
        difference: Largest difference of a logit from the float32 model, on noise; relative to the
            largest logit where that is above 1.
        comparison: On a corpus, if one was given.
        files: SHA-256 of the graphs, their weights and labels, `card.json` and an estimator's
            files, by name.
    """

    FORMAT: ClassVar[int] = 3
    SEALED_FROM: ClassVar[int] = 2
    MIGRATIONS: ClassVar[Mapping[int, Migration]] = {1: _note_2, 2: _note_3}
    ERROR: ClassVar[type[SerctError]] = CheckpointError

    precision: Literal["float32", "int8"]
    calibration: Calibration | None
    opset: int
    difference: float
    comparison: Comparison | None
    versions: dict[str, str]
    files: dict[str, str]


class OnnxClassifier:
    """An exported model as a `serct.evaluation.evaluate.Classifier`, on the CPU."""

    def __init__(
        self, model: Path, num_threads: int | None = None, precision: str = "float32"
    ) -> None:
        """Load a file.

        Args:
            model: A `model.onnx`.
            num_threads: The most threads; None for the share of one computation.
            precision: Of what is not in int8. "bfloat16" by OpenVINO, all else is float32 by
                ONNX Runtime.

        Raises:
            CheckpointError: If the engine is not installed or cannot read the file.
        """
        num_threads = num_threads or threads_each()
        self._engine: Engine
        if precision == "bfloat16":
            self._engine = OpenVino(model, num_threads, optional={INPUTS[1]: np.int64})
        else:
            self._engine = OnnxRuntime(model, num_threads)

    def __call__(self, waveforms: Floats, num_valid: Integers) -> Probabilities:
        """See `serct.evaluation.evaluate.Classifier`."""
        logits = self.logits(waveforms, num_valid).astype(np.float64)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: Probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
        return probabilities

    def logits(self, waveforms: Floats, num_valid: Integers) -> Floats:
        """Compute logits. float32 [B, M], int64 [B] -> float32 [B, K]."""
        return self._run(OUTPUTS[0], waveforms, num_valid)

    def features(self, waveforms: Floats) -> Features:
        """Compute the features of an export that gives them. float32 [B, M] -> float64 [B, F]."""
        # The graph leaves out zeros behind a clip, but computes on what it is given.
        spoken = np.flatnonzero(waveforms.any(axis=0))
        cut = np.ascontiguousarray(waveforms[:, : spoken[-1] + 1 if len(spoken) else 1])
        num_valid = np.full(len(cut), cut.shape[1])
        return self._run(OUTPUTS[1], cut, num_valid).astype(np.float64)

    def _run(self, output: str, waveforms: Floats, num_valid: Integers) -> Floats:
        waveforms_name, num_valid_name = INPUTS
        values: Values = {waveforms_name: waveforms, num_valid_name: num_valid.astype(np.int64)}
        return self._engine.run(output, values)


def load_exported(folder: Path, precision: str = "float32") -> tuple[Classifier, Card]:
    """Load an exported folder and its card, once its files are checked to be those exported.

    Args:
        folder: The export.
        precision: See `OnnxClassifier`.

    Raises:
        CheckpointError: If a file is missing, damaged, or not as exported.
    """
    note = ExportNote.read(folder / NOTE_FILE, "not a whole export: `serct export` writes it")
    check_files(folder, note.files, NOTE_FILE, CheckpointError)
    exported = OnnxClassifier(folder / MODEL_FILE, precision=precision)
    card = load_card(folder)
    if not (folder / ESTIMATOR).exists():
        return exported, card
    # A model that adapts to speakers: the graph gives features, scikit-learn does the rest.
    from serct.models.classical.feature_classifier import FeatureClassifier

    params = restore_model_params(card.architecture, str(folder / CARD))
    assert isinstance(params, ClassicalParams)  # noqa: S101  no other has an estimator
    model = params.build(card.train_params, card.seed, card.sample_rate_hz)
    assert isinstance(model, FeatureClassifier)  # noqa: S101  no other is exported with one
    model.load_head(folder, load_file(folder / WEIGHTS), exported.features)
    return as_classifier(model, "cpu"), card
