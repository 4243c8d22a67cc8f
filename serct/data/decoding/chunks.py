"""Completeness of the containers that state the size of their samples: WAV, AIFF, AU, CAF and kin.

libsndfile and FFmpeg read as many samples as there are, whatever the header announces.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from serct.data.decoding.view import FEW_BYTES, View
from serct.errors import AudioError

_MOST_CHUNKS = 10_000
_W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_W64_FORMAT = b"fmt \xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
_W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
# A program that does not know a size announces the largest that it can write, less some headers
# or rounded to pages. No file that is not nearly as long can mean it.
_LARGEST_SIZES = (2**31, 2**32)
_NEAR = 2**16
_IMPOSSIBLE = 2**40
_GIGABYTE = 2**30


@dataclass(frozen=True)
class _Form:
    """How a container writes its chunks.

    Attributes:
        header: Tag and size.
        data: Tag of the samples.
        description: Tag of what names the codec.
        codec: Where the description names it.
        counts_header: Whether the size includes the header.
        alignment: Sizes are filled up to a multiple of it.
    """

    header: struct.Struct
    data: bytes
    description: bytes
    codec: slice
    counts_header: bool = False
    alignment: int = 2

    def aligned(self, end: int, size: int) -> int:
        """Return where the next chunk begins after one of some size that ends at a place."""
        return end + (-end if self.alignment == 8 else size) % self.alignment


class _Chunk(NamedTuple):
    tag: bytes
    size_place: int
    body: int
    size: int
    end: int


_RIFF = _Form(struct.Struct("<4sI"), b"data", b"fmt ", slice(0, 2))
_RIFX = _Form(struct.Struct(">4sI"), b"data", b"fmt ", slice(0, 2))
_AIFF = _Form(struct.Struct(">4sI"), b"SSND", b"COMM", slice(18, 22))
_CAF = _Form(struct.Struct(">4sQ"), b"data", b"desc", slice(8, 12), alignment=1)
_W64 = _Form(
    struct.Struct("<16sQ"), _W64_DATA, _W64_FORMAT, slice(0, 2), counts_header=True, alignment=8
)
# A few missing bytes of these are a few samples; of others they may be a block of thousands.
_UNCOMPRESSED = {
    *(code.to_bytes(2, order) for code in (1, 3, 6, 7, 0xFFFE) for order in ("little", "big")),
    *b"lpcm alaw ulaw ALAW ULAW NONE raw  twos sowt fl32 fl64 FL32 FL64 in24 in32 42ni 23ni".split(
        b" "
    ),
    b"",
}


@dataclass(frozen=True)
class _Announced:
    """What a header says.

    Attributes:
        place: Where the samples begin.
        size: Their number of bytes.
        file_end: Where the file ends by the size in front of all chunks, None where there is none.
        following: Form of the chunks behind the samples, None where none may follow.
        allowance: How many bytes may be missing.
    """

    place: int
    size: int
    file_end: int | None = None
    following: _Form | None = None
    allowance: int = FEW_BYTES


def with_true_size(view: View) -> View:
    """Check that a file holds all samples that its header announces.

    Args:
        view: Begins with one of the headers named above.

    Returns:
        The file, whose header announces what there is.

    Raises:
        AudioError: If it is cut off, or holds samples that its header leaves out.
    """
    magic = view.at(0, 16)
    if magic.startswith((b"RIFF", b"RIFX", b"RF64", b"BW64")):
        return _riff(view, magic)
    if magic.startswith(b"FORM"):
        return _aiff(view)
    if magic == _W64_RIFF:
        (size,) = struct.unpack("<Q", view.at(16, 8).ljust(8, b"\0"))
        chunk, allowance = _find_data(view, 40, _W64)
        announced = _Announced(chunk.body, chunk.size, size, _W64, allowance)
        return _patched(view, announced, chunk, _W64, extra=24)
    if magic.startswith(b"caff"):
        chunk, allowance = _find_data(view, 8, _CAF)
        size = max(0, chunk.size - 4)
        announced = _Announced(chunk.body + 4, size, None, _CAF, allowance)
        return _patched(view, announced, chunk, _CAF, extra=4)
    if magic.startswith((b".snd", b"dns.")):
        order = ">" if magic.startswith(b".snd") else "<"
        place, size = struct.unpack(f"{order}II", magic[4:12].ljust(8, b"\0"))
        true_size = _settle(view, _Announced(place, size))
        return view.part(0, None, {8: struct.pack(f"{order}I", min(true_size, 2**32 - 1))})
    return _sphere(view)


def is_supported(magic: bytes) -> bool:
    """Return whether the first 16 bytes are those of a container that is checked here."""
    return (
        (magic[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and magic[8:12] == b"WAVE")
        or (magic[:4] == b"FORM" and magic[8:12] in (b"AIFF", b"AIFC"))
        or magic == _W64_RIFF
        or magic.startswith((b"caff", b".snd", b"dns.", b"NIST_1A\n"))
    )  # fmt: skip


def is_misread(view: View) -> bool:
    """Return whether libsndfile takes the samples for those of another type.

    In W64 it does not look for the type behind the code WAVE_FORMAT_EXTENSIBLE: floats become
    integers, which is noise.
    """
    if view.at(0, 16) != _W64_RIFF:
        return False
    chunks = (chunk for chunk in _walk(view, 40, _W64) if chunk.tag in (_W64_FORMAT, _W64_DATA))
    first = next(chunks, None)
    return first is not None and first.tag == _W64_FORMAT and view.at(first.body, 2) == b"\xfe\xff"


def _riff(view: View, magic: bytes) -> View:
    form = _RIFX if magic.startswith(b"RIFX") else _RIFF
    _, file_size = form.header.unpack(magic[:8])
    chunk, allowance = _find_data(view, 12, form)
    size, long_size_place = chunk.size, None
    if magic.startswith((b"RF64", b"BW64")):
        ds64 = next(c for c in _walk(view, 12, form) if c.tag in (b"ds64", form.data))
        if ds64.tag == b"ds64" and ds64.size >= 16:
            long_file_size, long_size = struct.unpack("<QQ", view.at(ds64.body, 16))
            if file_size == 2**32 - 1:
                file_size = long_file_size
            if size == 2**32 - 1:
                size, long_size_place = long_size, ds64.body + 8
    announced = _Announced(chunk.body, size, 8 + file_size, form, allowance)
    if long_size_place is None:
        return _patched(view, announced, chunk, form)
    true_size = _settle(view, announced)
    return view.part(0, None, {long_size_place: struct.pack("<Q", true_size)})


def _aiff(view: View) -> View:
    (file_size,) = struct.unpack(">I", view.at(4, 4))
    chunk, allowance = _find_data(view, 12, _AIFF)
    # An offset and a block size stand in front of the samples.
    (offset,) = struct.unpack(">I", view.at(chunk.body, 4).ljust(4, b"\0"))
    extra = 8 + (offset if offset < chunk.size else 0)
    size = max(0, chunk.size - extra)
    announced = _Announced(chunk.body + extra, size, 8 + file_size, _AIFF, allowance)
    return _patched(view, announced, chunk, _AIFF, extra)


def _sphere(view: View) -> View:
    header = view.at(0, 1024)
    fields = dict(re.findall(rb"^(\w+) -\w+ (\S+)", header, re.MULTILINE))
    numbers = [
        fields.get(name, b"") for name in (b"sample_count", b"channel_count", b"sample_n_bytes")
    ]
    length = header[8:16].strip()
    if all(number.isdigit() for number in (*numbers, length)) and b"shorten" not in header:
        count, channels, width = (int(number) for number in numbers)
        _settle(view, _Announced(int(length), count * channels * width))
    return view


def _patched(view: View, announced: _Announced, chunk: _Chunk, form: _Form, extra: int = 0) -> View:
    """Return the file with the true size of its samples; ``extra`` bytes in front count too."""
    true_size = _settle(view, announced)
    if true_size == announced.size:
        return view
    width = form.header.size - len(chunk.tag)
    order = "big" if form.header.format.startswith(">") else "little"
    size = min(true_size + extra, 2 ** (8 * width) - 1)
    return view.part(0, None, {chunk.size_place: size.to_bytes(width, order)})


def _settle(view: View, announced: _Announced) -> int:
    """Return how many bytes of samples there are; raise AudioError if that is not certain."""
    found = max(0, view.size - announced.place)
    size = announced.size
    if size <= found:
        end = announced.place + size
        if view.is_padding(end) and (size or found <= FEW_BYTES):
            return size
        if announced.following and _are_chunks(view, announced, announced.following):
            return size
        if size == 0:
            return found
        raise AudioError(
            f"its header announces {size} bytes of audio, but {found - size} bytes follow that are "
            "no part of it: the header is stale or the file damaged"
        )
    if size - found <= announced.allowance or _is_unknown(size, view.size, announced.file_end):
        return found
    raise AudioError(f"cut off, found {found} of {size} announced bytes of audio")


def _is_unknown(size: int, file_size: int, file_end: int | None) -> bool:
    """Return whether a size beyond the end of the file is a placeholder and not a promise."""
    if _is_placeholder(size):
        return True
    if file_end is None:
        return False
    if abs(file_end - file_size) <= 1:
        # Nothing is missing from the file: the size of the samples alone is wrong.
        return True
    return size >= _GIGABYTE and (file_end < size or _is_placeholder(file_end))


def _is_placeholder(size: int) -> bool:
    is_near = any(abs(size - largest) <= _NEAR for largest in _LARGEST_SIZES)
    return is_near or size >= _IMPOSSIBLE


def _walk(view: View, place: int, form: _Form) -> Iterator[_Chunk]:
    """Yield the chunks from a place on, as far as their headers are whole."""
    length = form.header.size
    for _ in range(_MOST_CHUNKS):
        content = view.at(place, length)
        if len(content) < length:
            return
        tag, size = form.header.unpack(content)
        body = place + length
        if form.counts_header:
            size = max(0, size - length)
        end = form.aligned(body + size, size)
        yield _Chunk(tag, place + len(tag), body, size, end)
        place = end
    raise AudioError(f"not readable as audio (more than {_MOST_CHUNKS} chunks)")


def _find_data(view: View, place: int, form: _Form) -> tuple[_Chunk, int]:
    """Return the chunk of samples, and how many bytes of it may be missing."""
    codec = b""
    for chunk in _walk(view, place, form):
        if chunk.tag == form.description:
            codec = view.at(chunk.body, min(chunk.size, form.codec.stop))[form.codec]
        elif chunk.tag == form.data:
            return chunk, FEW_BYTES if codec in _UNCOMPRESSED else 0
    raise AudioError("not readable as audio (cut off before its samples, or without any)")


def _are_chunks(view: View, announced: _Announced, form: _Form) -> bool:
    """Return whether only whole chunks without samples follow, or one that the file's end cuts."""
    end = announced.place + announced.size
    # Many programs do not fill an odd size up.
    places = {form.aligned(end, announced.size), end}
    return any(_begin_chunks(view, place, announced, form) for place in places)


def _begin_chunks(view: View, place: int, announced: _Announced, form: _Form) -> bool:
    for chunk in _walk(view, place, form):
        if chunk.tag in (b"RIFF", b"RIFX", b"RF64", b"FORM", form.data):
            return False
        if not all(0x20 <= byte < 0x7F for byte in chunk.tag[:4]):
            return view.is_padding(chunk.size_place - len(chunk.tag))
        if chunk.end > view.size + 1:
            return announced.file_end is not None and abs(announced.file_end - chunk.end) <= 1
    return True
