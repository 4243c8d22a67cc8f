"""Completeness of Ogg: its pages have numbers and checksums, and most files mark the last one.

Source:
    RFC 3533, The Ogg Encapsulation Format.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from serct.data.decoding.view import View
from serct.errors import AudioError

_HEADER = struct.Struct("<4sBBqIIIB")
_FIRST, _LAST = 2, 4
_FLAGS_PLACE, _CHECKSUM_PLACE = 5, 22
_FULL = 255  # of a segment: its packet goes on in the next one
_ALL_ONES = 0xFFFFFFFF
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class Link(NamedTuple):
    """One of several files of Ogg that were joined end to end, a link of a chain.

    Attributes:
        view: Its bytes, of which the last page of each stream says so, and no other.
        num_streams: How many streams it holds.
        is_ended: Whether the file says so too. Recorders of Android never do.
    """

    view: View
    num_streams: int
    is_ended: bool


class _Page(NamedTuple):
    place: int
    content: bytes

    @property
    def header(self) -> tuple[int, int, int, int, int]:
        """Flags, position in samples, serial number of the stream, number, number of segments."""
        _, _, flags, position, serial, number, _, size = _HEADER.unpack_from(self.content)
        return flags, position, serial, number, size

    def marked(self, *, is_last: bool) -> dict[int, bytes]:
        """Return what stands where, if this is the last page of its stream or if it is not."""
        flags = bytes([self.content[_FLAGS_PLACE] & ~_LAST | _LAST * is_last])
        changed = self.content[:_FLAGS_PLACE] + flags + self.content[_FLAGS_PLACE + 1 :]
        checksum = _checksum(changed).to_bytes(4, "little")
        return {self.place + _FLAGS_PLACE: flags, self.place + _CHECKSUM_PLACE: checksum}


@dataclass
class _Stream:
    """What is known of a stream of a link so far.

    Attributes:
        page: Its last page that holds anything.
        number: That of its last page.
        is_ended: Whether that page says that it is the last.
    """

    page: _Page
    number: int
    is_ended: bool


def split(view: View) -> Iterator[Link]:
    """Yield each link of a chain.

    Raises:
        AudioError: If a page is damaged or missing, or a stream stops within a packet.
    """
    start = place = 0
    streams: dict[int, _Stream] = {}
    patches: dict[int, bytes] = {}
    are_starting = True
    while place < view.size:
        is_ended = bool(streams) and all(stream.is_ended for stream in streams.values())
        if is_ended and view.is_padding(place):
            break
        page = _Page(place, _read_page(view, place))
        flags, _, serial, number, num_segments = page.header
        if flags & _FIRST:
            if not are_starting:
                yield _link(view, start, streams, patches)
                start, streams, patches, are_starting = place, {}, {}, True
            streams[serial] = _Stream(page, number, is_ended=False)
        else:
            are_starting = False
            if serial not in streams or number != streams[serial].number + 1:
                raise AudioError(f"damaged, pages are missing before byte {view.start + place}")
        stream = streams[serial]
        if num_segments:
            # Some programs mark more pages than the last.
            if stream.is_ended:
                patches |= stream.page.marked(is_last=False)
            stream.page = page
        stream.number, stream.is_ended = number, bool(flags & _LAST)
        place += len(page.content)
    yield _link(view, start, streams, patches)


def _link(
    view: View, start: int, streams: Mapping[int, _Stream], patches: Mapping[int, bytes]
) -> Link:
    pages = [stream.page for stream in streams.values()]
    is_ended = all(stream.is_ended for stream in streams.values())
    if not is_ended:
        if any(page.content[_HEADER.size + page.header[-1] - 1] == _FULL for page in pages):
            raise AudioError("cut off, its last page ends within a packet")
        if all(page.header[1] <= 0 for page in pages):
            raise AudioError("cut off, it holds headers and no samples")
    for page in pages:
        if not page.header[0] & _LAST:
            patches = {**patches, **page.marked(is_last=True)}
    # libsndfile takes a file whose last page is empty for a malformed one.
    stop = max(page.place + len(page.content) for page in pages)
    shifted = {place - start: content for place, content in patches.items()}
    return Link(view.part(start, stop, shifted), len(streams), is_ended)


def _read_page(view: View, place: int) -> bytes:
    header = view.at(place, _HEADER.size + 255)
    if header[:4] != b"OggS"[: len(header)]:
        raise AudioError(f"damaged, no page of Ogg at byte {view.start + place}")
    num_segments = header[_HEADER.size - 1] if len(header) >= _HEADER.size else 255
    body = _HEADER.size + num_segments
    size = body + sum(header[_HEADER.size : body])
    page = view.at(place, size)
    if len(header) < body or len(page) < size:
        raise AudioError("cut off within a page")
    if _checksum(page) != int.from_bytes(page[_CHECKSUM_PLACE : _CHECKSUM_PLACE + 4], "little"):
        raise AudioError(f"damaged, wrong checksum of the page at byte {view.start + place}")
    return page


def _checksum(page: bytes) -> int:
    """Compute the CRC of a page: that of zlib with the bits of each byte in the other order."""
    content = page[:_CHECKSUM_PLACE] + bytes(4) + page[_CHECKSUM_PLACE + 4 :]
    reflected = zlib.crc32(content.translate(_REVERSED), _ALL_ONES) ^ _ALL_ONES
    return int(f"{reflected:032b}"[::-1], 2)
