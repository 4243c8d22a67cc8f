"""The space of a search: from Optuna's proposals to parameters, and back."""

import json
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from serct.config.params import Params
from serct.config.search import Choices, Integers
from serct.config.section import merge
from serct.errors import ParamsError
from serct.experiments.checking import check_params


def suggest(trial: optuna.Trial, key: str, space: Any) -> Any:
    """Return the value that a trial proposes for a key."""
    if isinstance(space, Choices):
        # Optuna stores plain values only, so a list is chosen by its text.
        texts = [json.dumps(choice) for choice in space.choices]
        return json.loads(trial.suggest_categorical(key, texts))
    if isinstance(space, Integers):
        return trial.suggest_int(key, space.low, space.high)
    return trial.suggest_float(key, space.low, space.high, log=space.log)


def with_values(params: Params, values: Mapping[str, Any]) -> Params:
    """Return params with these values in the model's entry, checked as params.yaml is."""
    search = params.search
    overlay = merge({"train": {"epochs": search.epochs}}, as_entry(values))
    return check_params(merge(params.data, {"models": {search.model: overlay}}), "search")


def as_entry(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by dotted keys as part of a model's entry.

    Example:
        >>> as_entry({"train.epochs": 3, "width": 8})
        {'train': {'epochs': 3}, 'width': 8}
    """
    entry: dict[str, Any] = {}
    for key, value in values.items():
        for part in reversed(key.split(".")):
            value = {part: value}
        entry = merge(entry, value)
    return entry


def check_space(params: Params) -> None:
    """Check before any training that each key exists.

    Raises:
        ParamsError: Naming the key.
    """
    search = params.search
    known: dict[str, Any] = {**params.models[search.model], "train": params.data["train"]}
    for key in search.space:
        found: Any = known
        for part in key.split("."):
            if not isinstance(found, dict) or part not in found:
                raise ParamsError(
                    f"search.space: {key} is not a key of models.{search.model}; expected one of "
                    "its own, or train. and a key of train"
                )
            found = found[part]


def value_of(trial: FrozenTrial, key: str, space: Any) -> Any:
    """Return a trial's value of a key, None if it proposed none."""
    value = trial.params.get(key)
    return json.loads(value) if isinstance(space, Choices) and value is not None else value
