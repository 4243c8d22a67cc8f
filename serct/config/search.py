"""What `serct search` varies: the ``search`` section of params.yaml."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Discriminator, Field, JsonValue, Tag, model_validator

from serct.config.section import PositiveInt, Section


class Choices(Section):
    """One of these values."""

    choices: Annotated[tuple[JsonValue, ...], Field(min_length=2)]


class Integers(Section):
    """A whole number from low to high, both included."""

    low: int
    high: int

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low is {self.low}, expected less than high, {self.high}")
        return self


class Numbers(Section):
    """A number from low to high, evenly spread, or over its logarithm."""

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low is {self.low}, expected less than high, {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low}, expected more than 0 for a logarithm")
        return self


def _kind(entry: Any) -> str:
    """Return what the keys of an entry mean, so that errors are about one kind."""
    if isinstance(entry, Section):  # when it is written
        return type(entry).__name__.lower()
    if not isinstance(entry, Mapping) or "choices" in entry:
        return "choices"
    bounds = [entry.get("low"), entry.get("high")]
    is_whole = all(isinstance(bound, int) for bound in bounds) and "log" not in entry
    return "integers" if is_whole else "numbers"


_Varied = Annotated[
    Annotated[Choices, Tag("choices")]
    | Annotated[Integers, Tag("integers")]
    | Annotated[Numbers, Tag("numbers")],
    Discriminator(_kind),
]


class SearchParams(Section):
    """One search: of which model's parameters, on which corpus, how far."""

    model: str
    corpus: str
    epochs: PositiveInt
    first_look: PositiveInt
    reduction: Annotated[int, Field(ge=2)]
    space: Annotated[dict[str, _Varied], Field(min_length=1)]
