"""Files that outlive the code that wrote them: one typed schema each, versions and migrations.

A file of an older format is brought to today's by its migrations, one version at a time. A file
of a newer format is refused with the version of serct that reads it. Settings that only describe
how something was made are kept as they were written and never decide whether a file is usable.

Each holds the SHA-256 of its own content, so that one changed digit is an error and never another
result.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    PlainValidator,
    SerializeAsAny,
    TypeAdapter,
    ValidationError,
)

from serct import __version__
from serct.config.files import more, read_text
from serct.config.section import Section
from serct.errors import RecordError, SerctError

S = TypeVar("S", bound=Section)
Migration = Callable[[dict[str, Any]], dict[str, Any]]
_SEAL = "content_sha256"


class RecordPart(BaseModel):
    """A mapping inside a record: frozen, without unknown keys, without type guessing.

    JSON as Python reads it may hold NaN and Infinity; a record never does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Record(RecordPart):
    """One JSON mapping on disk that outlives the code that wrote it.

    Attributes:
        FORMAT: The version that this code writes.
        MIGRATIONS: By version, what turns its content into that of the next version. A file
            without `format_version` has version 1.
        ERROR: What is raised for a file that is not one of these.
        SAYS_WRITER: Whether the file says which version of serct wrote it, as `written_by`.
        SEALED_FROM: The first version that holds the digest of its content.
    """

    FORMAT: ClassVar[int]
    SEALED_FROM: ClassVar[int] = 1
    MIGRATIONS: ClassVar[Mapping[int, Migration]] = {}
    ERROR: ClassVar[type[SerctError]] = RecordError
    SAYS_WRITER: ClassVar[bool] = True

    @classmethod
    def read(cls, path: Path, hint: str = "", error: type[SerctError] | None = None) -> Self:
        """Read a file of any version up to today's.

        Args:
            path: The file.
            hint: What errors add, e.g. which stage writes the file.
            error: What to raise instead of `ERROR`.

        Raises:
            SerctError: If the file is missing, is no JSON mapping, is not as it was written, is of
                a newer format or lacks a key.
        """
        kind = error or cls.ERROR
        text = read_text(path, hint, kind)
        try:
            return cls.parse(text, str(path))
        except RecordError as problem:
            raise kind(f"{problem}{more(hint)}") from problem

    @classmethod
    def parse(cls, text: str, where: str) -> Self:
        """Read the content of a file; see `read`.

        Raises:
            RecordError: If it is not one of these.
        """
        try:
            content = json.loads(text)
        except ValueError as error:
            raise RecordError(f"{where}: not readable as JSON: {error}") from error
        if not isinstance(content, dict):
            raise RecordError(f"{where}: found {type(content).__name__}, expected a mapping")
        version = content.get("format_version", 1)
        if not isinstance(version, int) or not version >= 1:
            raise RecordError(f"{where}: format version {version!r}, expected a whole number")
        if _SEAL in content or cls.SEALED_FROM <= version <= cls.FORMAT:
            _check_seal(content, where)
        if version > cls.FORMAT:
            by = _written_by(content)
            needed = "a newer serct" if by in (None, __version__) else f"serct {by}"
            raise RecordError(
                f"{where}: format version {version}, but serct {__version__} reads up to "
                f"{cls.FORMAT}: install {needed}"
            )
        for step in range(version, cls.FORMAT):
            content = cls.MIGRATIONS.get(step, dict)(content)
        about = ("format_version", "written_by", _SEAL)
        try:
            return cls.model_validate_json(
                json.dumps({key: value for key, value in content.items() if key not in about})
            )
        except ValidationError as error:
            raise RecordError(f"{where}: {_problems(error, _written_by(content))}") from error

    def as_json(self) -> dict[str, Any]:
        """Return the content as a file of today's format holds it."""
        writer = {"written_by": __version__} if self.SAYS_WRITER else {}
        content: dict[str, Any] = json.loads(self.model_dump_json())
        return sealed({"format_version": self.FORMAT, **writer, **content})


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a record with its digest, in place of any that it has.

    Example:
        >>> sealed({"a": 1})["content_sha256"][:12]
        '015abd7f5cc5'
    """
    rest = {key: value for key, value in content.items() if key != _SEAL}
    return {**rest, _SEAL: _content_digest(rest)}


def _content_digest(content: Mapping[str, Any]) -> str:
    # Spaces and the order of keys carry no meaning, so a file may be reformatted.
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _check_seal(content: Mapping[str, Any], where: str) -> None:
    if _SEAL not in content:
        raise RecordError(f"{where}: damaged or incomplete: {_SEAL} is missing")
    found = sealed(content)[_SEAL]
    if found != content[_SEAL]:
        raise RecordError(
            f"{where}: damaged or edited: SHA-256 of its content {found}, expected "
            f"{content[_SEAL]} as its {_SEAL} says"
        )


def restored(kind: type[S]) -> Any:
    """Return an annotation for settings that a record keeps: they stay usable when `kind` changes.

    A key that `kind` lost meanwhile is dropped. A key that it gained takes the field's default or,
    where there is none, stays unset: only code that needs the key fails, naming it.
    """

    def restore(content: Any) -> S:
        if isinstance(content, kind):
            return content
        try:
            # Through JSON: in pydantic's strict mode a list is a tuple there.
            return kind.model_validate_json(json.dumps(content))
        except ValidationError as error:
            if not isinstance(content, dict) or not only_keys_differ(error):
                raise ValueError(_problems(error, None)) from error
        return restore_section(kind, content)

    checked: Any = Annotated[kind, PlainValidator(restore)]
    return SerializeAsAny[checked]  # type: ignore[misc]


def only_keys_differ(error: ValidationError) -> bool:
    """Check whether a mapping failed for keys alone that it lacks or has too many."""
    return all(
        item["type"] in {"missing", "extra_forbidden"} and len(item["loc"]) == 1
        for item in error.errors()
    )


def restore_section(kind: type[S], content: Mapping[str, Any], skip_invalid: bool = False) -> S:
    """Return a section made of those keys of a mapping that ``kind`` still has.

    Args:
        kind: The section.
        content: As it was written.
        skip_invalid: Whether a value that is missing or no longer valid becomes None.

    Raises:
        ValidationError: If a value is ill-typed or out of range.
    """
    values: dict[str, Any] = dict.fromkeys(kind.model_fields) if skip_invalid else {}
    for name, field in kind.model_fields.items():
        if name not in content:
            continue
        checked: Any = Annotated[field.annotation, field]
        adapter: TypeAdapter[Any] = TypeAdapter(checked)
        try:
            values[name] = adapter.validate_json(json.dumps(content[name]), strict=True)
        except ValidationError:
            if not skip_invalid:
                raise
    return cast(S, kind.model_construct(**values))


def _written_by(content: Mapping[str, Any]) -> str | None:
    versions = content.get("versions")
    by_version = versions.get("serct") if isinstance(versions, dict) else None
    found = content.get("written_by") or by_version
    return str(found) if found else None


def _problems(error: ValidationError, written_by: str | None) -> str:
    texts = []
    for item in error.errors():
        key = ".".join(map(str, item["loc"])) or "top level"
        if item["type"] == "missing":
            texts.append(f"{key} is missing")
        elif item["type"] == "extra_forbidden":
            by = f", written by serct {written_by}; this is serct {__version__}"
            texts.append(f"{key} is not a known key{by if written_by else ''}")
        else:
            texts.append(f"{key}: {item['msg']}")
    return "; ".join(texts)
