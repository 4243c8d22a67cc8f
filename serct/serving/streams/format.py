"""Tell raw 16-bit samples from files and from floats, at the start of a stream."""

import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

# Four bytes are two samples: noise begins with one of these once in 10**8 streams.
_MAGIC_NUMBERS = {
    rb"OggS\x00": "Ogg",
    rb"RIFF....WAVE|RF64|RIFX": "WAV",
    rb"riff\x2e\x91\xcf\x11": "W64",
    rb"\x1a\x45\xdf\xa3": "WebM or Matroska",
    rb"fLaC": "FLAC",
    rb"ID3[\x02-\x04].[\x00-\xff][\x00-\x7f]{4}": "MP3",
    rb"\x00\x00..(ftyp|moov|wide)": "MP4 or M4A",
    rb"FORM....AIF[FC]": "AIFF",
    rb"#!AMR": "AMR",
    rb"caff\x00": "CAF",
    rb"\.snd\x00": "AU",
    rb"NIST_1A": "SPHERE",
    rb"wvpk": "WavPack",
    rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "WMA",
}
# Enough for three frames of most MPEG audio, and half a second at 8 kHz.
_HEAD_BYTES = 8000
_NUM_FRAMES = 3
# Fewer values than this may look like anything.
_MIN_FLOATS = 200
_MIN_PLAUSIBLE, _MIN_EACH_SIGN, _MAX_SHIFTED = 0.98, 0.05, 0.5

# In kbit/s by MPEG version (1 or 2) and layer. Source: ISO/IEC 11172-3, 2.4.2.3, and 13818-3.
_KBITS = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


class StreamFormat:
    """Looks at a stream of bytes for what no raw samples look like.

    Floats are told from mono 16-bit samples alone.

    Attributes:
        found: The format that was found instead; None while the stream may be raw samples.
    """

    def __init__(self, *, are_mono_16_bit: bool = True) -> None:
        self.found: str | None = None
        self._may_be_floats = are_mono_16_bit
        self._head = b""
        self._num_bytes = 0
        self._rest = b""

    def add(self, message: bytes) -> None:
        """Look at the next bytes."""
        if self._num_bytes < _HEAD_BYTES:
            self._head += message[: _HEAD_BYTES - self._num_bytes]
            self.found = self.found or find_container(self._head)
        self._num_bytes += len(message)
        if not self._may_be_floats:
            return
        # Whole floats of either size, counted from the start of the stream.
        content = self._rest + message
        whole = len(content) // 8 * 8
        if whole >= 8 * _MIN_FLOATS:
            self.found = self.found or find_floats(content[:whole])
            self._rest = content[whole:]
        else:
            self._rest = content


def find_container(head: bytes) -> str | None:
    """Return the format of a file that begins with ``head``; None if it is not known."""
    for pattern, name in _MAGIC_NUMBERS.items():
        if re.match(pattern, head, re.DOTALL):
            return name
    for name, lengths in (("MP3", _mpeg_lengths(head)), ("AAC", _adts_lengths(head))):
        if sum(1 for _ in lengths) >= _NUM_FRAMES:
            return name
    return None


def _mpeg_lengths(head: bytes) -> Iterator[int]:
    """Yield the length of each frame of MPEG audio from the start of ``head``."""
    position = 0
    while position + 4 <= len(head):
        sync, second, third = head[position : position + 3]
        version = {3: 1, 2: 2, 0: 2}.get(second >> 3 & 3)
        layer = 4 - (second >> 1 & 3)
        bitrate, rate, padding = third >> 4, third >> 2 & 3, third >> 1 & 1
        if sync != 0xFF or second < 0xE0 or not version or layer == 4:
            return
        if not 0 < bitrate < 15 or rate == 3:
            return
        kbits = _KBITS[version, layer][bitrate - 1]
        rate_hz = (44_100, 48_000, 32_000)[rate] // (1 if version == 1 else 2)
        rate_hz //= 2 if second >> 3 & 3 == 0 else 1  # version 2.5
        if layer == 1:
            length = (12_000 * kbits // rate_hz + padding) * 4
        else:
            factor = 72_000 if (version, layer) == (2, 3) else 144_000
            length = factor * kbits // rate_hz + padding
        yield length
        position += length


def _adts_lengths(head: bytes) -> Iterator[int]:
    """Yield the length of each frame of AAC from the start of ``head``."""
    position = 0
    while position + 7 <= len(head):
        first, second, _, fourth, fifth, sixth = head[position : position + 6]
        length = (fourth & 3) << 11 | fifth << 3 | sixth >> 5
        if first != 0xFF or second & 0xF6 != 0xF0 or length < 7:
            return
        yield length
        position += length


def find_floats(content: bytes) -> str | None:
    """Return which floats the bytes are, if they make sense as floats but not as samples.

    The upper 16 bits of a float hold its sign and exponent. Of numbers up to 1 they are confined to
    two bands, one for each sign, which are no mirror images as samples: no tone reaches both.

    Args:
        content: A multiple of 8 bytes, from the start of a float.
    """
    samples = np.frombuffer(content, "<i2")
    if _are_floats(samples.reshape(-1, 2), np.frombuffer(content, "<f4")):
        return "32-bit floats"
    if _are_floats(samples.reshape(-1, 4), np.frombuffer(content, "<f8")):
        return "64-bit floats"
    return None


def _are_floats(samples: npt.NDArray[np.int16], values: npt.NDArray[np.floating]) -> bool:
    """Decide about the same bytes as samples [N, samples a float] and as floats [N]."""
    is_zero = ~samples.any(axis=1)  # zero in either form
    samples, values = samples[~is_zero], values[~is_zero]
    if len(values) < _MIN_FLOATS:
        return False
    positive = float((values > 0).mean())
    if min(positive, 1 - positive) < _MIN_EACH_SIGN or _share_plausible(values) < _MIN_PLAUSIBLE:
        return False
    # Neighbouring samples are like each other; begun one sample later, floats make no sense.
    shifted = np.ascontiguousarray(np.roll(samples, 1, axis=1)).view(values.dtype)
    return _share_plausible(shifted) < _MAX_SHIFTED


def _share_plausible(values: npt.NDArray[np.floating]) -> float:
    """Return how many of the values are in the range of a recording."""
    with np.errstate(invalid="ignore"):
        magnitude = np.abs(values)
    return float(((magnitude > 1e-7) & (magnitude <= 1)).mean())
