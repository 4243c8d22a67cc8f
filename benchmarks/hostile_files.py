"""Files and requests that no client should send, for `hostile_uploads.py`."""

import io
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile

RATE = 16_000
Maker = Callable[[random.Random], bytes]


def all_makers(clip: Path) -> dict[str, Maker]:
    """Return what makes an upload of each kind."""
    samples, rate = soundfile.read(clip, dtype="float32")
    originals = {
        form.lower(): encoded(samples, rate, form)
        for form in ("WAV", "FLAC", "OGG", "MP3", "W64", "CAF", "AIFF")
    }
    originals |= {
        "m4a": encoded_by_ffmpeg(samples, rate, "ipod", "aac"),
        "webm": encoded_by_ffmpeg(samples, rate, "webm", "libopus"),
        "amr": encoded_by_ffmpeg(samples, rate, "amr", "amr_nb", 8000),
    }
    makers: dict[str, Maker] = {
        f"mutated {form}": lambda chance, content=content: mutated(content, originals, chance)
        for form, content in originals.items()
    }
    bombs = [
        encoded(np.zeros((590 * 8000, 8), np.int16), 8000, "FLAC"),
        encoded(np.zeros((700 * 16_000, 1), np.int16), RATE, "FLAC"),
        encoded(np.zeros((400 * 96_000, 2), np.int16), 96_000, "FLAC"),
        encoded(np.zeros((590 * 16_000, 1), np.int16), RATE, "OGG"),
        encoded(np.zeros((700 * 8000, 1), np.int16), 8000, "OGG"),
    ]
    head = (
        b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\n"
    )
    part = b'--B\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
    return makers | {
        "garbage": lambda chance: chance.randbytes(chance.randrange(20_000)),
        "magic number and garbage": lambda chance: (
            chance.choice(list(originals.values()))[: chance.choice((4, 12, 40))]
            + chance.randbytes(chance.randrange(9000))
        ),
        "lying wav": lying_wav,
        "lying flac": lambda chance: lying_flac(originals["flac"], chance),
        "lying caf": lying_caf,
        "not a number wav": lambda chance: encoded(
            np.full(900, chance.choice((np.nan, np.inf, 1e30)), np.float32), RATE, "WAV", "FLOAT"
        ),
        "bomb": lambda chance: chance.choice(bombs),
        "multipart": lambda chance: malformed_multipart(originals["wav"], chance),
        "http that breaks off": lambda chance: (
            head
            + b"Content-Length: 100000\r\n\r\n"
            + part
            + chance.randbytes(chance.randrange(2000))
        ),
        "http in bad chunks": lambda chance: (
            head + b"Transfer-Encoding: chunked\r\n\r\n" + chance.randbytes(100)
        ),
        "http garbage": lambda chance: chance.randbytes(200),
    }


def mutated(content: bytes, others: dict[str, bytes], chance: random.Random) -> bytes:
    """Change a file as a broken disk, a broken encoder or an attacker would."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 5, 50))):
        # Most of what a decoder believes stands in front.
        size = len(data) if chance.random() < 0.5 else min(len(data), 200)
        start = chance.randrange(max(size, 1))
        end = min(len(data), start + chance.choice((1, 2, 4, 8, 100, 5000)))
        deed = chance.randrange(7)
        if deed == 0:
            data[start:end] = chance.randbytes(end - start)
        elif deed == 1:
            data[start:end] = chance.choice((b"\x00", b"\xff", b"\x7f", b"\x80")) * (end - start)
        elif deed == 2:
            del data[start:end]
        elif deed == 3:
            data[start:start] = data[start:end] * chance.choice((1, 2, 20))
        elif deed == 4:
            del data[start:]
        elif deed == 5:
            data[start:start] = chance.choice(list(others.values()))[: chance.randrange(1, 9000)]
        elif data:
            data[start % len(data)] ^= 1 << chance.randrange(8)
    return bytes(data)


def lying_wav(chance: random.Random) -> bytes:
    """Announce what no file holds: any format, channels, rate and size."""
    extreme = (0, 1, 2, 3, 16, 0x7FFF, 0x8000, 0xFFFF)
    huge = (0, 1, 44, 8000, RATE, 192_000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
    chunk = struct.pack(
        "<HHIIHH", chance.choice((1, 1, 2, 3, 6, 7, 0x11, 0x31, 0x55, 0xFFFE)),
        chance.choice(extreme), chance.choice(huge), chance.choice(huge), chance.choice(extreme),
        chance.choice((0, 1, 4, 8, 16, 24, 32, 64, 0xFFFF)),
    )  # fmt: skip
    form = b"fmt " + struct.pack("<I", chance.choice((16, 16, 18, 40, 0, *huge))) + chunk
    data = b"data" + struct.pack("<I", chance.choice(huge)) + chance.randbytes(2000)
    return b"RIFF" + struct.pack("<I", chance.choice(huge)) + b"WAVE" + form + data


def lying_flac(flac: bytes, chance: random.Random) -> bytes:
    """Change the block that holds rate, channels, bits and number of samples."""
    return flac[:8] + chance.randbytes(34) + flac[42:]


def lying_caf(chance: random.Random) -> bytes:
    """Announce a billion channels, or a rate that is no number."""
    rate = chance.choice((0.0, -1.0, float("nan"), float("inf"), 1e300, 16_000.0))
    many = (0, 1, 10**9, 0xFFFFFFFF)
    description = struct.pack(
        ">d4sIIIII", rate, chance.choice((b"lpcm", b"alac", b"aac ", b"ulaw")),
        *(chance.choice((*many, 2, 16)) for _ in range(5)),
    )  # fmt: skip
    sizes = (32, 2**62, -1)
    return (
        b"caff\x00\x01\x00\x00desc" + struct.pack(">q", 32) + description
        + b"data" + struct.pack(">q", chance.choice(sizes)) + chance.randbytes(1000)
    )  # fmt: skip


def malformed_multipart(content: bytes, chance: random.Random) -> bytes:
    """Cut, cross or overfill the parts of a body."""
    head = b'--B\r\nContent-Disposition: form-data; name="files"'
    name = b'; filename="' + chance.randbytes(20).replace(b'"', b"") + b'.wav"'
    body = head + name + b"\r\n\r\n" + content + b"\r\n--B--\r\n"
    return chance.choice(
        (
            lambda: body[: chance.randrange(len(body))],
            lambda: head + b"\r\n\r\n" + content + b"\r\n--B--\r\n",
            lambda: (head + name + b"\r\n\r\nx\r\n") * chance.choice((17, 1500)) + b"--B--\r\n",
            lambda: head + b"; x=" + b"y" * 100_000 + b"\r\n\r\nx\r\n--B--\r\n",
            lambda: b"--B\r\n" * 1000,
            lambda: mutated(body, {"body": body}, chance),
        )
    )()


def encoded(samples: Any, rate: int, form: str, subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    # Block by block: libsndfile's Vorbis encoder crashes on long ones.
    with soundfile.SoundFile(buffer, "w", rate, channels, subtype, format=form) as file:
        for start in range(0, len(samples), 65_536):
            file.write(samples[start : start + 65_536])
    return buffer.getvalue()


def encoded_by_ffmpeg(
    samples: Any, rate: int, form: str, codec: str, own_rate: int = 48_000
) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=form) as container:
        stream = container.add_stream(codec, rate=own_rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler(stream.format, "mono", own_rate)
        for part in (*resampler.resample(frame), *resampler.resample(None), None):
            container.mux(stream.encode(part))
    return buffer.getvalue()
