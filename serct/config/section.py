"""What every mapping of params.yaml has in common: strict checking, and merging with a profile."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serct.errors import ParamsError

S = TypeVar("S", bound="Section")
PositiveInt = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Probability = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """One mapping of params.yaml: frozen, without unknown keys, without type guessing."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Lay a profile over params: mappings merge key by key, anything else is replaced.

    A mapping that names another kind (``name``, ``architecture`` or ``reader`` differs) replaces
    the old one whole, since their keys do not belong together.

    Example:
        >>> merge({"train": {"epochs": 20, "batch_size": 16}}, {"train": {"epochs": 2}})
        {'train': {'epochs': 2, 'batch_size': 16}}
    """
    merged = dict(base)
    for key, value in overlay.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and _same_kind(old, value):
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged


def _same_kind(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return all(
        new[key] == old[key]
        for key in ("name", "architecture", "reader")
        if key in new and key in old
    )


def validate(cls: type[S], data: Any, where: str) -> S:
    """Check a mapping against a section.

    Raises:
        ParamsError: Naming every key that is unknown, missing, ill-typed or out of range.
    """
    try:
        # Through JSON: in pydantic's strict mode a list is a tuple there, and nothing else is.
        return cls.model_validate_json(json.dumps(data))
    except ValidationError as error:
        problems = [_explain(item) for item in error.errors()]
        raise ParamsError(f"{where}: " + "; ".join(problems)) from error
    except TypeError as error:
        raise ParamsError(f"{where}: {error}") from error


def _explain(item: Any) -> str:
    parts = [str(part) for part in item["loc"]]
    # pydantic puts the chosen kind into the path of a tagged union; no such key exists in the file.
    if len(parts) > 3 and parts[0] in ("corpora", "models"):
        del parts[2]
    if "schedule" in parts[:-1]:
        parts = [*parts[: parts.index("schedule") + 1], parts[-1]]
    location = ".".join(parts) or "top level"
    if item["type"] == "missing":
        return f"{location} is missing"
    if item["type"] == "extra_forbidden":
        return f"{location} is not a known key"
    return f"{location} is {item['input']!r}: {item['msg']}"
