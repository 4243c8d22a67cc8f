"""Saved models: weights without pickle, beside a card with all that is needed to use them."""

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from serct.errors import CheckpointError
from serct.models import restore_model_params
from serct.models.classical.estimator import ClassicalModel
from serct.models.encoders.params import UsesEncoder
from serct.models.interface import ClassicalParams, Model
from serct.models.records import CARD, ENCODER, ESTIMATOR, WEIGHTS, Card
from serct.runtime.atomic import write_json
from serct.runtime.digests import check_files, file_digests

_REASON_WIDTH = 400


def save_model(folder: Path, model: Model, card: Card) -> None:
    """Write weights, and a card with their digests, into an existing folder."""
    if isinstance(model, ClassicalModel):
        weights = model.save(folder)
    else:
        weights = {name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()}
        if encoder := getattr(model, "encoder_config", None):
            write_json(folder / ENCODER, encoder)
    if weights:
        # safetensors writes an array's memory as it lies, strides unseen.
        in_order = {name: np.array(array, order="C") for name, array in weights.items()}
        save_file(in_order, folder / WEIGHTS)
    files = file_digests(folder, (WEIGHTS, ESTIMATOR, ENCODER))
    write_json(folder / CARD, card.model_copy(update={"files": files}).as_json())


def load_card(folder: Path) -> Card:
    """Read a model's card, of this or any older version.

    Raises:
        CheckpointError: If it is missing, damaged, of a newer version, or inconsistent.
    """
    return Card.read(folder / CARD, "expected the folder of a model")


def load_model(folder: Path) -> tuple[Model, Card]:
    """Load a model and its card.

    Raises:
        CheckpointError: If a file is missing, is not the one that was written, or the weights do
            not fit the card.
    """
    card = load_card(folder)
    check_files(folder, card.files, CARD, CheckpointError)
    where = str(folder / CARD)
    params = restore_model_params(card.architecture, where, card.versions.get("serct", ""))
    # A model of an older version has its encoder elsewhere.
    if isinstance(params, UsesEncoder) and (folder / ENCODER).exists():
        params = params.with_encoder(folder)
    weights = folder / WEIGHTS
    try:
        tensors: dict[str, np.ndarray[Any, Any]] = load_file(weights) if weights.exists() else {}
        if isinstance(params, ClassicalParams):
            classical = params.build(card.train_params, card.seed, card.sample_rate_hz)
            classical.load(folder, tensors)
            num_classes = len(classical.state().estimator.classes_)
            if num_classes != len(card.emotions):
                raise CheckpointError(
                    f"{folder / ESTIMATOR}: {num_classes} classes, expected "
                    f"{len(card.emotions)} as {CARD} beside it has emotions"
                )
            return classical, card
        if not tensors:
            raise CheckpointError(f"{weights}: no such file, or it is empty")
        # After the classical models, which are loaded without torch.
        from torch import from_numpy

        module = params.build(card.audio.num_samples, card.sample_rate_hz, len(card.emotions))
        module.load_state_dict({name: from_numpy(value) for name, value in tensors.items()})
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        # torch lists every tensor that does not fit, on a line of its own.
        reason = textwrap.shorten(str(error), _REASON_WIDTH)
        raise CheckpointError(f"{folder}: weights cannot be loaded: {reason}") from error
    return module.eval(), card
