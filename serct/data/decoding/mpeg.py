"""Completeness of files without a container: frames of MPEG audio, AAC or AMR, one after another.

Their decoders look for the next frame wherever one is damaged, and skip what they cannot use.

Source:
    ISO/IEC 11172-3 and 13818-3 (MPEG audio), 13818-7 (ADTS), RFC 4867 (AMR); the headers Xing and
    VBRI are described by https://www.codeproject.com/Articles/8295/MPEG-Audio-Frame-Header.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from serct.data.decoding.tags import MOST_TAGS, tag_size
from serct.data.decoding.view import View
from serct.errors import AudioError

_V1, _V2 = 3, 2  # version 2.5 is 0
_BIT_RATES_KBPS = {
    (_V1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (_V1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (_V1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (_V2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (_V2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES_HZ = {_V1: (44100, 48000, 32000), _V2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_AMR_BYTES = (13, 14, 16, 18, 20, 21, 27, 32, 6, 0, 0, 0, 0, 0, 0, 1)
_AMR_WB_BYTES = (18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 0, 0, 0, 0, 1, 1)
_AMR_FRAME_S = 0.02
_AAC_FRAME_SAMPLES = 1024
_AAC_RATES_HZ = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
# Encoders with a header Xing put up to 4095 samples in front and behind, which decoders drop.
_MOST_PADDING_FRAMES = 8
_MONO = 3
_MOST_BYTES_IN_FRONT = 2**16
# So many headers of one form, each where the last frame ends, are no chance.
_CERTAIN_FRAMES = 4


@dataclass(frozen=True)
class _Frame:
    """A frame of MPEG audio.

    Attributes:
        form: Version, layer, rate in Hz, whether it is mono: equal for a whole stream.
        size: In bytes.
        num_samples: Of a channel.
        info_place: Where layer III may have the header Xing.
    """

    form: tuple[int, int, int, bool]
    size: int
    num_samples: int
    info_place: int


def first_frame(view: View) -> int | None:
    """Return where frames of MPEG audio or AAC begin behind something else, None if none do.

    A recording of a broadcast begins within a frame, and tags may be followed by zeros.
    """
    head = view.at(0, _MOST_BYTES_IN_FRONT)
    place = -1
    while (place := head.find(b"\xff", place + 1)) >= 0:
        if _are_frames(view, place):
            return place
    return None


def _are_frames(view: View, place: int) -> bool:
    """Return whether frames of one form follow each other from a place on, too many for chance."""
    forms = set()
    for _ in range(_CERTAIN_FRAMES):
        magic = view.at(place, 7)
        frame = _frame(magic[:4])
        if is_adts(magic) and _adts_size(magic):
            forms.add((*magic[:3], magic[3] & 0xF0))
            place += _adts_size(magic)
        elif frame and frame.form[1] > 1:  # layer I looks like the code of programs
            forms.add(frame.form)
            place += frame.size
        else:
            return False
    return len(forms) == 1


def is_mpeg_audio(magic: bytes) -> bool:
    """Return whether a frame of MPEG audio begins here."""
    return _frame(magic[:4]) is not None


def split(view: View, longest_s: float) -> Iterator[tuple[View, int]]:
    """Yield each of several files that were joined end to end, with its least number of samples.

    A new one begins at a tag, at a header Xing, and where an earlier one has all that its own
    header announces.

    Raises:
        AudioError: If something between the frames is no tag, a frame is missing or incomplete, or
            it is too long.
    """
    place = num_tags = 0
    seconds = 0.0
    current: _Joined | None = None
    while place < view.size:
        tag = tag_size(view, place)
        if tag:
            num_tags += 1
            if num_tags > MOST_TAGS:
                raise AudioError(f"not readable as audio (more than {MOST_TAGS} tags)")
            if current:
                yield current.part(view, place)
            current = None
            place += tag
            continue
        frame = _frame(view.at(place, 4))
        if frame is None:
            if _is_tail(view, place):
                break
            where = f"after {seconds:.2f} s, at byte {view.start + place}"
            raise AudioError(f"damaged {where}: no frame of MPEG audio")
        if place + frame.size > view.size:
            raise AudioError(f"cut off after {seconds:.2f} s, its last frame is incomplete")
        announced = _announced_frames(view, place, frame)
        if current is None or announced is not None or not current.takes(frame, view, place):
            if current:
                yield current.part(view, place)
            current = _Joined(place, frame, announced)
        if announced is None:
            current.num_frames += 1
            seconds += frame.num_samples / frame.form[2]
            _check_length(seconds, longest_s)
        place += frame.size
    if current:
        yield current.part(view, place)


@dataclass
class _Joined:
    """One of several files that were joined.

    Attributes:
        start: Its first byte.
        first: Its first frame.
        announced: Number of frames by its header, 0 if unknown; None if it has no header.
        num_frames: Those found, without the header.
    """

    start: int
    first: _Frame
    announced: int | None
    num_frames: int = 0

    def takes(self, frame: _Frame, view: View, place: int) -> bool:
        """Return whether a frame goes on with this file; one frame alone is no file of its own."""
        is_full = (
            self.announced
            and self.num_frames >= self.announced
            and _frame(view.at(place + frame.size, 4)) is not None
        )
        return not is_full and frame.form == self.first.form

    def part(self, view: View, stop: int) -> tuple[View, int]:
        """Return its bytes and the least number of its samples."""
        # Some encoders count the header as a frame, some do not.
        if self.announced and self.num_frames < self.announced - 1:
            raise AudioError(
                f"cut off, found {self.num_frames} of {self.announced} announced frames"
            )
        spare = _MOST_PADDING_FRAMES if self.announced is not None else 1
        least = max(0, self.num_frames - spare) * self.first.num_samples
        return view.part(self.start, stop), least


def _frame(header: bytes) -> _Frame | None:
    """Return what the header of a frame says, None if it is none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bit_rate, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 4 or bit_rate in (0, 15) or rate == 3:
        return None
    is_v1, is_mono = version == _V1, header[3] >> 6 == _MONO
    table = (_V1, layer) if is_v1 else (_V2, min(layer, 2))
    bits_per_s = _BIT_RATES_KBPS[table][bit_rate] * 1000
    hertz = _SAMPLE_RATES_HZ[version][rate]
    if layer == 1:
        size, num_samples = (12 * bits_per_s // hertz + padding) * 4, 384
    else:
        num_samples = 576 if layer == 3 and not is_v1 else 1152
        size = num_samples // 8 * bits_per_s // hertz + padding
    side = {(True, False): 32, (True, True): 17, (False, False): 17, (False, True): 9}
    form = (version, layer, hertz, is_mono)
    return _Frame(form, size, num_samples, 4 + side[is_v1, is_mono])


def _announced_frames(view: View, place: int, frame: _Frame) -> int | None:
    """Return the number of frames that a header Xing or VBRI announces, 0 if it names none."""
    if frame.form[1] != 3:
        return None
    content = view.at(place, min(frame.size, 64))
    info = content[frame.info_place : frame.info_place + 12]
    if info[:4] in (b"Xing", b"Info"):
        return int.from_bytes(info[8:12], "big") if info[7:8] and info[7] & 1 else 0
    if content[36:40] == b"VBRI":
        return int.from_bytes(content[50:54], "big")
    return None


def is_adts(magic: bytes) -> bool:
    """Return whether a frame of AAC begins here."""
    return len(magic) >= 7 and magic[0] == 0xFF and magic[1] & 0xF6 == 0xF0


def _adts_size(magic: bytes) -> int:
    """Return the size of a frame with its header, 0 if it is less than that of a header."""
    size = (magic[3] & 3) << 11 | magic[4] << 3 | magic[5] >> 5
    return size if size > len(magic) else 0


def check_adts(view: View, longest_s: float) -> None:
    """Check that a file holds frames of AAC, one after another.

    Raises:
        AudioError: If something between them is no frame, one is incomplete, or it is too long.
    """
    place = 0
    seconds = 0.0
    while place < view.size:
        head = view.at(place, 7)
        size = 0
        if is_adts(head):
            size = _adts_size(head)
            rate = _AAC_RATES_HZ[min(head[2] >> 2 & 15, len(_AAC_RATES_HZ) - 1)]
            seconds += _AAC_FRAME_SAMPLES / rate
            _check_length(seconds, longest_s)
        size = size or tag_size(view, place)
        if not size:
            if _is_tail(view, place):
                return
            raise AudioError(f"damaged, no frame of AAC at byte {view.start + place}")
        place += size
    _check_end(view, place)


def check_amr(view: View, longest_s: float) -> None:
    """Check that a file holds frames of AMR, one after another.

    Raises:
        AudioError: If something between them is no frame, one is incomplete, or it is too long.
    """
    magic = view.at(0, 9)
    sizes, place = (_AMR_WB_BYTES, 9) if magic == b"#!AMR-WB\n" else (_AMR_BYTES, 6)
    num_frames = 0
    while place < view.size:
        size = sizes[view.at(place, 1)[0] >> 3 & 15]
        if not size:
            raise AudioError(f"damaged, no frame of AMR at byte {view.start + place}")
        place += size
        num_frames += 1
        _check_length(num_frames * _AMR_FRAME_S, longest_s)
    _check_end(view, place)


def _is_tail(view: View, place: int) -> bool:
    """Return whether no more frames follow, and no beginning of one."""
    return view.is_padding(place) and view.at(place, 1) != b"\xff"


def _check_length(seconds: float, longest_s: float) -> None:
    # Padding of the encoder may still be dropped; the decoder then checks again.
    if seconds > longest_s + 1:
        raise AudioError(f"longer than the {longest_s:g} s expected at most")


def _check_end(view: View, place: int) -> None:
    if place > view.size:
        raise AudioError("cut off, its last frame is incomplete")
