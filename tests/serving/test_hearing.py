"""What a client sends is decoded within limits, or refused with its name."""

import io

import numpy as np
import pytest
import soundfile

from serct.errors import AudioError
from serct.inference.voice_activity import VoiceActivity
from serct.serving import hearing
from serct.serving.hearing import hear

VOICE_ACTIVITY = VoiceActivity()


def encoded(samples: np.ndarray, rate: int = 16_000, form: str = "WAV", **more: str) -> io.BytesIO:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=form, **more)
    buffer.seek(0)
    return buffer


def test_silence_is_heard_without_speech() -> None:
    heard = hear(encoded(np.zeros((32_000, 2))), "a", 10.0, VOICE_ACTIVITY)
    assert (heard.duration_s, heard.speech_s, heard.is_speech) == (2.0, 0.0, False)
    assert len(heard.part(0.5, 1.0)) == 8000
    assert len(heard.part(2.0, 2.0)) == 1


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_longer_than_allowed(form: str) -> None:
    with pytest.raises(AudioError, match=r"^a: 2\.0 s long, expected at most 1\.5 s"):
        hear(encoded(np.zeros(32_000), form=form), "a", 1.5, VOICE_ACTIVITY)


def test_high_rates_may_be_as_long_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "_MOST_SAMPLES", 40_000)
    hear(encoded(np.zeros(32_000)), "a", 10.0, VOICE_ACTIVITY)
    with pytest.raises(AudioError, match=r"1\.0 s long, expected at most 0\.4"):
        hear(encoded(np.zeros(96_000), 96_000), "a", 10.0, VOICE_ACTIVITY)


def test_numbers_far_beyond_full_scale() -> None:
    loud = encoded(np.full(1000, 1e6, np.float32), subtype="FLOAT")
    with pytest.raises(AudioError, match="a: samples reach beyond 100, expected -1 to 1"):
        hear(loud, "a", 10.0, VOICE_ACTIVITY)


@pytest.mark.parametrize("content", [b"", b"x", b"RIFF\x00\x00\x00\x00WAVE"])
def test_no_audio(content: bytes) -> None:
    with pytest.raises(AudioError, match=r"^a: "):
        hear(io.BytesIO(content), "a", 10.0, VOICE_ACTIVITY)
