"""Export of a trained model for Hugging Face's transformers, checked before it is kept.

The folder holds `config.json`, `preprocessor_config.json`, `model.safetensors`, the model card as
`README.md`, and the source that the model needs, see `serct.inference.huggingface.bundling`.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from serct.config.section import Section
from serct.errors import BackendUnavailableError, CheckpointError
from serct.evaluation.classifiers import Classifier, as_classifier, without_enrolment
from serct.inference.huggingface.bundling import bundle
from serct.inference.huggingface.card import hub_card
from serct.inference.window_model import WindowModel
from serct.models import restore_model_params
from serct.models.checkpoint import load_card, load_model
from serct.models.encoder_lda import EncoderLda, EncoderLdaParams
from serct.models.interface import TorchParams
from serct.models.records import Card
from serct.runtime import atomic
from serct.runtime.arrays import Probabilities

_TEMPLATE = "serct.inference.huggingface.modeling_serct"
CODE = "modeling_serct"
CONFIG, PREPROCESSOR, WEIGHTS = "config.json", "preprocessor_config.json", "model.safetensors"
# Of a probability; rounding in float32 stays a hundred times below.
_TOLERANCE = 1e-4
# Of the recordings that are compared, relative to a row; the last one is silent.
_CHECKED = (1.0, 0.37, 0.05, 0.5)


@dataclass(frozen=True)
class HuggingFaceExport:
    """What was written.

    Attributes:
        difference: Largest difference of a probability from the model's, on noise.
        files: Size of each file in bytes, by name.
    """

    difference: float
    files: dict[str, int]


def export_huggingface(
    source: Path, destination: Path, *, licences: Mapping[str, str] = MappingProxyType({})
) -> HuggingFaceExport:
    """Write a model as a folder that transformers loads without serct.

    A model that adapts to speakers predicts as for one without recordings.

    Args:
        source: A trained model's folder.
        destination: Folder to make; whole or not at all.
        licences: See `serct.reports.model_card.model_card`.

    Raises:
        CheckpointError: If the architecture needs scikit-learn, the folders lie within each
            other, or the export predicts differently.
        BackendUnavailableError: If the package transformers is not installed.
    """
    _check_transformers()
    own, wanted = source.resolve(), destination.resolve()
    if own == wanted or own in wanted.parents or wanted in own.parents:
        raise CheckpointError(f"{destination}: expected a folder apart from the model's, {source}")
    # Before the model is loaded, which may take scikit-learn.
    kind = restore_model_params(load_card(source).architecture, str(source))
    if not isinstance(kind, TorchParams | EncoderLdaParams):
        raise CheckpointError(
            f"{source}: a model of architecture {kind.architecture} cannot be built without "
            "scikit-learn, which transformers does not bring; `--format onnx` may write it"
        )
    model, card = load_model(source)
    module, params = _torch_form(model, card, source)
    with atomic.replacing_folder(destination) as folder:
        _write_code(params, folder)
        _write_weights(module, folder)
        atomic.write_json(folder / CONFIG, _config(params, card))
        atomic.write_json(folder / PREPROCESSOR, _preprocessor(card))
        atomic.write_text(folder / "README.md", hub_card(card, licences))
        classifier = without_enrolment(as_classifier(model, "cpu"))
        difference = _difference(folder, classifier, card)
        if not difference <= _TOLERANCE:
            raise CheckpointError(
                f"{source}: probabilities of the export differ by {difference:.2g}, "
                f"expected at most {_TOLERANCE}"
            )
        sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    return HuggingFaceExport(difference, sizes)


def _check_transformers() -> None:
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise BackendUnavailableError(
            "an export for Hugging Face needs the package transformers: "
            "pip install 'serct[encoders]'"
        ) from error


def _torch_form(model: Any, card: Card, source: Path) -> tuple[torch.nn.Module, Section]:
    """Return a model as a module of torch, and params that build it without any file."""
    if isinstance(model, EncoderLda):
        return model.as_module(card.audio.num_samples).eval(), model.module_params()
    params = restore_model_params(card.architecture, str(source))
    assert isinstance(params, TorchParams)  # noqa: S101  see `export_huggingface`
    return model, params.standalone(model)


def _write_code(params: Section, folder: Path) -> None:
    kind = type(params)
    files = bundle(_TEMPLATE, {"Architecture": (kind.__module__, kind.__qualname__)})
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def _write_weights(module: torch.nn.Module, folder: Path) -> None:
    """Write all weights and buffers, also those that a model of serct computes when it is built."""
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    content = {f"network.{name}": value.detach().contiguous() for name, value in tensors.items()}
    save_file(content, folder / WEIGHTS, {"format": "pt"})


def _config(params: Section, card: Card) -> dict[str, Any]:
    by_number = {str(number): emotion for number, emotion in enumerate(card.emotions)}
    return {
        "architectures": ["SerctForAudioClassification"],
        "auto_map": {
            "AutoConfig": f"{CODE}.SerctConfig",
            "AutoModelForAudioClassification": f"{CODE}.SerctForAudioClassification",
        },
        "model_type": "serct",
        "id2label": by_number,
        "label2id": {emotion: int(number) for number, emotion in by_number.items()},
        "problem_type": "single_label_classification",
        "sampling_rate": card.sample_rate_hz,
        "num_samples": card.audio.num_samples,
        "calibration_temperature": card.calibration.temperature,
        "network": params.model_dump(mode="json", exclude={"train"}),
        "torch_dtype": "float32",
    }


def _preprocessor(card: Card) -> dict[str, Any]:
    return {
        "auto_map": {"AutoFeatureExtractor": f"{CODE}.SerctFeatureExtractor"},
        "feature_extractor_type": "SerctFeatureExtractor",
        "feature_size": 1,
        "sampling_rate": card.sample_rate_hz,
        "do_normalize": False,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": True,
    }


def _difference(folder: Path, classifier: Classifier, card: Card) -> float:
    """Compute the largest difference of a probability, on noise of several lengths and silence."""
    rng = np.random.default_rng(0)
    lengths = [max(1, round(share * card.audio.num_samples)) for share in _CHECKED]
    clips = [0.1 * rng.standard_normal(length) for length in lengths]
    clips[-1] *= 0
    model = WindowModel(classifier, card)
    expected = model.predict_windows(model.prepare(each, card.sample_rate_hz) for each in clips)
    found = _predict(folder, clips)
    # Not Python's own, which would pass over NaN.
    return float(np.max(np.abs(found - expected)))


def _predict(folder: Path, clips: list[Any]) -> Probabilities:
    """Predict recordings with an export, loaded from its own files."""
    with _imported(folder) as code, _no_progress_bar():
        model = code.SerctForAudioClassification.from_pretrained(folder).eval()
        extractor = code.SerctFeatureExtractor.from_pretrained(folder)
        with torch.inference_mode():
            logits = model(**extractor(clips, return_tensors="pt")).logits
    return np.asarray(logits.double().softmax(dim=1).numpy())


@contextmanager
def _imported(folder: Path) -> Iterator[ModuleType]:
    """Import the code of an export from a copy: Python stores bytecode beside what it imports."""
    package = ModuleType("serct_export_under_test")
    with tempfile.TemporaryDirectory() as copy:
        for path in folder.glob("*.py"):
            shutil.copy(path, copy)
        package.__path__ = [copy]
        sys.modules[package.__name__] = package
        try:
            yield import_module(f"{package.__name__}.{CODE}")
        finally:
            for name in [each for each in sys.modules if each.startswith(package.__name__)]:
                del sys.modules[name]


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Keep transformers from showing how it loads a model, which takes no time."""
    from transformers.utils import logging

    was_enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if was_enabled:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
