"""Completeness of the containers of phones and browsers: MP4, Matroska (WebM) and ASF (WMA).

FFmpeg reads what is there of them, and takes the end of a file for the end of the recording.

Source:
    ISO/IEC 14496-12 (MP4), RFC 9559 (Matroska) and RFC 8794 (its EBML), Advanced Systems Format
    Specification, revision 01.20.03 (ASF).
"""

import re
import struct
from collections.abc import Iterator

from serct.data.decoding.view import View
from serct.errors import AudioError

MP4_TYPES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"pnot")
# The sample description names the codec behind its own size, version, number of entries, and the
# size of the first one. Anywhere else, as in a title, the same letters mean nothing.
_PROTECTED = re.compile(rb"stsd.{12}(?:enca|drms)", re.DOTALL)
_MOST_ELEMENTS = 1_000_000
_MOST_HEADER_BYTES = 2**24

_EBML, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675

ASF_MAGIC = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_OBJECT_BYTES = 24


def check_mp4(view: View) -> None:
    """Check that every box of an MP4 or MOV file is whole and that it names its samples.

    Raises:
        AudioError: If it is cut off, was never finished, is protected, or another one follows.
    """
    types = []
    for kind, place, size in _mp4_boxes(view):
        if place + size > view.size:
            found = view.size - place
            raise AudioError(
                f"cut off, found {found} of {size} announced bytes of {kind.decode('latin-1')!r}"
            )
        types.append(kind)
        if kind == b"moov":
            header = view.at(place, min(size, _MOST_HEADER_BYTES))
            if _PROTECTED.search(header):
                raise AudioError("protected against copying (DRM), expected a plain recording")
    if types.count(b"moov") > 1:
        raise AudioError("several recordings joined end to end, of which only the first is read")
    if b"moov" not in types:
        raise AudioError("cut off, its table of samples ('moov') is missing")
    # Fragments: a table and then its samples.
    relevant = [kind for kind in types if kind in (b"moof", b"mdat")]
    if relevant and relevant[-1] == b"moof":
        raise AudioError("cut off, the samples of its last fragment are missing")


def _mp4_boxes(view: View) -> Iterator[tuple[bytes, int, int]]:
    place = 0
    for _ in range(_MOST_ELEMENTS):
        if place >= view.size:
            return
        head = view.at(place, 16)
        if len(head) < 8:
            raise AudioError("cut off within the header of a box")
        size, kind = struct.unpack(">I4s", head[:8])
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        elif size == 0:
            size = view.size - place
        if size < 8 or not all(0x20 <= byte < 0x7F or byte == 0xA9 for byte in kind):
            if view.is_padding(place):
                return
            raise AudioError(f"damaged, no box at byte {view.start + place}")
        yield kind, place, size
        place += size
    raise AudioError(f"not readable as audio (more than {_MOST_ELEMENTS} boxes)")


def split_matroska(view: View) -> Iterator[View]:
    """Yield each of several Matroska files that were joined, if all their elements are whole.

    A browser writes while it records, so that its sizes are unknown; then a recording is complete
    where a block ends.

    Raises:
        AudioError: If an element is cut off or damaged.
    """
    start = place = cluster_end = 0
    has_cluster = False
    for _ in range(_MOST_ELEMENTS):
        if place >= view.size:
            break
        element, body, size = _ebml_element(view, place)
        if element is None:
            if has_cluster and not view.at(place, 8).strip(b"\0") and view.is_padding(place):
                break
            raise AudioError(f"damaged, no element of Matroska at byte {view.start + place}")
        if element == _EBML and place > start:
            yield view.part(start, place)
            start, has_cluster = place, False
        has_cluster |= element == _CLUSTER
        if size is None and element not in (_SEGMENT, _CLUSTER):
            raise AudioError(f"damaged, an element of unknown size at byte {view.start + place}")
        if size is not None and body + size > view.size:
            raise AudioError(f"cut off, found {view.size - body} of {size} announced bytes")
        # What a segment or a cluster holds is walked through, to find where it is cut or damaged.
        is_nested = element in (_SEGMENT, _CLUSTER)
        place = body if is_nested else body + (size or 0)
        if place > cluster_end > body:
            raise AudioError(f"damaged, an element reaches beyond byte {view.start + cluster_end}")
        if element == _CLUSTER:
            cluster_end = body + (size or 0)
    else:
        raise AudioError(f"not readable as audio (more than {_MOST_ELEMENTS} elements)")
    if not has_cluster:
        raise AudioError("cut off, holds no samples")
    yield view.part(start, place)


def _ebml_element(view: View, place: int) -> tuple[int | None, int, int | None]:
    """Return ID, place of the content and size (None: unknown); ID None if there is none."""
    head = view.at(place, 12)
    id_length = _length(head[:1])
    size_length = _length(head[id_length : id_length + 1])
    if (len(head) > id_length and not size_length) or not 1 <= id_length <= 4:
        return None, place, 0
    if len(head) < id_length + max(size_length, 1):
        raise AudioError("cut off within the header of an element")
    element = int.from_bytes(head[:id_length], "big")
    size = int.from_bytes(head[id_length : id_length + size_length], "big")
    size &= 2 ** (7 * size_length) - 1
    is_unknown = size == 2 ** (7 * size_length) - 1
    return element, place + id_length + size_length, None if is_unknown else size


def _length(first: bytes) -> int:
    """Return how many bytes a number of EBML takes by its first byte, 0 if it is none."""
    return 9 - first[0].bit_length() if first and first[0] else 0


def check_asf(view: View) -> View:
    """Check that an ASF file is as long as its header says, and return it without padding.

    Raises:
        AudioError: If it is cut off, or longer.
    """
    (header_size,) = struct.unpack("<Q", view.at(16, 8).ljust(8, b"\0"))
    header = view.at(0, min(header_size, _MOST_HEADER_BYTES))
    place = header.find(_ASF_PROPERTIES)
    if place < 0 or len(header) < place + 104 or header_size > view.size:
        raise AudioError("cut off within its header")
    (size,) = struct.unpack_from("<Q", header, place + 40)
    flags, packet_size = struct.unpack_from("<II", header, place + 88)
    data = view.at(header_size, _ASF_OBJECT_BYTES)
    if len(data) < _ASF_OBJECT_BYTES or not data.startswith(_ASF_DATA):
        raise AudioError("cut off or damaged, its samples are missing")
    if not flags & 1:
        (data_size,) = struct.unpack("<Q", data[16:])
        end = max(size, header_size + data_size)
        if view.size < end:
            raise AudioError(f"cut off, found {view.size} of {end} announced bytes")
        if not view.is_padding(end):
            raise AudioError(f"{view.size - end} bytes follow its announced end")
        # FFmpeg estimates the duration from the length.
        return view.part(0, end)
    if packet_size and (view.size - header_size - 50) % packet_size:
        raise AudioError("cut off within its last packet")
    return view
