"""Speech is detected at any rate, and little else is."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from serct.data.preparing import resample
from serct.data.voice_activity import FRAME_S, VoiceActivity, is_speech, speech_s


@pytest.fixture(scope="module")
def voice_activity() -> VoiceActivity:
    return VoiceActivity()


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
def test_finds_where_somebody_speaks(
    voice_activity: VoiceActivity, spoken: Path, rate: int
) -> None:
    samples, own = soundfile.read(spoken, dtype="float32")
    speech = resample(samples, own, rate, "soxr")
    silence = np.zeros(rate, np.float32)
    frames = voice_activity(np.concatenate((silence, speech, silence)), rate)
    assert len(frames) == pytest.approx((2 + len(speech) / rate) / FRAME_S, abs=1)
    second = round(1 / FRAME_S)
    assert not frames[: second - 3].any()
    assert frames[second + 3 : -second - 3].mean() > 0.8
    assert speech_s(frames) == pytest.approx(len(speech) / rate, abs=0.3)


def test_noise_and_tones_are_no_speech(voice_activity: VoiceActivity) -> None:
    rng = np.random.default_rng(0)
    seconds = np.arange(32_000) / 16_000
    for waveform in (
        np.zeros(1),
        np.zeros(32_000),
        0.3 * rng.standard_normal(32_000),
        0.5 * np.sin(2 * np.pi * 300 * seconds),
        0.2 * np.sign(np.sin(2 * np.pi * 120 * seconds)),
    ):
        assert not is_speech(voice_activity(waveform.astype(np.float32), 16_000))


def test_leaves_the_number_of_threads_alone(voice_activity: VoiceActivity) -> None:
    before = torch.get_num_threads()
    voice_activity.load()
    VoiceActivity().load()
    assert torch.get_num_threads() == before
