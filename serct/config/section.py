"""What every mapping of params.yaml has in common: strict checking, and merging with a profile."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar, overload

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from serct.errors import ParamsError

T = TypeVar("T")
PositiveInt = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
# A name that is safe in a path, a stage name and a metric name alike.
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Probability = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """One mapping of params.yaml: frozen, finite, without unknown keys or type guessing."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Lay a profile over params: mappings merge key by key, anything else is replaced.

    A mapping that names another kind (``name``, ``architecture``, ``reader`` or ``condition``
    differs) replaces the old one whole, since their keys do not belong together.

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
        for key in ("name", "architecture", "reader", "condition")
        if key in new and key in old
    )


@overload
def validate(kind: type[T], data: Any, where: str, name: str = "") -> T: ...
@overload
def validate(kind: Any, data: Any, where: str, name: str = "") -> Any: ...
def validate(kind: Any, data: Any, where: str, name: str = "") -> Any:
    """Check a value of params.yaml.

    Args:
        kind: A `Section`, or any other type that pydantic can check.
        data: The value.
        where: What errors call the file.
        name: Where in the file the value stands, e.g. "models.serct".

    Raises:
        ParamsError: Naming every key that is unknown, missing, ill-typed or out of range.
    """
    try:
        # Through JSON: in pydantic's strict mode a list is a tuple there, and nothing else is.
        return TypeAdapter(kind).validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        problems = [_explain(item, data, name) for item in error.errors()]
        raise ParamsError(f"{where}: " + "; ".join(problems)) from error
    except TypeError as error:
        raise ParamsError(f"{where}: {error}") from error


def _explain(item: Any, data: Any, name: str) -> str:
    parts = _path(item["loc"], data, is_missing=item["type"] == "missing")
    location = ".".join([name, *parts] if name else parts) or "top level"
    if item["type"] == "missing":
        return f"{location} is missing"
    if item["type"] == "extra_forbidden":
        return f"{location} is not a known key"
    return f"{location} is {item['input']!r}: {item['msg']}"


def _path(location: Sequence[str | int], data: Any, *, is_missing: bool) -> list[str]:
    """Return the keys that lead to a value.

    pydantic also names the kind that it took a value for, where several are allowed: no such key is
    in the file.
    """
    parts = []
    for part in location[:-1] if is_missing else location:
        is_place = isinstance(data, list) and isinstance(part, int)
        if is_place or (isinstance(data, Mapping) and part in data):
            parts.append(str(part))
            data = data[part]
    return [*parts, str(location[-1])] if is_missing else parts
