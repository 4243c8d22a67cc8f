"""API keys: a file of their hashes and limits, which the service reads again when it changes.

A key is 256 random bits. So one round of SHA-256 is the right hash: slow hashes such as bcrypt make
guessing expensive where people choose passwords from few, while nobody can try 2^256 keys; and a
slow hash would let anybody occupy the processor by sending wrong keys.
"""

import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError

from serct.config.files import read_text
from serct.config.reader import parse_yaml
from serct.config.section import Positive, PositiveInt, Section, validate
from serct.errors import KeysError, ParamsError
from serct.runtime.atomic import replacing_file

_NUM_BYTES = 32
# So that scanners for leaked secrets, and people, recognize a key.
_PREFIX = "serct_"
_HEADER = (
    "# Made by `serct keys`: hashes of API keys, never the keys. Only its owner may read it.\n"
)

KeyName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,39}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ApiKey(Section):
    """What the file holds of one key.

    Attributes:
        name: Name of its holder, in messages, logs and metrics.
        sha256: Hash of the key, in hexadecimal digits.
        expires: Last day on which it is valid, in UTC; None if it does not expire.
        requests_per_minute: As the parameter ``key_requests_per_minute``, for this key.
        streams: As the parameter ``key_streams``, for this key.
        max_body_mb: Largest request body, in MB, if that is less than the service's.
    """

    name: KeyName
    sha256: Digest
    expires: date | None = None
    requests_per_minute: PositiveInt | None = None
    streams: PositiveInt | None = None
    max_body_mb: Positive | None = None

    def is_expired(self, now: datetime) -> bool:
        """Return whether its last day is over."""
        return self.expires is not None and now.astimezone(UTC).date() > self.expires


class KeysFile(Section):
    """The content of the file."""

    format: Literal[1] = 1
    keys: Annotated[tuple[ApiKey, ...], Field(max_length=1000)]


def make_key() -> str:
    """Return a new key."""
    return _PREFIX + secrets.token_urlsafe(_NUM_BYTES)


def hash_key(key: str) -> str:
    """Return what is kept of a key."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


def find_key(keys: Sequence[ApiKey], key: str) -> ApiKey | None:
    """Return the entry of a key, None if there is none.

    Every entry is compared, each in constant time, so the time says neither which one matches nor
    how many digits do. What is compared are hashes: a client cannot choose their digits anyway.
    """
    found, wanted = None, hash_key(key)
    for entry in keys:
        if hmac.compare_digest(entry.sha256, wanted):
            found = entry
    return found


def read_keys(path: Path) -> tuple[ApiKey, ...]:
    """Read a file of keys, YAML or JSON.

    Raises:
        KeysError: If it is missing or wrong; the message repeats nothing but names of fields, since
            somebody may have written a key in the wrong place.
    """
    text = read_text(path, "`serct keys add` makes it", KeysError)
    try:
        data = parse_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise KeysError(f"{path}: {place}not valid YAML") from None
    try:
        keys = validate(KeysFile, data, str(path)).keys
    except ParamsError as error:
        raise KeysError(f"{path}: {_explain(error.__cause__)}") from None
    for field in ("name", "sha256"):
        values = [getattr(key, field) for key in keys]
        twice = sorted({key.name for key in keys if values.count(getattr(key, field)) > 1})
        if twice:
            raise KeysError(f"{path}: {', '.join(twice)}: two entries have the same {field}")
    return keys


def _explain(cause: BaseException | None) -> str:
    if not isinstance(cause, ValidationError):
        return "expected a mapping with the list keys"
    known = {"top level", *KeysFile.model_fields, *ApiKey.model_fields}
    return "; ".join(
        ".".join(
            str(part) if isinstance(part, int) or part in known else "(unknown)"
            for part in item["loc"] or ["top level"]
        )
        + f": {item['msg']}"
        for item in cause.errors(include_input=False, include_url=False)
    )


def write_keys(path: Path, keys: Sequence[ApiKey]) -> None:
    """Write a file of keys, whole or not at all, which others than its owner cannot read.

    A file that is there keeps its rights and, if root writes it, its owner, so that the service's
    own user may go on to read it.
    """
    content = KeysFile(keys=tuple(keys)).model_dump(mode="json", exclude_none=True)
    old = path.stat() if path.exists() else None
    with replacing_file(path) as partial:
        # Files take over the rights of this folder.
        partial.parent.chmod(0o700)
        partial.touch(0o600)
        if old is not None:
            partial.chmod(stat.S_IMODE(old.st_mode))
            if hasattr(os, "geteuid") and os.geteuid() == 0:
                os.chown(partial, old.st_uid, old.st_gid)
        partial.write_text(
            _HEADER + yaml.safe_dump(content, sort_keys=False), encoding="utf-8", newline="\n"
        )


def problem_of_rights(path: Path) -> str | None:
    """Return why others may read or change a file of keys; None if only its owner and group may."""
    mode = path.stat().st_mode
    who = {stat.S_IROTH: "everybody may read it", stat.S_IWOTH: "everybody may write to it",
           stat.S_IWGRP: "its group may write to it"}  # fmt: skip
    problems = [words for bit, words in who.items() if mode & bit]
    if os.name == "nt" or not problems:
        return None
    return f"{path}: {' and '.join(problems)}: chmod 600 {path}"
