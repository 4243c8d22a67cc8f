"""The files of an encoder: its configuration and its weights, without pickle.

A folder as the Hugging Face hub has it holds `config.json` and `model.safetensors`. A model that
uses an encoder keeps both beside its own weights, as `encoder.json` and as arrays whose names begin
with `encoder.`: no other folder is needed to use it.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file

from serct.errors import ParamsError
from serct.models.records import ENCODER

CONFIG, WEIGHTS = "config.json", "model.safetensors"
# Each kind has one of these arrays; what stands before that name is no part of the encoder's names.
_ANCHORS = ("feature_projection.projection.weight", "conv1.weight")

Array = npt.NDArray[Any]


def read_config(folder: Path) -> dict[str, Any]:
    """Read the configuration of an encoder.

    Args:
        folder: As the hub has it, or a model's.

    Raises:
        ParamsError: If there is none, or it is damaged.
    """
    own = folder / ENCODER
    path = own if own.exists() else folder / CONFIG
    try:
        config = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ParamsError(
            f"encoder {str(folder)!r}: expected a folder with {CONFIG} and {WEIGHTS}, as the "
            "Hugging Face hub has it"
        ) from error
    except ValueError as error:
        raise ParamsError(f"{path}: cannot be read: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise ParamsError(
            f"{path}: model_type is missing, expected the configuration of an encoder"
        )
    return config


def read_weights(folder: Path) -> dict[str, Array]:
    """Read an encoder's weights from a folder as the hub has it, by their names in the encoder.

    Raises:
        ParamsError: If there are none, or they are damaged.
    """
    path = folder / WEIGHTS
    try:
        return encoder_part(load_file(path))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ParamsError(f"encoder {str(folder)!r}: {WEIGHTS} cannot be read: {error}") from error


def encoder_part(weights: Mapping[str, Array]) -> dict[str, Array]:
    """Return the weights of the encoder in a whole model, by their names in the encoder.

    Raises:
        ValueError: If no encoder of a known kind is in it.

    Example:
        >>> whole = {"model.encoder.conv1.weight": np.zeros(1), "model.decoder.norm": np.zeros(1)}
        >>> list(encoder_part(whole))
        ['conv1.weight']
    """
    found = [
        name.removesuffix(anchor)
        for name in weights
        for anchor in _ANCHORS
        if name == anchor or name.endswith(f".{anchor}")
    ]
    if len(found) != 1:
        raise ValueError(f"expected an array {' or '.join(_ANCHORS)}, found {len(found)}")
    [prefix] = found
    return {
        name.removeprefix(prefix): array
        for name, array in weights.items()
        if name.startswith(prefix)
    }


def weights_digest(weights: Mapping[str, Array]) -> str:
    """Compute the SHA-256 of the names, shapes and values of an encoder's weights.

    Values count as float32: so it is the same for a file that holds them in half precision, if
    they are such, and for one that holds a decoder too.

    Args:
        weights: By their names in the encoder.
    """
    digest = hashlib.sha256()
    for name, array in sorted(weights.items()):
        digest.update(f"{name} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
    return digest.hexdigest()
