"""Export of a trained model to ONNX, in float32 or int8, checked before it is kept.

Shapes: B batch, M samples of a cut row.
"""

import logging
import tempfile
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor

from serct.data.dataset import ShardDataset
from serct.errors import CheckpointError
from serct.evaluation.classifiers import Classifier, as_classifier, without_enrolment
from serct.evaluation.evaluate import check_rows, evaluate
from serct.inference.onnx_files import write_graphs
from serct.inference.onnx_model import (
    CLIP_FILE,
    INPUTS,
    LABELS_FILE,
    MODEL_FILE,
    NOTE_FILE,
    OUTPUTS,
    WEIGHTS_FILE,
    Comparison,
    ExportNote,
    OnnxClassifier,
)
from serct.inference.quantising import calibration_clips, quantise
from serct.models.checkpoint import load_model
from serct.models.classical.estimator import ClassicalModel
from serct.models.classical.feature_classifier import FeatureClassifier
from serct.models.interface import Model
from serct.models.records import CARD, ESTIMATOR, WEIGHTS, Card
from serct.runtime import atomic
from serct.runtime.arrays import Floats
from serct.runtime.digests import file_digests

OPSET = 20
_LARGEST_BATCH = 4096
_LARGEST_WEIGHT = 2**28  # bytes
# Largest difference of a logit that rounding may cause in float32, see `_difference`.
_TOLERANCE = 1e-3
_FILES = (MODEL_FILE, WEIGHTS_FILE, CLIP_FILE, LABELS_FILE, CARD, ESTIMATOR, WEIGHTS)
# Largest difference of a probability, where NumPy computed the original.
_MOST_CHANGED = 1e-4
_EXPORTERS = ("torch", "onnx", "onnxruntime")
_CHECKED = ((1, 1), (2, 1000), (1, 16_000), (3, 40_000))  # clips, samples


def export_onnx(
    source: Path,
    destination: Path,
    *,
    int8: bool = False,
    shards: Path | None = None,
    max_loss_points: float = 0.2,
) -> ExportNote:
    """Write a model as a folder that `serct.Predictor` loads with ONNX Runtime.

    Batch size and length stay open. In int8 weights and inputs of wider matrix products have 8
    bits; see `serct.inference.quantising.quantise` for what the recordings of ``shards`` change.

    Args:
        source: A trained model's folder.
        destination: Folder to make; whole or not at all.
        int8: Whether to quantise.
        shards: A corpus on whose test part both are compared, and on whose training part the
            ranges of int8 are measured.
        max_loss_points: Percentage points of accuracy that may be lost there.

    Raises:
        CheckpointError: If the model cannot be exported, the export predicts differently, int8
            would change nothing, or loses more accuracy than allowed.
    """
    model, card = load_model(source)
    if shards is not None:
        check_rows(card, shards)
    num_samples = card.audio.num_samples
    try:
        module = as_module(model, num_samples)
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from error
    with (
        atomic.replacing_folder(destination) as folder,
        # There and not in /tmp: an error of the disk then names the disk that it is about.
        tempfile.TemporaryDirectory(dir=folder) as scratch,
    ):
        plain = Path(scratch) / MODEL_FILE
        trace(module, num_samples, plain)
        difference = _difference(module, num_samples, OnnxClassifier(plain))
        if not difference <= _TOLERANCE:
            raise CheckpointError(
                f"{source}: logits of the export differ by {difference:.2g}, "
                f"expected at most {_TOLERANCE}"
            )
        kept = plain
        clips: list[Floats] = []
        calibration = None
        if int8:
            kept = Path(scratch) / "int8.onnx"
            if shards is not None:
                clips, calibration = calibration_clips(shards, card.emotions)
            try:
                quantise(plain, kept, clips)
            except CheckpointError as error:
                raise CheckpointError(f"{source}: {error}") from error
        write_graphs(kept, folder, card.emotions, card.calibration.temperature)
        exported = OnnxClassifier(folder / MODEL_FILE)
        difference = _difference(module, num_samples, exported)
        if isinstance(model, ClassicalModel) and not int8:
            _check_probabilities(source, model, exported, num_samples)
        comparison = None
        if shards is not None:
            comparison = _compare(model, exported, card, shards)
            lost = 100 * (comparison.accuracy_before - comparison.accuracy_after)
            if lost > max_loss_points:
                raise CheckpointError(
                    f"{source}: loses {lost:.2f} points of accuracy on the "
                    f"{comparison.num_clips} test clips of {comparison.corpus}, "
                    f"expected at most {max_loss_points}; nothing was written"
                )
        atomic.write_json(folder / CARD, card.as_json())
        if isinstance(model, FeatureClassifier) and model.adapts_to_speaker:
            save_file(model.save_head(folder), folder / WEIGHTS)
        note = ExportNote(
            precision="int8" if int8 else "float32",
            calibration=calibration,
            opset=OPSET,
            difference=difference,
            comparison=comparison,
            versions={name: import_module(name).__version__ for name in _EXPORTERS},
            files=file_digests(folder, _FILES),
        )
        atomic.write_json(folder / NOTE_FILE, note.as_json())
    return note


def as_module(model: Model, num_samples: int) -> torch.nn.Module:
    """Return a model of any kind as a module that can be traced.

    Raises:
        CheckpointError: If there is none, with the reason.
    """
    return model.as_module(num_samples) if isinstance(model, ClassicalModel) else model


def trace(model: torch.nn.Module, num_samples: int, path: Path) -> None:
    """Write a model as ONNX in float32, with open batch size and length."""
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass
    from onnxscript import optimizer
    from torch.export import Dim

    batch = Dim("batch", min=1, max=_LARGEST_BATCH)
    samples = Dim("samples", min=1, max=num_samples)
    example = (torch.zeros(2, num_samples // 2), torch.tensor([num_samples // 2, 1]))
    with torch.inference_mode():
        outputs = OUTPUTS if isinstance(model.eval()(*example), tuple) else OUTPUTS[:1]
    # The exporter warns of its own deprecations, and of packages that it could also translate.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model,
            example,
            dynamo=True,
            opset_version=OPSET,
            input_names=INPUTS,
            output_names=outputs,
            dynamic_shapes={"waveforms": {0: batch, 1: samples}, "num_valid": {0: batch}},
            verbose=False,
        )
    if program is None:
        raise CheckpointError("the exporter returned no model")
    # All that depends on weights alone is computed now, once; the exporter skips large arrays.
    optimizer.optimize_ir(
        program.model, input_size_limit=_LARGEST_WEIGHT, output_size_limit=_LARGEST_WEIGHT
    )
    # A stack trace a node would double a small file, and show the paths of this machine.
    ClearMetadataAndDocStringPass()(program.model)
    program.save(path, external_data=False)


def _check_probabilities(
    source: Path, model: ClassicalModel, exported: OnnxClassifier, num_samples: int
) -> None:
    """Compare with the model itself, whose module of torch computes everything anew.

    Raises:
        CheckpointError: If a probability differs by more than rounding.
    """
    for waveforms, num_valid in _checked(num_samples):
        expected = model.predict_proba(waveforms.numpy())
        found = exported(waveforms.numpy(), num_valid.numpy())
        difference = float(np.abs(found - expected).max())
        if not difference <= _MOST_CHANGED:
            raise CheckpointError(
                f"{source}: probabilities of the export differ by {difference:.2g} from the "
                f"model's, expected at most {_MOST_CHANGED}"
            )


def _checked(num_samples: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Generate noise of several lengths, and silence, with the samples that are valid."""
    generator = torch.Generator().manual_seed(0)
    for num_clips, longest in _CHECKED:
        length = min(longest, num_samples)
        num_valid = torch.randint(1, length + 1, (num_clips,), generator=generator)
        num_valid[0] = length
        noise = 0.1 * torch.randn(num_clips, length, generator=generator)
        noise[-1] *= num_clips == 1  # the last of several is silent
        yield noise * (torch.arange(length) < num_valid[:, None]), num_valid


def _difference(model: torch.nn.Module, num_samples: int, exported: OnnxClassifier) -> float:
    """Compute the largest difference of logits, on noise of several lengths and on silence.

    It is relative to the largest logit where that is above 1: rounding is.
    """
    found_differences = []
    for waveforms, num_valid in _checked(num_samples):
        with torch.inference_mode():
            expected = _logits(model(waveforms, num_valid)).numpy()
        found = exported.logits(waveforms.numpy(), num_valid.numpy())
        scale = max(1.0, float(np.abs(expected).max()))
        found_differences.append(float(np.abs(found - expected).max()) / scale)
    # Not Python's own, which would pass over NaN.
    return float(np.max(found_differences))


def _logits(found: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    return found[0] if isinstance(found, tuple) else found


def _compare(model: Model, exported: Classifier, card: Card, shards: Path) -> Comparison:
    dataset = ShardDataset(shards, ["test"], card.emotions)
    own = without_enrolment(as_classifier(model, torch.device("cpu")))
    before = evaluate(own, dataset, batch_size=16)
    after = evaluate(exported, dataset, batch_size=16)
    return Comparison(
        corpus=dataset.meta.corpus,
        split="test",
        num_clips=len(dataset),
        accuracy_before=before.scores.wa,
        accuracy_after=after.scores.wa,
        largest_difference=float(np.abs(before.probabilities - after.probabilities).max()),
    )
