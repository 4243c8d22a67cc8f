"""A client's file is decoded within limits, or refused by its name."""

import io

import numpy as np
import pytest
import soundfile

from serct.errors import AudioError
from serct.serving.decoding import decoder
from serct.serving.decoding.decoder import decode


def encoded(samples: np.ndarray, rate: int = 16_000, form: str = "WAV", **more: str) -> io.BytesIO:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=form, **more)
    buffer.seek(0)
    return buffer


def test_silence_is_decoded() -> None:
    audio = decode(encoded(np.zeros((32_000, 2))), "a", 10.0)
    assert (len(audio.waveform), audio.sample_rate, audio.notes) == (32_000, 16_000, ())


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_longer_than_allowed(form: str) -> None:
    with pytest.raises(AudioError, match=r"^a: 2\.0 s long, expected at most 1\.5 s"):
        decode(encoded(np.zeros(32_000), form=form), "a", 1.5)


def test_high_rates_may_be_as_long_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "MAX_SAMPLES", 40_000)
    decode(encoded(np.zeros(32_000)), "a", 10.0)
    with pytest.raises(AudioError, match=r"^a: 1\.0 s long, expected at most 0\.416667 s"):
        decode(encoded(np.zeros(96_000), 96_000), "a", 10.0)


def test_numbers_far_beyond_full_scale() -> None:
    loud = encoded(np.full(1000, 1e6, np.float32), subtype="FLOAT")
    with pytest.raises(AudioError, match=r"^a: samples reach 1e\+06, expected -1 to 1"):
        decode(loud, "a", 10.0)


@pytest.mark.parametrize("content", [b"", b"x", b"RIFF\x00\x00\x00\x00WAVE"])
def test_no_audio(content: bytes) -> None:
    with pytest.raises(AudioError, match=r"^a: "):
        decode(io.BytesIO(content), "a", 10.0)
