"""Models: one file an architecture, found by its name when params.yaml or a card names it."""

import pkgutil
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from serct import __version__
from serct.config.params import Params
from serct.config.record import only_keys_differ, restore_section
from serct.config.section import validate
from serct.errors import CheckpointError, ParamsError
from serct.models.encoders.params import EncoderParams
from serct.models.interface import ClassicalParams, ModelParams, TorchParams

__all__ = ["architectures", "read_encoder_params", "read_model_params", "restore_model_params"]

_NO_MODELS = {"calibration", "checkpoint", "interface", "records"}


def architectures() -> list[str]:
    """Return the names of all architectures: those of the model files, which are not imported."""
    names = {found.name for found in pkgutil.iter_modules(__path__) if not found.ispkg}
    return sorted(names - _NO_MODELS)


def read_model_params(params: Params, name: str) -> ModelParams:
    """Return an entry under ``models`` in params.yaml, checked; only its model is imported.

    Raises:
        ParamsError: If there is none of this name, or naming the key that is wrong.
    """
    if name not in params.models:
        raise ParamsError(
            f"{params.where}: no model {name!r}, expected one of: {', '.join(params.models)}"
        )
    key = f"models.{name}"
    entry = _with_encoder(params, params.models[name])
    return validate(_params_class(entry, f"{params.where}: {key}"), entry, params.where, key)


def read_encoder_params(params: Params, name: str) -> EncoderParams:
    """Return an entry under ``encoders`` in params.yaml, checked.

    Raises:
        ParamsError: If there is none of this name, or naming the key that is wrong.
    """
    known = params.encoders if "encoders" in params.data else {}
    if name not in known:
        raise ParamsError(
            f"{params.where}: no encoder {name!r}, expected one of the entries under encoders: "
            f"{', '.join(known)}"
        )
    entry, key = {"name": name, **known[name]}, f"encoders.{name}"
    found: EncoderParams = validate(EncoderParams, entry, params.where, key)
    return found


def _with_encoder(params: Params, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry under ``models`` with the encoder that it names: an entry, or a folder."""
    name = entry.get("encoder")
    if not isinstance(name, str):
        return dict(entry)
    if "/" in name or Path(name).is_dir():
        return {**entry, "encoder": EncoderParams.in_folder(name)}
    return {**entry, "encoder": read_encoder_params(params, name).model_dump(mode="json")}


def restore_model_params(
    content: Mapping[str, Any], where: str, written_by: str = __version__
) -> ModelParams:
    """Return the params of a saved model, also if its class has gained or lost keys since.

    A key that the class has lost is dropped. One that it has gained gets the field's default; if
    there is none, the first use of the key raises a CheckpointError.

    Args:
        content: ``architecture`` in the model's card.
        where: What errors call the card.
        written_by: The version of serct that wrote the card. From a newer one, every key must fit.

    Raises:
        CheckpointError: If the architecture is unknown, a value is wrong, or the card is newer and
            its keys differ.
    """
    try:
        kind = _params_class(content, f"{where}: architecture")
        return validate(kind, content, where, "architecture")
    except ParamsError as error:
        cause = error.__cause__
        if not isinstance(cause, ValidationError) or not only_keys_differ(cause):
            raise CheckpointError(str(error)) from error
        if _is_newer(written_by):
            raise CheckpointError(
                f"{error}: the model was saved by serct {written_by}, this is {__version__}"
            ) from error
    restored = restore_section(kind, content)
    restored._card = where
    return restored


def _params_class(entry: Mapping[str, Any], where: str) -> type[ModelParams]:
    """Return the class of params in the file of an entry's architecture; imports that file alone.

    Raises:
        ParamsError: If there is no such file, or no such class in it.
    """
    name = entry.get("architecture")
    if name not in architectures():
        raise ParamsError(
            f"{where}.architecture is {name!r}, expected one of: {', '.join(architectures())}"
        )
    module = import_module(f"{__name__}.{name}")
    found = [
        each
        for each in vars(module).values()
        if isinstance(each, type)
        and issubclass(each, TorchParams | ClassicalParams)
        and get_args(each.model_fields["architecture"].annotation) == (name,)
    ]
    if len(found) != 1:
        raise ParamsError(
            f'{module.__file__}: found {len(found)} classes with architecture: Literal["{name}"], '
            "expected one subclass of TorchParams or ClassicalParams"
        )
    return found[0]


def _is_newer(version: str) -> bool:
    numbers = [[int(part) for part in re.findall(r"\d+", v)] for v in (version, __version__)]
    return numbers[0] > numbers[1]
