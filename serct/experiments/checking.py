"""Checks a whole params.yaml at once, before anything uses it."""

from collections.abc import Mapping
from typing import Any

from serct.config.params import Params
from serct.data.corpora import read_corpus_params
from serct.errors import ParamsError
from serct.evaluation.conditions import read_conditions
from serct.models import read_encoder_params, read_model_params
from serct.training.augmentation import read_augment
from serct.training.fitting import check_select_by


def check_params(data: Mapping[str, Any], where: str) -> Params:
    """Check the content of a params.yaml.

    Args:
        data: The content.
        where: Its name in error messages.

    Raises:
        ParamsError: If a key is unknown, missing, of a wrong type or out of range, or names a
            corpus or model without an entry.
    """
    params = Params(data, where)
    if unknown := [name for name in data if name not in Params.sections()]:
        raise ParamsError(
            f"{where}: " + "; ".join(f"{name} is not a known key" for name in unknown)
        )
    for name in Params.sections():
        getattr(params, name)
    for name in params.corpora:
        read_corpus_params(params, name)
    for name in params.encoders:
        read_encoder_params(params, name)
    read_conditions(params.robustness.conditions, where)
    read_augment(params.train.augment or {}, where, "train.augment")
    for name in params.models:
        read_model_params(params, name)
        train = params.train_params(name)
        check_select_by(train.select_by)
        read_augment(train.augment or {}, where, f"models.{name}.train.augment")
    pipeline = params.pipeline
    named = [
        ("corpora", name, params.corpora)
        for key in ("corpora", "train_corpora", "zero_shot_corpora")
        for name in getattr(pipeline, key)
    ]
    named += [("encoders", name, params.encoders) for name in pipeline.encoders]
    named += [("models", name, params.models) for name in pipeline.models]
    for section, name, entries in named:
        if name not in entries:
            raise ParamsError(
                f"{where}: pipeline names {name!r}, expected one of the entries under "
                f"{section}: {', '.join(entries)}"
            )
    for name in (*pipeline.train_corpora, *pipeline.zero_shot_corpora):
        if name not in pipeline.corpora:
            raise ParamsError(f"{where}: {name!r} is used but not listed in pipeline.corpora")
    return params
