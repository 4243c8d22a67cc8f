"""A part of a file that decoders take for a whole file."""

import io
import os
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

# Less than a header with its chunks: sizes are often wrong by one, for whoever computes them.
FEW_BYTES = 128
_BYTES_AT_ONCE = 2**20
_TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN"[:8])


class RandomAccess(Protocol):
    """What a view needs of a file."""

    def seek(self, offset: int, /) -> int:
        """Move to a place, counted from the start."""

    def read(self, size: int, /) -> bytes:
        """Return so many bytes, fewer only at the end."""


class View(io.RawIOBase):
    """Bytes ``start`` to ``stop`` of an open file, some of them replaced.

    A header that announces no usable size is read as if it announced the right one.

    Attributes:
        start: First byte of the file that belongs to the view.
        size: Number of bytes.
    """

    def __init__(
        self, file: RandomAccess, start: int, stop: int, patches: Mapping[int, bytes] | None = None
    ) -> None:
        """Make a view; ``patches`` maps places in the view to the bytes that replace its own."""
        super().__init__()
        self._file = file
        self._patches = patches or {}
        self._place = 0
        self.start = start
        self.size = max(0, stop - start)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the place in the view."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a place in the view."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self.size}[whence]
        self._place = max(0, origin + offset)
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the view reaches."""
        target = memoryview(buffer).cast("B")
        content = self._read_at(self._place, min(len(target), self.size - self._place))
        target[: len(content)] = content
        self._place += len(content)
        return len(content)

    def _read_at(self, place: int, count: int) -> bytes:
        if count <= 0:
            return b""
        self._file.seek(self.start + place)
        content = self._file.read(count)
        for at, patch in self._patches.items():
            first, last = max(at, place), min(at + len(patch), place + len(content))
            if first < last:
                content = (
                    content[: first - place]
                    + patch[first - at : last - at]
                    + content[last - place :]
                )
        return content

    def part(
        self, start: int, stop: int | None = None, patches: Mapping[int, bytes] | None = None
    ) -> "View":
        """Return a view of a part of this one, whose own replacements it does not have."""
        stop = self.size if stop is None else min(stop, self.size)
        return View(self._file, self.start + start, self.start + stop, patches)

    def is_padding(self, place: int) -> bool:
        """Return whether the bytes from a place on are few, zeros, or tags of a music player."""
        if self.size - place <= FEW_BYTES or self.at(place, 8).startswith(_TAGS):
            return True
        while content := self.at(place, _BYTES_AT_ONCE):
            if content.strip(b"\0"):
                return False
            place += len(content)
        return True

    def at(self, place: int, count: int) -> bytes:
        """Return up to ``count`` bytes from a place, without moving."""
        return self._read_at(place, min(count, self.size - place))

    def find(self, needle: bytes, place: int) -> Iterator[int]:
        """Yield every place from ``place`` on where some bytes stand."""
        while place < self.size:
            content = self.at(place, _BYTES_AT_ONCE + len(needle) - 1)
            found = content.find(needle)
            while found >= 0:
                yield place + found
                found = content.find(needle, found + 1)
            place += _BYTES_AT_ONCE
