"""Models in ONNX, run by ONNX Runtime; importing this module imports neither.

An exported folder holds `model.onnx`, the model's own `card.json`, and `export.json`, which says
how the model was exported and checked.
"""

import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from serct.config.section import Section
from serct.errors import CheckpointError
from serct.runtime.arrays import Floats, Integers, Probabilities

MODEL_FILE = "model.onnx"
NOTE_FILE = "export.json"
INPUTS = ("waveforms", "num_valid")


class Comparison(Section):
    """Scores of the exported model and of the one it came from, on the same clips."""

    corpus: str
    split: str
    num_clips: int
    accuracy_before: float
    accuracy_after: float
    largest_difference: float


class ExportNote(Section):
    """The content of `export.json`.

    Attributes:
        precision: Of the weights in matrix products; all else is float32.
        opset: Version of ONNX' operators.
        sha256: Digest of `model.onnx`.
        difference: Largest difference of a logit from the float32 model, on noise.
        comparison: On a corpus, if one was given.
    """

    precision: Literal["float32", "int8"]
    opset: int
    sha256: str
    difference: float
    comparison: Comparison | None
    versions: dict[str, str]


class OnnxClassifier:
    """An exported model as a `serct.evaluation.evaluate.Classifier`, on the CPU."""

    def __init__(self, model: Path, num_threads: int | None = None) -> None:
        """Load a file.

        Args:
            model: A `model.onnx`.
            num_threads: The most threads; None for one per core.

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
        options.intra_op_num_threads = num_threads or 0
        options.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(model), options, providers=["CPUExecutionProvider"]
            )
        # Its own errors have no common base but this.
        except Exception as error:
            raise CheckpointError(f"{model}: not usable by ONNX Runtime: {error}") from error
        self._inputs = {entry.name for entry in self._session.get_inputs()}

    @classmethod
    def load(cls, folder: Path) -> "OnnxClassifier":
        """Load an exported folder, after checking that its model is the one that was exported.

        Raises:
            CheckpointError: If a file is missing, damaged, or not as exported.
        """
        try:
            note = ExportNote.model_validate_json((folder / NOTE_FILE).read_text("utf-8"))
            found = file_digest(folder / MODEL_FILE)
        except (OSError, ValidationError) as error:
            raise CheckpointError(f"{folder}: not a whole export: {error}") from error
        if found != note.sha256:
            raise CheckpointError(
                f"{folder / MODEL_FILE}: damaged: SHA-256 {found}, expected {note.sha256}"
            )
        return cls(folder / MODEL_FILE)

    def __call__(self, waveforms: Floats, num_valid: Integers) -> Probabilities:
        """See `serct.evaluation.evaluate.Classifier`."""
        logits = self.logits(waveforms, num_valid).astype(np.float64)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: Probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
        return probabilities

    def logits(self, waveforms: Floats, num_valid: Integers) -> Floats:
        """Compute logits. float32 [B, M], int64 [B] -> float32 [B, K]."""
        values = dict(zip(INPUTS, (waveforms, num_valid.astype(np.int64)), strict=True))
        logits: Floats = self._session.run(None, {name: values[name] for name in self._inputs})[0]
        return logits


def file_digest(path: Path) -> str:
    """Compute a file's SHA-256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
