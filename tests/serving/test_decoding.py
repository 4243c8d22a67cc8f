"""A client's file is decoded within limits, or refused by its name."""

import io

import numpy as np
import pytest
import soundfile

from serct.data.voice_activity import VoiceActivity
from serct.errors import AudioError
from serct.serving import decoding
from serct.serving.decoding import decode

VOICE_ACTIVITY = VoiceActivity()


def encoded(samples: np.ndarray, rate: int = 16_000, form: str = "WAV", **more: str) -> io.BytesIO:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=form, **more)
    buffer.seek(0)
    return buffer


def test_silence_is_decoded_and_has_no_speech() -> None:
    audio = decode(encoded(np.zeros((32_000, 2))), "a", 10.0, VOICE_ACTIVITY)
    assert (audio.duration_s, audio.speech_s, audio.is_speech) == (2.0, 0.0, False)
    assert len(audio.part(0.5, 1.0)) == 8000
    assert len(audio.part(2.0, 2.0)) == 1


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_longer_than_allowed(form: str) -> None:
    with pytest.raises(AudioError, match=r"^a: 2\.0 s long, expected at most 1\.5 s"):
        decode(encoded(np.zeros(32_000), form=form), "a", 1.5, VOICE_ACTIVITY)


def test_high_rates_may_be_as_long_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_MAX_SAMPLES", 40_000)
    decode(encoded(np.zeros(32_000)), "a", 10.0, VOICE_ACTIVITY)
    with pytest.raises(AudioError, match=r"1\.0 s long, expected at most 0\.4"):
        decode(encoded(np.zeros(96_000), 96_000), "a", 10.0, VOICE_ACTIVITY)


def test_numbers_far_beyond_full_scale() -> None:
    loud = encoded(np.full(1000, 1e6, np.float32), subtype="FLOAT")
    with pytest.raises(AudioError, match=r"a: samples reach 1e\+06, expected -1 to 1"):
        decode(loud, "a", 10.0, VOICE_ACTIVITY)


@pytest.mark.parametrize("content", [b"", b"x", b"RIFF\x00\x00\x00\x00WAVE"])
def test_no_audio(content: bytes) -> None:
    with pytest.raises(AudioError, match=r"^a: "):
        decode(io.BytesIO(content), "a", 10.0, VOICE_ACTIVITY)
