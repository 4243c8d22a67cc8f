"""Models in ONNX, run by ONNX Runtime; importing this module imports neither.

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


def _note_2(note: dict[str, Any]) -> dict[str, Any]:
    """Return a note of version 1, which had the model's digest alone."""
    return {"files": {MODEL_FILE: note.pop("sha256", "")}, **note}


class ExportNote(Record):
    """The content of `export.json`.

    Attributes:
        precision: Of the weights in matrix products; all else is float32.
        opset: Version of ONNX' operators.
        difference: Largest difference of a logit from the float32 model, on noise; relative to the
            largest logit where that is above 1.
        comparison: On a corpus, if one was given.
        files: SHA-256 of the graphs, their weights and labels, `card.json` and an estimator's
            files, by name.
    """

    FORMAT: ClassVar[int] = 2
    SEALED_FROM: ClassVar[int] = 2
    MIGRATIONS: ClassVar[Mapping[int, Migration]] = {1: _note_2}
    ERROR: ClassVar[type[SerctError]] = CheckpointError

    precision: Literal["float32", "int8"]
    opset: int
    difference: float
    comparison: Comparison | None
    versions: dict[str, str]
    files: dict[str, str]


class OnnxClassifier:
    """An exported model as a `serct.evaluation.evaluate.Classifier`, on the CPU."""

    def __init__(self, model: Path, num_threads: int | None = None) -> None:
        """Load a file.

        Args:
            model: A `model.onnx`.
            num_threads: The most threads; None for the share of one computation.

        Raises:
            CheckpointError: If ONNX Runtime is not installed or cannot read the file.
        """
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise CheckpointError(
                f"{model}: needs ONNX Runtime, which is not installed: pip install onnxruntime"
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads or threads_each()
        options.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(model), options, providers=["CPUExecutionProvider"]
            )
        # Its own errors have no common base but this.
        except Exception as error:
            raise CheckpointError(f"{model}: not usable by ONNX Runtime: {error}") from error
        entries = self._session.get_inputs() + self._session.get_overridable_initializers()
        self._inputs = {entry.name for entry in entries}

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
        values = dict(zip(INPUTS, (waveforms, num_valid.astype(np.int64)), strict=True))
        [found] = self._session.run([output], {name: values[name] for name in self._inputs})
        return np.asarray(found)


def load_exported(folder: Path) -> tuple[Classifier, Card]:
    """Load an exported folder and its card, once its files are checked to be those exported.

    Raises:
        CheckpointError: If a file is missing, damaged, or not as exported.
    """
    note = ExportNote.read(folder / NOTE_FILE, "not a whole export: `serct export` writes it")
    check_files(folder, note.files, NOTE_FILE, CheckpointError)
    exported, card = OnnxClassifier(folder / MODEL_FILE), load_card(folder)
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
