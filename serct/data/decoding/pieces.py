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


def ffmpeg_format(magic: bytes) -> str | None:
    """Return what FFmpeg calls the format of a file by its first 16 bytes, None if it is unknown.

    Tags in front must have been skipped, see `serct.data.decoding.tags`.
    """
    if chunks.is_supported(magic):
        return _CHUNK_FORMATS[magic[:4]]
    for prefix, name in _MAGICS:
        if magic.startswith(prefix):
            return name
    if magic[4:8] in boxes.MP4_TYPES:
        return "mov"
    if mpeg.is_adts(magic):
        return "aac"
    return "mp3" if mpeg.is_mpeg_audio(magic) else None


def _pieces(whole: View, longest_s: float) -> list[Piece] | None:
    name = ffmpeg_format(whole.at(0, 16))
    if name is None:
        return None
    if find := _FINDERS.get(name):
        return list(find(whole, longest_s))
    is_for_libsndfile = not chunks.is_misread(whole)
    return [Piece(chunks.with_true_size(whole), name, is_for_libsndfile)]


def _flac(view: View, _: float) -> Iterator[Piece]:
    for part in flac.split(view):
        total, end = flac.num_samples(part), flac.end_of_last_frame(part)
        # Without a total, libsndfile fails where it looks for the end; with one, it stops there.
        yield Piece(part, "flac", total > 0 and end <= total, max(total, end))


def _ogg(view: View, _: float) -> Iterator[Piece]:
    for link in ogg.split(view):
        note = "" if link.is_ended else "its end is not marked: it is read as far as it goes"
        yield Piece(link.view, "ogg", link.num_streams == 1, note=note)


def _matroska(view: View, _: float) -> Iterator[Piece]:
    for part in boxes.split_matroska(view):
        yield Piece(part, "matroska")


def _asf(view: View, _: float) -> Iterator[Piece]:
    yield Piece(boxes.check_asf(view), "asf")


def _mov(view: View, _: float) -> Iterator[Piece]:
    boxes.check_mp4(view)
    yield Piece(view, "mov")


def _amr(view: View, longest_s: float) -> Iterator[Piece]:
    mpeg.check_amr(view, longest_s)
    yield Piece(view, "amr")


def _aac(view: View, longest_s: float) -> Iterator[Piece]:
    mpeg.check_adts(view, longest_s)
    yield Piece(view, "aac")


def _mp3(view: View, longest_s: float) -> Iterator[Piece]:
    for part, num_frames in mpeg.split(view, longest_s):
        yield Piece(part, "mp3", True, num_frames)


_CHUNK_FORMATS = {
    b"RIFF": "wav", b"RIFX": "wav", b"RF64": "wav", b"BW64": "wav", b"riff": "w64",
    b"FORM": "aiff", b"caff": "caf", b".snd": "au", b"dns.": "au", b"NIST": "nistsphere",
}  # fmt: skip
_MAGICS = (
    (b"fLaC", "flac"), (b"OggS", "ogg"), (b"\x1aE\xdf\xa3", "matroska"), (boxes.ASF_MAGIC, "asf"),
    (b"#!AMR", "amr"),
)  # fmt: skip
_FINDERS: dict[str, Callable[[View, float], Iterator[Piece]]] = {
    "flac": _flac, "ogg": _ogg, "matroska": _matroska, "asf": _asf, "mov": _mov, "amr": _amr,
    "aac": _aac, "mp3": _mp3,
}  # fmt: skip
