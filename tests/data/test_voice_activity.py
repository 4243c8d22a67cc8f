"""Speech is detected at any rate, and little else is."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from serct.data import voice_activity
from serct.data.preparing import resample, to_pcm16
from serct.data.silero import SpeechNetwork
from serct.data.voice_activity import FRAME_S, find_speech, find_speech_in, load_network
from serct.data.windows import LEAST_SPEECH_S
from serct.errors import BackendUnavailableError


@pytest.fixture(scope="module")
def recordings(spoken: Path) -> list[np.ndarray]:
    """Speech, loud and soft, cut anywhere, alone and in noise. float32 [N] at 16 kHz each."""
    samples, own = soundfile.read(spoken, dtype="float32")
    speech = resample(samples, own, 16_000, "soxr")
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(len(speech)).astype(np.float32)
    lengths = (1, 511, 512, 513, 7777, len(speech))
    mixes = (speech, 0.05 * speech + 0.01 * noise, speech[::-1] + 0.1 * noise, 0 * speech)
    return [np.ascontiguousarray(mix[:length]) for mix in mixes for length in lengths]


def seconds_of(frames: np.ndarray) -> float:
    return float(frames.sum() * FRAME_S)


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
def test_finds_where_somebody_speaks(spoken: Path, rate: int) -> None:
    samples, own = soundfile.read(spoken, dtype="float32")
    speech = to_pcm16(resample(samples, own, rate, "soxr"))
    silence = np.zeros(rate, np.int16)
    frames = find_speech([silence, speech, silence], rate)
    assert len(frames) == pytest.approx((2 + len(speech) / rate) / FRAME_S, abs=1)
    second = round(1 / FRAME_S)
    assert not frames[: second - 3].any()
    assert frames[second + 3 : -second - 3].mean() > 0.8
    assert seconds_of(frames) == pytest.approx(len(speech) / rate, abs=0.3)


def test_noise_and_tones_are_no_speech() -> None:
    rng = np.random.default_rng(0)
    seconds = np.arange(32_000) / 16_000
    for waveform in (
        np.zeros(1),
        np.zeros(32_000),
        0.3 * rng.standard_normal(32_000),
        0.5 * np.sin(2 * np.pi * 300 * seconds),
        0.2 * np.sign(np.sin(2 * np.pi * 120 * seconds)),
    ):
        frames = find_speech([to_pcm16(waveform.astype(np.float32))], 16_000)
        assert seconds_of(frames) < LEAST_SPEECH_S


@pytest.mark.parametrize("rate", [16_000, 22_050])
def test_a_long_recording_is_looked_through_in_parts_however_it_comes(
    spoken: Path, rate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voice_activity, "PART_S", 4)
    samples, own = soundfile.read(spoken, dtype="float32")
    once = to_pcm16(resample(samples, own, rate, "soxr"))
    pcm = np.concatenate([once, np.zeros(rate, np.int16)] * 4)
    whole = find_speech([pcm], rate)
    assert len(whole) == pytest.approx(len(pcm) / rate / FRAME_S, abs=1)
    cuts = np.sort(np.random.default_rng(0).integers(0, len(pcm), 9))
    np.testing.assert_array_equal(find_speech(np.split(pcm, cuts), rate), whole)
    parts = [
        find_speech([part], rate) for part in np.split(pcm, range(4 * rate, len(pcm), 4 * rate))
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_computes_what_the_package_computes(recordings: list[np.ndarray]) -> None:
    from silero_vad import load_silero_vad

    before = torch.get_num_threads()
    theirs = load_silero_vad(sequence=True)
    torch.set_num_threads(before)  # the package sets it to one
    for waveform, found in zip(recordings, load_network()(recordings), strict=True):
        expected = theirs.audio_forward(waveform)
        np.testing.assert_allclose(found, expected, atol=5e-5)
        np.testing.assert_array_equal(found > 0.5, expected > 0.5)


def test_several_recordings_at_once_are_as_each_alone(recordings: list[np.ndarray]) -> None:
    network = load_network()
    for waveform, found in zip(recordings, network(recordings), strict=True):
        np.testing.assert_allclose(found, network([waveform])[0], atol=5e-6)
    clips = [to_pcm16(each) for each in recordings]
    for clip, frames in zip(clips, find_speech_in(clips, 16_000), strict=True):
        np.testing.assert_array_equal(frames, find_speech([clip], 16_000))


def test_another_file_is_no_network(tmp_path: Path) -> None:
    other = tmp_path / "silero_vad.jit"
    with pytest.raises(BackendUnavailableError, match="is not usable"):
        SpeechNetwork(other)
    other.write_bytes(b"no archive")
    with pytest.raises(BackendUnavailableError, match="is not usable"):
        SpeechNetwork(other)


def test_leaves_the_number_of_threads_alone() -> None:
    before = torch.get_num_threads()
    load_network.cache_clear()
    load_network()
    assert torch.get_num_threads() == before
