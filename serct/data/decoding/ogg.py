"""Completeness of Ogg: its pages have numbers and checksums, and the last one says so.

Source:
    RFC 3533, The Ogg Encapsulation Format.
"""

import struct
import zlib
from collections.abc import Iterator

from serct.data.decoding.view import View
from serct.errors import AudioError

_HEADER = struct.Struct("<4sBBqIIIB")
_CONTINUED, _FIRST, _LAST = 1, 2, 4
_CHECKSUM_PLACE = 22
_ALL_ONES = 0xFFFFFFFF
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def split(view: View) -> Iterator[tuple[View, int]]:
    """Yield each chain link with its number of streams: files of Ogg may be joined end to end.

    Raises:
        AudioError: If a page is damaged or missing, or a stream does not end.
    """
    start = place = 0
    numbers: dict[int, int] = {}  # of the last page, by stream that has not ended
    num_streams = 0
    are_starting = True
    while place < view.size:
        if not numbers and num_streams:
            if view.is_padding(place):
                break
            yield view.part(start, place), num_streams
            start, num_streams, are_starting = place, 0, True
        page = _read_page(view, place)
        _, _, flags, _, serial, number, _, _ = _HEADER.unpack_from(page)
        if flags & _FIRST:
            if not are_starting:
                raise AudioError("cut off, a new stream begins before the last one ends")
            num_streams += 1
        else:
            are_starting = False
            if serial not in numbers or number != numbers[serial] + 1:
                raise AudioError(f"damaged, pages are missing before byte {view.start + place}")
        numbers[serial] = number
        if flags & _LAST:
            del numbers[serial]
        place += len(page)
    if numbers:
        raise AudioError("cut off, its last page does not end the stream")
    yield view.part(start, place), num_streams


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
