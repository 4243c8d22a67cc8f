"""Digests of files: written with a file, and checked before its content decides anything.

Each folder that is read later has one record (`card.json`, `run.json`, `meta.json`,
`export.json`) that lists the other files' digests under `files`, and that holds a digest of its
own content (see `serct.config.record`).
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from serct.errors import SerctError


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Compute the digest of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def file_digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Compute the SHA-256 of those of the named files that a folder holds, by name."""
    return {name: file_digest(folder / name) for name in names if (folder / name).exists()}


def check_files(
    folder: Path, files: Mapping[str, str], record: str, kind: type[SerctError]
) -> None:
    """Check that the files of a folder are those that were written.

    Args:
        folder: Holds the files.
        files: SHA-256 of each, in hex, by its name; none of a folder from before there were any.
        record: The file that lists them, for errors.
        kind: What to raise.

    Raises:
        SerctError: If a file is missing, not readable, or not the one that was written.
    """
    for name, expected in files.items():
        path = folder / name
        try:
            found = file_digest(path)
        except FileNotFoundError as error:
            raise kind(f"{path}: no such file, but {record} beside it lists it") from error
        except OSError as error:
            raise kind(f"{path}: not readable: {error}") from error
        if found != expected:
            raise kind(f"{path}: damaged: SHA-256 {found}, expected {expected} as {record} says")
