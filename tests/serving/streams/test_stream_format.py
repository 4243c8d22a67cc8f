"""Files and floats are told from raw samples; no raw samples are refused."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from serct.serving.streams.format import StreamFormat

RATE = 16_000


def found(content: bytes, step: int = 4000) -> str | None:
    stream_format = StreamFormat()
    for start in range(0, len(content), step):
        stream_format.add(content[start : start + step])
        if stream_format.found:
            break
    return stream_format.found


def pcm(samples: np.ndarray) -> bytes:
    return np.clip(np.round(samples * 32_768), -32_768, 32_767).astype("<i2").tobytes()


def encoded(form: str, **more: str) -> bytes:
    buffer = io.BytesIO()
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 2 * RATE)
    soundfile.write(buffer, samples, RATE, format=form, **more)
    return buffer.getvalue()


@pytest.mark.parametrize("step", [7, 4000])
@pytest.mark.parametrize(
    ("form", "name"),
    [("OGG", "Ogg"), ("WAV", "WAV"), ("RF64", "WAV"), ("W64", "W64"), ("FLAC", "FLAC"),
     ("AIFF", "AIFF"), ("CAF", "CAF"), ("AU", "AU"), ("MP3", "MP3"), ("NIST", "SPHERE")],
)  # fmt: skip
def test_files(form: str, name: str, step: int) -> None:
    assert found(encoded(form), step) == name


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01", "WebM or Matroska"),
        (b"\x00\x00\x00\x1cftypM4A \x00\x00", "MP4 or M4A"),
        (b"#!AMR\n\x3c", "AMR"),
        (b"#!AMR-WB\n\x3c", "AMR"),
        (b"ID3\x04\x00\x00\x00\x00\x00\x23TSSE", "MP3"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMA"),
    ],
)
def test_heads_of_files(head: bytes, name: str) -> None:
    assert found(head + bytes(100), 3) == name


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100, 48_000])
def test_mp3_without_a_tag(rate: int, channels: int) -> None:
    buffer = io.BytesIO()
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (2 * rate, channels))
    soundfile.write(buffer, samples, rate, format="MP3")
    content = buffer.getvalue()
    assert content[0] == 0xFF
    assert found(content) == "MP3"


def test_aac() -> None:
    frame = struct.pack(">BBBBBBB", 0xFF, 0xF1, 0x50, 0x80, 300 >> 3, (300 & 7) << 5 | 0x1F, 0xFC)
    assert found((frame + bytes(293)) * 5) == "AAC"


@pytest.mark.parametrize("kind", ["<f4", "<f8"])
@pytest.mark.parametrize("gain", [1.0, 0.1, 0.001])
@pytest.mark.parametrize("source", ["speech", "noise", "tone", "late"])
def test_floats(kind: str, gain: float, source: str, spoken: Path) -> None:
    samples, _ = soundfile.read(spoken)
    samples = {
        "speech": samples,
        "noise": np.random.default_rng(0).normal(0, 0.2, 20_000).clip(-1, 1),
        "tone": 0.9 * np.sin(np.arange(20_000) / 7),
        "late": np.concatenate((np.zeros(RATE), samples)),
    }[source]
    expected = {"<f4": "32-bit floats", "<f8": "64-bit floats"}[kind]
    for step in (7, 4000, 10**6):
        assert found((gain * samples).astype(kind).tobytes(), step) == expected


@pytest.mark.parametrize("gain", [0.001, 0.03, 0.3, 1.0, 3.0, 30.0])
def test_speech_is_never_refused(gain: float, spoken: Path) -> None:
    samples, _ = soundfile.read(spoken)
    for offset in (0.0, 0.01, -0.3, 0.45):
        assert found(pcm(gain * samples + offset)) is None


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["noise", "uniform", "tone", "square", "silence", "clicks"]),
    st.floats(0, 1.2),
    st.floats(0, 0.5),
    st.floats(0, 6.3),
    st.floats(-0.6, 0.6),
    st.floats(0, 0.02),
    st.integers(1, 3000),
)
def test_samples_are_never_refused(
    kind: str, gain: float, frequency: float, phase: float, offset: float, dither: float, step: int
) -> None:
    numbers, rng = np.arange(4000), np.random.default_rng(step)
    tone = np.sin(2 * np.pi * frequency * numbers + phase)
    samples = {
        "noise": rng.standard_normal(4000),
        "uniform": rng.uniform(-1, 1, 4000),
        "tone": tone,
        "square": np.sign(tone),
        "silence": np.zeros(4000),
        "clicks": (rng.random(4000) < 0.01) * rng.uniform(-1, 1, 4000),
    }[kind]
    noise = dither * rng.standard_normal(4000)
    assert found(pcm(gain * samples + offset + noise), step) is None


@pytest.mark.parametrize("period", [2, 4, 8, 16])
def test_tones_whose_samples_repeat_are_never_refused(period: int) -> None:
    for gain in np.linspace(0.3, 1, 71):
        for phase in np.linspace(0, np.pi, 9):
            tone = np.sin(2 * np.pi * np.arange(4000) / period + phase)
            assert found(pcm(gain * tone)) is None


def test_small_negative_samples_are_no_mp3() -> None:
    for low, high in ((0xFF, 0xFF), (0xFF, 0xFB), (0xFF, 0xF3), (0xFF, 0xF1), (0xFF, 0xE3)):
        assert found(bytes((low, high)) * 4000) is None
        rng = np.random.default_rng(0)
        content = bytes((low, high)) + rng.integers(-300, 300, 5000).astype("<i2").tobytes()
        assert found(content) is None
