"""Decode a file while it arrives, and check it as any other once it is complete.

FFmpeg decodes what is there. It would take a file that is cut off for a whole one, read only the
first of several that were joined, and cannot begin with a file whose table of samples stands at
its end. So when the last byte has come, the same checks follow as for a file that was complete
from the start, and whatever FFmpeg left out is decoded as it is there.
"""

import io
import os
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

from serct.data.decoding import tags
from serct.data.decoding.ffmpeg import decode_with_ffmpeg
from serct.data.decoding.libsndfile import Block
from serct.data.decoding.pieces import ffmpeg_format, find_pieces
from serct.data.decoding.source import Source, printable_name
from serct.data.decoding.view import View
from serct.errors import AudioError

# No file is as long.
_ENDLESS = 2**62


class ArrivingFile(io.RawIOBase):
    """A file to which one thread appends while another reads; who reads waits for the bytes.

    It lies in the folder for temporary files, where it has no name and goes with the process.
    """

    def __init__(self) -> None:
        super().__init__()
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  closed by `close`
        self._size = self._place = 0
        self._is_complete = False
        self._failure: OSError | None = None
        self._changed = threading.Condition()

    def append(self, content: bytes | bytearray) -> None:
        """Add bytes at the end; if the disk refuses them, who reads gets the error."""
        view = memoryview(content)
        try:
            while len(view):
                num_written = os.pwrite(self._file.fileno(), view, self._size)
                view = view[num_written:]
                self._set(size=self._size + num_written)
        except OSError as error:
            self._set(failure=error)

    def finish(self) -> None:
        """Mark the file as complete."""
        self._set(is_complete=True)

    def _set(self, **state: Any) -> None:
        with self._changed:
            for name, value in state.items():
                setattr(self, f"_{name}", value)
            self._changed.notify_all()

    @property
    def is_waiting(self) -> bool:
        """Whether all bytes that have arrived were read, and more may come."""
        return self._place >= self._size and not self._is_complete

    def wait_for_end(self) -> int:
        """Wait until the file is complete, and return its size.

        Raises:
            OSError: If the disk refused a part of it.
        """
        self._wait_for(_ENDLESS)
        return self._size

    def _wait_for(self, size: int) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._size >= size or self._is_complete or self._failure is not None
            )
            if self._failure is not None:
                raise self._failure

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a place counted from the start, also to one that has not arrived yet."""
        if whence != os.SEEK_SET:
            raise io.UnsupportedOperation("a file that arrives has no known end")
        self._place = offset
        return offset

    def read(self, size: int = -1) -> bytes:
        """Wait for so many bytes from the current place on; return fewer only at the end."""
        self._wait_for(self._place + size)
        return self._take(size)

    def read_some(self, size: int) -> bytes:
        """Wait for a byte from the current place on; return what is there, up to ``size``."""
        self._wait_for(self._place + 1)
        return self._take(size)

    def _take(self, size: int) -> bytes:
        content = os.pread(self._file.fileno(), size, self._place)
        self._place += len(content)
        return content

    def close(self) -> None:
        """Remove the file."""
        self._file.close()
        super().close()


class _Forward:
    """What FFmpeg sees of the file: it cannot jump to a part that has not arrived."""

    def __init__(self, file: ArrivingFile) -> None:
        self._file = file

    def read(self, size: int, /) -> bytes:
        return self._file.read_some(size)


class ArrivingSource(Source):
    """A recording that arrives, decoded once."""

    def __init__(self, file: ArrivingFile, name: str, longest_s: float) -> None:
        """Create the source; `blocks` waits for the file.

        Args:
            file: The file, none of which was read.
            name: What errors call it.
            longest_s: Longest recording.
        """
        super().__init__(View(file, 0, _ENDLESS), printable_name(name), longest_s, _ENDLESS)
        self._file = file

    def _decoded(self) -> Iterator[Block]:
        found, is_sound = 0, False
        try:
            for block in self._decode_what_is_there():
                found += len(block.frames)
                yield block
            is_sound = found > 0
        except AudioError:
            pass  # the checks of the whole file name what is wrong, or find that nothing is
        size = self._file.wait_for_end()
        if size == 0:
            raise AudioError("the file is empty")
        pieces = find_pieces(View(self._file, 0, size), self._longest_s)
        if is_sound and len(pieces) == 1 and found >= pieces[0].num_frames:
            self._note(pieces[0].note)
            return
        for block in self._decode_all(pieces):
            known = min(found, len(block.frames))
            found -= known
            if known < len(block.frames):
                yield block._replace(frames=block.frames[known:])

    def _decode_what_is_there(self) -> Iterator[Block]:
        start = tags.end_of_tags(self._view)
        magic = self._view.at(start, 16)
        name = ffmpeg_format(magic)
        # FFmpeg takes the samples of RIFX for those of RIFF.
        if name is None or magic.startswith(b"RIFX"):
            return iter(())
        self._file.seek(start)
        return decode_with_ffmpeg(_Forward(self._file), name, lambda: self._file.is_waiting)
