"""Saved models: weights without pickle, beside a card with all that is needed to use them."""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import BeforeValidator, SerializeAsAny, ValidationError, ValidationInfo
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from serct.config.params import AudioParams, TrainParams
from serct.config.section import Section
from serct.errors import CheckpointError
from serct.models import restore_model_params
from serct.models.calibration import Calibration
from serct.models.interface import ClassicalParams, Model, ModelParams
from serct.runtime.atomic import write_json

FORMAT_VERSION = 2


class ValidationScores(Section):
    """Scores at the chosen epoch on the validation part."""

    loss: float
    wa: float
    ua: float
    wf1: float


class Digests(Section):
    """Which data a model comes from."""

    manifest: str
    shards: str


def _restore(content: Any, info: ValidationInfo) -> Any:
    if not isinstance(content, dict):
        return content
    return restore_model_params(content, **(info.context or {"where": "card.json"}))


class Card(Section):
    """Everything needed to use a model and to tell where it came from (`card.json`).

    Attributes:
        name: Its entry under ``models`` in params.yaml.
        sample_rate_hz: Rate of the rows it was trained on.
        emotions: Its classes, in the order of its outputs.
        majority_emotion: The most frequent emotion of its training part.
        fingerprint: Digest of parameters, data and seed; equal for a repetition.
    """

    format_version: int
    name: str
    architecture: Annotated[SerializeAsAny[ModelParams], BeforeValidator(_restore)]
    corpus: str
    language: str
    synthetic: bool
    protocol: str
    audio: AudioParams
    sample_rate_hz: int
    emotions: tuple[str, ...]
    majority_emotion: str
    seed: int
    training: TrainParams
    num_parameters: int
    best_epoch: int
    validation: ValidationScores
    calibration: Calibration
    digests: Digests
    versions: dict[str, str]
    fingerprint: str


def save_model(folder: Path, model: Model, card: Card) -> None:
    """Write weights and card into an existing folder."""
    if isinstance(model, torch.nn.Module):
        weights = {name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()}
    else:
        weights = model.save(folder)
    if weights:
        # safetensors writes an array's memory as it lies, strides unseen.
        in_order = {name: np.array(array, order="C") for name, array in weights.items()}
        save_file(in_order, folder / "weights.safetensors")
    write_json(folder / "card.json", json.loads(card.model_dump_json()))


def load_card(folder: Path) -> Card:
    """Read a model's card.

    Raises:
        CheckpointError: If it is missing, of another format version, or inconsistent.
    """
    path = folder / "card.json"
    try:
        text = path.read_text(encoding="utf-8")
        content: Any = json.loads(text)
        found = content.get("format_version")
        written_by = str(content.get("versions", {}).get("serct"))
    except (OSError, json.JSONDecodeError, AttributeError) as error:
        raise CheckpointError(f"{path}: not a readable model card: {error}") from error
    if found != FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: format version {found}, this version of serct reads {FORMAT_VERSION}"
        )
    context = {"where": str(path), "written_by": written_by}
    try:
        return Card.model_validate_json(text, context=context)
    except ValidationError as error:
        raise CheckpointError(f"{path}: {error}") from error


def load_model(folder: Path) -> tuple[Model, Card]:
    """Load a model and its card.

    Raises:
        CheckpointError: If a file is missing or the weights do not fit the card.
    """
    card = load_card(folder)
    weights = folder / "weights.safetensors"
    try:
        tensors: dict[str, np.ndarray[Any, Any]] = load_file(weights) if weights.exists() else {}
        if isinstance(card.architecture, ClassicalParams):
            classical = card.architecture.build(card.training, card.seed, card.sample_rate_hz)
            classical.load(folder, tensors)
            return classical, card
        module = card.architecture.build(
            card.audio.num_samples, card.sample_rate_hz, len(card.emotions)
        )
        module.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{folder}: weights cannot be loaded: {error}") from error
    return module.eval(), card
