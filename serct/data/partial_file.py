"""A download that is not whole yet: its bytes, and which version on the server they are of.

The bytes are beside the destination as NAME.part, the server's validator (its ETag or date) as
NAME.part.validator.
"""

from pathlib import Path


class PartialFile:
    """The unfinished download of one file."""

    def __init__(self, destination: Path) -> None:
        self.path = destination.with_name(f"{destination.name}.part")
        self._destination = destination
        self._validator = destination.with_name(f"{destination.name}.part.validator")

    @property
    def num_bytes(self) -> int:
        """Number of bytes so far, 0 if none."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def validator(self) -> str | None:
        """What If-Range needs to go on with the same version, None if unknown or damaged."""
        if not self._validator.exists():
            return None
        found = self._validator.read_text("ascii", errors="replace")
        # A loss of power may leave zeros, which no header can hold.
        return found if found.isascii() and found.isprintable() else None

    def restart(self, validator: str | None) -> None:
        """Remove everything and write down which version comes next."""
        self.remove()
        # Before the first byte: a validator must never be that of another version's bytes.
        if validator:
            self._validator.write_text(validator, "utf-8")

    def remove(self) -> None:
        """Remove everything, the bytes first: a validator without bytes does no harm."""
        self.path.unlink(missing_ok=True)
        self._validator.unlink(missing_ok=True)

    def finish(self) -> None:
        """Rename the bytes to the destination."""
        self.path.replace(self._destination)
        self._validator.unlink(missing_ok=True)
