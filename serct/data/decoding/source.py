"""An opened recording: which decoder reads it, within which limits, under which name."""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

import soundfile

from serct.data.decoding.libsndfile import Block, decode_with_libsndfile
from serct.data.decoding.pieces import Piece, find_pieces
from serct.data.decoding.view import View
from serct.errors import AudioError, BackendUnavailableError

_LOWEST_RATE_HZ, _HIGHEST_RATE_HZ = 4000, 192_000


class Source:
    """An open file, decoded anew each time its blocks are asked for.

    Attributes:
        label: What errors call it.
        notes: What is unusual in the file, a sentence each.
    """

    def __init__(self, view: View, label: str, longest_s: float, max_samples: float) -> None:
        self.label = label
        self.notes: tuple[str, ...] = ()
        self._view = view
        self._pieces: list[Piece] = []
        self._longest_s = longest_s
        self._max_samples = max_samples

    @contextmanager
    def labelled(self) -> Iterator[None]:
        """Turn whatever goes wrong with the file into an AudioError that begins with its name."""
        try:
            yield
        except AudioError as error:
            raise AudioError(f"{self.label}: {error}") from error
        except (soundfile.LibsndfileError, OSError, ValueError) as error:
            detail = getattr(error, "error_string", str(error))
            raise AudioError(f"{self.label}: not readable as audio ({detail})") from error

    def blocks(self) -> Iterator[Block]:
        """Yield blocks of one rate and number of channels, no more than allowed."""
        found = 0
        form = None
        self.notes = ()
        for block in self._decoded():
            new = _Form(block.sample_rate, block.frames.shape[1])
            if form is None:
                form = new
                if block.num_streams > 1:
                    self._note(f"holds {block.num_streams} audio streams: the first was used")
                check_rate(form.rate)
                longest_s = min(self._longest_s, self._max_samples / form.rate)
            elif form != new:
                raise AudioError(f"changes from {form} to {new} after {found / form.rate:.2f} s")
            found += len(block.frames)
            check_length(found, form.rate, longest_s)
            yield block

    def _note(self, text: str) -> None:
        if text and text not in self.notes:
            self.notes += (text,)

    def _decoded(self) -> Iterator[Block]:
        self._pieces = self._pieces or find_pieces(self._view, self._longest_s)
        return self._decode_all(self._pieces)

    def _decode_all(self, pieces: Sequence[Piece]) -> Iterator[Block]:
        for piece in pieces:
            self._note(piece.note)
        return chain.from_iterable(map(self._decode, pieces))

    def _decode(self, piece: Piece) -> Iterator[Block]:
        found = 0
        for block in self._decode_by_any(piece):
            found += len(block.frames)
            yield block
        if found < piece.num_frames:
            raise AudioError(f"cut off, found {found} of {piece.num_frames} announced samples")

    def _decode_by_any(self, piece: Piece) -> Iterator[Block]:
        """Decode a piece with libsndfile, or with FFmpeg where libsndfile cannot."""
        blocks = None
        if piece.is_for_libsndfile:
            blocks = decode_with_libsndfile(
                piece.view, self._longest_s, self._max_samples, piece.num_frames
            )
        return blocks or _decode_with_ffmpeg(piece)


def _decode_with_ffmpeg(piece: Piece) -> Iterator[Block]:
    # Here, so that what libsndfile reads can be read where PyAV is not installed.
    try:
        from serct.data.decoding.ffmpeg import decode_with_ffmpeg
    except ImportError as error:
        raise BackendUnavailableError(
            f"this format needs the package av: {error}: pip install av"
        ) from error
    piece.view.seek(0)
    return decode_with_ffmpeg(piece.view, piece.ffmpeg_format)


def check_rate(sample_rate: float) -> None:
    """Check that a sample rate in Hz is that of a recording.

    Raises:
        AudioError: If it is beyond 4 to 192 kHz.
    """
    if not _LOWEST_RATE_HZ <= sample_rate <= _HIGHEST_RATE_HZ:
        raise AudioError(f"{sample_rate} Hz, expected {_LOWEST_RATE_HZ} to {_HIGHEST_RATE_HZ}")


def check_length(num_frames: int, sample_rate: int, longest_s: float) -> None:
    """Check that the frames of a recording so far are no more than allowed.

    Raises:
        AudioError: If they are.
    """
    if num_frames > longest_s * sample_rate:
        raise AudioError(f"longer than the {longest_s:g} s expected at most")


class _Form(NamedTuple):
    rate: int
    num_channels: int

    def __str__(self) -> str:
        return f"{self.rate} Hz and {self.num_channels} channel{'s' * (self.num_channels > 1)}"


@contextmanager
def open_source(
    source: Path | BinaryIO, name: str | None, longest_s: float, max_samples: float = math.inf
) -> Iterator[Source]:
    """Open a path or take an open file, which must be able to seek.

    Args:
        source: The file.
        name: What errors call it; None: its path, or "recording" for an open file.
        longest_s: Longest recording.
        max_samples: Most samples of one channel.

    Raises:
        AudioError: If it cannot be opened or is empty.
    """
    if not isinstance(source, Path):
        label = printable_name(name or "recording")
        yield _checked(source, label, longest_s, max_samples)
        return
    label = printable_name(name or str(source))
    try:
        # Completeness needs the end first, and whoever opens a pipe may wait for ever.
        if source.is_fifo():
            raise AudioError(f"{label}: a pipe, expected a file: save the recording first")
        file = source.open("rb")
    except OSError as error:
        raise AudioError(f"{label}: cannot be opened ({error.strerror})") from error
    with file:
        yield _checked(file, label, longest_s, max_samples)


def _checked(file: BinaryIO, label: str, longest_s: float, max_samples: float) -> Source:
    try:
        size = file.seek(0, os.SEEK_END)
    except (OSError, ValueError) as error:
        raise AudioError(f"{label}: cannot seek ({error}), expected an open file") from error
    view = View(file, 0, size)
    if view.size == 0:
        raise AudioError(f"{label}: the file is empty")
    return Source(view, label, longest_s, max_samples)


def printable_name(name: str) -> str:
    """Return a name with what is not UTF-8 in it as escapes."""
    content = os.fsencode(name)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("utf-8", "backslashreplace") + " (the name is not UTF-8)"
