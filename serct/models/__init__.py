"""All architectures, built by the name that params.yaml gives.

Every torch model takes ``(waveforms [B, N], num_valid [B])`` and gives logits ``[B, K]``;
every classical one is a `ClassicalModel`.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeAlias, get_args

from pydantic import Field
from torch import nn

from serct.config.models import (
    FunctionalsLdaParams,
    MfccSvmParams,
    MlpParams,
    ModelParams,
    SvmParams,
)
from serct.config.params import Params, TrainParams
from serct.config.record import restored
from serct.config.section import validate
from serct.errors import CheckpointError, ParamsError
from serct.models.classical.estimator import ClassicalModel
from serct.models.convolutional import Cnn
from serct.models.mel_conformer import MelConformer
from serct.models.recurrent import CnnBilstm, Lstm
from serct.models.serct import Serct
from serct.models.ssl import Ssl

__all__ = [
    "TORCH_MODELS",
    "Model",
    "build_classical",
    "build_model",
    "is_classical",
    "read_model_params",
    "restore_model_params",
]

Model: TypeAlias = nn.Module | ClassicalModel

# Architecture -> what builds it from (params, num_samples, sample_rate_hz, num_emotions).
TORCH_MODELS: dict[str, Callable[[Any, int, int, int], nn.Module]] = {
    "serct": Serct,
    "cnn": Cnn,
    "cnn_bilstm": CnnBilstm,
    "lstm": Lstm,
    "mel_conformer": MelConformer,
    "ssl": Ssl,
}


def read_model_params(params: Params, name: str) -> ModelParams:
    """Return an entry under ``models`` in params.yaml, checked.

    Raises:
        ParamsError: If there is none of this name, or naming the key that is wrong.
    """
    if name not in params.models:
        raise ParamsError(
            f"{params.where}: no model {name!r}, expected one of: {', '.join(params.models)}"
        )
    kind = Annotated[ModelParams, Field(discriminator="architecture")]
    found: ModelParams = validate(kind, params.models[name], params.where, f"models.{name}")
    return found


def restore_model_params(content: Mapping[str, Any]) -> ModelParams:
    """Return the model's entry as a card holds it, whatever keys its class has gained or lost.

    Raises:
        CheckpointError: If the architecture is not known, or a value is wrong.
    """
    name = content.get("architecture")
    for kind in get_args(ModelParams):
        if name in get_args(kind.model_fields["architecture"].annotation):
            try:
                found: ModelParams = validate(restored(kind), content, "card.json", "architecture")
            except ParamsError as error:
                raise CheckpointError(str(error)) from error
            return found
    raise CheckpointError(f"no architecture {name!r} in this version of serct: train it again")


def is_classical(params: ModelParams) -> bool:
    """Whether the architecture is scikit-learn's, fitted whole and not step by step."""
    return isinstance(params, MlpParams | SvmParams | MfccSvmParams | FunctionalsLdaParams)


def build_model(
    params: ModelParams, num_samples: int, sample_rate_hz: int, num_emotions: int
) -> nn.Module:
    """Build a torch model with random weights, drawn from torch's global generator.

    Args:
        params: One entry of params.yaml's ``models``.
        num_samples: N, the length of a row.
        sample_rate_hz: Of the rows.
        num_emotions: K.

    Raises:
        ParamsError: If the rows are too short for the architecture.
        ValueError: If the architecture is a classical one.
    """
    if params.architecture not in TORCH_MODELS:
        raise ValueError(f"{params.architecture} is no torch model: use build_classical")
    return TORCH_MODELS[params.architecture](params, num_samples, sample_rate_hz, num_emotions)


def build_classical(
    params: ModelParams, train: TrainParams, seed: int, sample_rate_hz: int
) -> ClassicalModel:
    """Build an unfitted scikit-learn model; scikit-learn, 2 s, is imported here.

    Args:
        params: One entry of params.yaml's ``models``.
        train: Epochs, batch size, learning rate and weight decay, as far as the model has them.
        seed: Of weights, shuffling and folds.
        sample_rate_hz: Of the rows.

    Raises:
        ValueError: If the architecture is a torch model.
    """
    if isinstance(params, MlpParams):
        from serct.models.perceptron import Mlp

        return Mlp(params, train, seed)
    if isinstance(params, SvmParams):
        from serct.models.support_vectors import Svm

        return Svm(params, seed)
    if isinstance(params, MfccSvmParams):
        from serct.models.cepstral import MfccSvm

        return MfccSvm(params, seed, sample_rate_hz)
    if isinstance(params, FunctionalsLdaParams):
        from serct.models.functionals import FunctionalsLda

        return FunctionalsLda(params, seed, sample_rate_hz)
    raise ValueError(f"{params.architecture} is no classical model: use build_model")
