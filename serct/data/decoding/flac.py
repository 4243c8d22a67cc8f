"""Completeness of FLAC: the number of samples that its header announces may be too small.

libsndfile and players stop where the header says. The frames have numbers, and the last one shows
how long the recording is.

Source:
    RFC 9639, Free Lossless Audio Codec, section 9.1.
"""

from collections.abc import Iterator

from serct.data.decoding.view import View

MAGICS = (b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22")
_BLOCK_SIZE_PLACE, _TOTAL_PLACE = 8, 21
# More than a frame of usual size, with tags behind it.
_TAIL_BYTES = 2**17
_HEADER_BYTES, _LEAST_HEADER_BYTES = 16, 6
_MOST_BLOCKS = 1000
_POLYNOMIAL = 0x07


def num_samples(view: View) -> int:
    """Return how many samples of a channel the header announces, 0 if it does not know."""
    return int.from_bytes(view.at(_TOTAL_PLACE, 5), "big") % 2**36


def end_of_last_frame(view: View) -> int:
    """Return how many samples of a channel there are up to the last frame, 0 if none is found."""
    place, is_last = len(b"fLaC"), False
    for _ in range(_MOST_BLOCKS):
        block = view.at(place, 4)
        if is_last or len(block) < 4:
            break
        is_last = block[0] >= 0x80
        place += 4 + int.from_bytes(block[1:], "big")
    first = view.at(place, _HEADER_BYTES)
    block_size = int.from_bytes(view.at(_BLOCK_SIZE_PLACE, 2), "big")
    tail = view.at(max(place, view.size - _TAIL_BYTES), _TAIL_BYTES)
    at = len(tail)
    while (at := tail.rfind(b"\xff", 0, at)) >= 0:
        header = tail[at : at + _HEADER_BYTES]
        if _is_like(header, first) and (end := _end_of_frame(header, block_size)):
            return end
    return 0


def _is_like(header: bytes, first: bytes) -> bool:
    """Return whether a header has the sync code, and rate and width of the first one."""
    return (
        len(header) >= _LEAST_HEADER_BYTES
        and header[:2] == first[:2]
        and header[1] & 0xFE == 0xF8
        and (header[2] ^ first[2]) & 0x0F == 0
        and (header[3] ^ first[3]) & 0x0F == 0
    )


def _end_of_frame(header: bytes, block_size: int) -> int:
    """Return the number of the first sample behind a frame, 0 if its header is none."""
    has_own_sizes = header[1] & 1
    length = max(1, 8 - (header[4] ^ 0xFF).bit_length())  # as of a letter in UTF-8
    number = header[4] & (0x7F if length == 1 else 0x7F >> length)
    for byte in header[5 : 4 + length]:
        number = number << 6 | byte & 0x3F
    size_code, rate_code = header[2] >> 4, header[2] & 15
    place = 4 + length
    if size_code in (6, 7):
        width = size_code - 5
        size = int.from_bytes(header[place : place + width], "big") + 1
        place += width
    elif size_code:
        size = 192 if size_code == 1 else 144 << size_code if size_code < 6 else 1 << size_code
    else:
        return 0
    place += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if rate_code == 15 or place >= len(header) or _checksum(header[:place]) != header[place]:
        return 0
    return size + (number if has_own_sizes else number * block_size)


def _checksum(content: bytes) -> int:
    remainder = 0
    for byte in content:
        remainder ^= byte
        for _ in range(8):
            remainder = (remainder << 1 ^ _POLYNOMIAL * (remainder >> 7)) & 0xFF
    return remainder


def split(view: View) -> Iterator[View]:
    """Yield each of several files that were joined end to end."""
    starts = sorted(place for needle in MAGICS for place in view.find(needle, 0))
    for start, stop in zip(starts, [*starts[1:], view.size], strict=True):
        yield view.part(start, stop)
