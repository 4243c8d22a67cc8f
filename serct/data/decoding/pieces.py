"""The pieces of a file that are decoded one after another, each checked for completeness.

The content decides what a file is, never its name, and FFmpeg is told which format that is: it
never guesses, so that no playlist or script in a file can make it open another.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from serct.data.decoding import boxes, chunks, flac, mpeg, ogg, tags
from serct.data.decoding.view import View
from serct.errors import AudioError


class Piece(NamedTuple):
    """A part of a file that a decoder takes for a whole file.

    Attributes:
        view: Its bytes.
        ffmpeg_format: What FFmpeg calls its format.
        is_for_libsndfile: Whether libsndfile is tried first.
        num_frames: How many samples a channel has at least.
        note: What is unusual in it, a sentence.
    """

    view: View
    ffmpeg_format: str
    is_for_libsndfile: bool = False
    num_frames: int = 0
    note: str = ""


def find_pieces(view: View, longest_s: float) -> list[Piece]:
    """Find out what a file is, and check that it is complete.

    Args:
        view: The file.
        longest_s: Where the search for the end stops.

    Returns:
        One piece, or several where files were joined end to end.

    Raises:
        AudioError: If it is cut off, damaged, or of no format that is read here.
    """
    whole = view.part(tags.end_of_tags(view))
    pieces = _pieces(whole, longest_s)
    if pieces is None and (start := mpeg.first_frame(whole)):
        pieces = _pieces(whole.part(start), longest_s)
        if pieces and whole.at(0, start).strip(b"\0"):
            note = f"its first {start} bytes are no whole frame: they were left out"
            pieces[0] = pieces[0]._replace(note=note)
    if pieces is None:
        raise AudioError("not readable as audio (no known format)")
    return pieces


def _pieces(whole: View, longest_s: float) -> list[Piece] | None:
    magic = whole.at(0, 16)
    if chunks.is_supported(magic):
        name = _CHUNK_FORMATS[magic[:4]]
        is_for_libsndfile = not chunks.is_misread(whole)
        return [Piece(chunks.with_true_size(whole), name, is_for_libsndfile)]
    for prefix, find in _FORMATS:
        if magic.startswith(prefix):
            return list(find(whole))
    if magic.startswith(b"#!AMR"):
        mpeg.check_amr(whole, longest_s)
        return [Piece(whole, "amr")]
    if magic[4:8] in boxes.MP4_TYPES:
        boxes.check_mp4(whole)
        return [Piece(whole, "mov")]
    if mpeg.is_adts(magic):
        mpeg.check_adts(whole, longest_s)
        return [Piece(whole, "aac")]
    if mpeg.is_mpeg_audio(magic):
        parts = mpeg.split(whole, longest_s)
        return [Piece(part, "mp3", True, num_frames) for part, num_frames in parts]
    return None


def _flac(view: View) -> Iterator[Piece]:
    for part in flac.split(view):
        total, end = flac.num_samples(part), flac.end_of_last_frame(part)
        # Without a total, libsndfile fails where it looks for the end; with one, it stops there.
        yield Piece(part, "flac", total > 0 and end <= total, max(total, end))


def _ogg(view: View) -> Iterator[Piece]:
    for link in ogg.split(view):
        note = "" if link.is_ended else "its end is not marked: it is read as far as it goes"
        yield Piece(link.view, "ogg", link.num_streams == 1, note=note)


def _matroska(view: View) -> Iterator[Piece]:
    for part in boxes.split_matroska(view):
        yield Piece(part, "matroska")


def _asf(view: View) -> Iterator[Piece]:
    yield Piece(boxes.check_asf(view), "asf")


_CHUNK_FORMATS = {
    b"RIFF": "wav", b"RIFX": "wav", b"RF64": "wav", b"BW64": "wav", b"riff": "w64",
    b"FORM": "aiff", b"caff": "caf", b".snd": "au", b"dns.": "au", b"NIST": "nistsphere",
}  # fmt: skip
_FORMATS: tuple[tuple[bytes, Callable[[View], Iterator[Piece]]], ...] = (
    (b"fLaC", _flac),
    (b"OggS", _ogg),
    (b"\x1aE\xdf\xa3", _matroska),
    (boxes.ASF_MAGIC, _asf),
)
