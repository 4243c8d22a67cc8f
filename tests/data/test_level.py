"""The waveform that models get: how channels are mixed, what range is taken, what is silent."""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from serct.data.audio import (
    Limits,
    Recording,
    is_silent,
    open_recording,
    read_recording,
    usable_waveform,
)
from serct.errors import AudioError
from tests.data.recordings import voice, write

LIMITS = Limits(silence_peak=1e-4, max_duration_s=60.0)
CLIP = voice(16000)
NOISE = np.random.default_rng(1).standard_normal((16000, 8)).astype(np.float32) * 0.1


def read(frames: npt.ArrayLike, *, mono: bool = False) -> Recording:
    content = write(np.asarray(frames, np.float32), subtype="FLOAT")
    return read_recording(io.BytesIO(content), LIMITS, "x", mono=mono)


def refusal(frames: npt.ArrayLike) -> str:
    with pytest.raises(AudioError) as caught:
        read(frames)
    return str(caught.value)


@pytest.mark.parametrize("gain", [-1.0, -0.97, -0.9, -0.7, -0.5])
def test_channels_that_cancel_are_not_mixed(gain: float) -> None:
    for frames, channel in (
        (np.stack([CLIP, gain * CLIP], axis=1), 1),
        (np.stack([gain * CLIP, CLIP * 1.01], axis=1), 2),
    ):
        recording = read(frames)
        assert recording.notes == (
            f"channels 1 and 2 cancel each other: channel {channel} was used",
        )
        np.testing.assert_array_equal(recording.waveform, frames[:, channel - 1].astype("f4"))
        mono = read(frames, mono=True)
        assert mono.notes == recording.notes
        np.testing.assert_array_equal(mono.frames[:, 0], recording.waveform)


def test_four_channels_that_cancel_and_an_offset_that_does_not() -> None:
    frames = np.stack([CLIP, -CLIP, 1.1 * CLIP, -1.1 * CLIP], axis=1) / 2
    assert read(frames).notes == ("the 4 channels cancel each other: channel 3 was used",)
    frames = np.stack([CLIP + 0.2, 0.2 - CLIP], axis=1)  # less than its loudness
    assert len(read(frames).notes) == 1


@pytest.mark.parametrize(
    "frames",
    [
        np.stack([CLIP, CLIP], axis=1),
        np.stack([CLIP, np.zeros_like(CLIP)], axis=1),
        np.stack([np.zeros_like(CLIP)] * 7 + [CLIP], axis=1),
        NOISE[:, :2],
        NOISE,
        np.stack([CLIP + NOISE[:, 0], NOISE[:, 1] - CLIP / 5], axis=1),
    ],
    ids=["equal", "one live", "one of eight live", "uncorrelated", "eight uncorrelated", "leak"],
)
def test_other_channels_are_mixed(frames: npt.NDArray[np.float32]) -> None:
    recording = read(frames)
    assert recording.notes == ()
    mixed = frames.astype("f4").mean(axis=1, dtype=np.float32)
    np.testing.assert_array_equal(recording.waveform, mixed)
    np.testing.assert_array_equal(read(frames, mono=True).frames[:, 0], mixed)


def test_a_long_recording_is_mixed_in_one_way_whatever_its_parts_are(tmp_path: Path) -> None:
    # The first half alone cancels, the whole does not.
    long = np.tile(CLIP, 60)
    other = long * np.where(np.arange(len(long)) < len(long) // 2, -1, 1)
    path = tmp_path / "a.wav"
    path.write_bytes(write(np.stack([long, other], axis=1), subtype="FLOAT"))
    limits = Limits(silence_peak=1e-4, max_duration_s=90.0)
    recording = read_recording(path, limits)
    assert recording.notes == ()
    with open_recording(path, limits) as stream:
        blocks = list(stream.blocks())
        assert len(blocks) > 1
        np.testing.assert_array_equal(np.concatenate(blocks), recording.waveform)


@pytest.mark.parametrize(("peak", "decibels"), [(1.003, "0.026"), (1.5, "3.5"), (3.9, "12")])
def test_a_little_beyond_full_scale_is_scaled_down(peak: float, decibels: str) -> None:
    samples = (CLIP / np.abs(CLIP).max() * peak).astype(np.float32)
    note = (f"samples reach {peak:.4g}: scaled down by {decibels} dB to stay within -1 to 1",)
    recording = read(samples)
    assert recording.notes == note
    assert np.abs(recording.waveform).max() == 1.0
    np.testing.assert_allclose(recording.waveform * peak, samples, rtol=1e-6)
    waveform, notes = usable_waveform(samples.astype(np.float64), 16000, LIMITS)
    assert notes == note
    np.testing.assert_array_equal(waveform, recording.waveform)


@pytest.mark.parametrize("offset", [-0.5, 0.5])
def test_an_offset_with_more_power_than_the_sound_is_removed(offset: float) -> None:
    note = (f"samples have a mean of {offset}: it was removed, being no sound",)
    for frames in (CLIP + offset, np.stack([CLIP + offset] * 2, axis=1)):
        recording = read(frames)
        assert recording.notes == note
        np.testing.assert_allclose(recording.waveform, CLIP - CLIP.mean(), atol=1e-6)
    waveform, notes = usable_waveform((CLIP + offset).astype(np.float32), 16000, LIMITS)
    assert notes == note
    np.testing.assert_allclose(waveform, CLIP - CLIP.mean(), atol=1e-6)
    for small in (0.0, 0.1 * offset):
        assert read(CLIP + small).notes == ()


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (
            np.rint(CLIP * 40000),
            "samples reach 18546, expected -1 to 1; they look like 16-bit integers",
        ),
        (np.rint(CLIP * 7), "samples reach 3, expected -1 to 1; they look like 16-bit integers"),
        (CLIP * 2**23, "they look like 24-bit integers stored as floats"),
        (CLIP * 2.0**31, "they look like 32-bit integers stored as floats"),
        (np.append(CLIP, 4.5), "samples reach 4.5, expected -1 to 1"),
        (np.append(CLIP, np.nan), "holds NaN or infinite samples"),
        (np.append(CLIP, -np.inf), "holds NaN or infinite samples"),
        (np.full(1000, 0.3), "silent, its peak "),
        (np.zeros(1000), "silent, its peak 0 is not above 0.0001"),
        (CLIP * 1e-4 + 0.2, "silent, its peak "),
    ],
)
def test_files_and_arrays_are_refused_for_the_same_reasons(
    samples: npt.NDArray[np.float64], message: str
) -> None:
    reason = refusal(samples)
    assert message in reason
    with pytest.raises(AudioError) as caught:
        usable_waveform(samples.astype(np.float32), 16000, LIMITS)
    assert str(caught.value) == reason.replace("x: ", "waveform: ")


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        ([], r"waveform is float64 \(0,\), expected floats in \[-1, 1\], shape \[N\], N > 0"),
        (np.zeros((2, 5), "f4"), r"waveform is float32 \(2, 5\), expected floats"),
        (np.zeros(5, np.int16), r"waveform is int16 \(5,\), expected floats"),
        (
            np.ma.array([0.1, 0.2], mask=[False, True]),
            r"waveform has masked samples, expected none",
        ),
        ([[0.1], [0.1, 0.2]], r"waveform is not an array of numbers"),
        (np.array([0.1, 1e300]), r"waveform: holds NaN or infinite samples"),
    ],
)
def test_arrays_of_another_form_are_refused(waveform: npt.ArrayLike, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        usable_waveform(waveform, 16000, LIMITS)


def test_an_array_may_be_silent_where_silence_is_not_checked() -> None:
    waveform, notes = usable_waveform(
        [0.0, 0.0], 16000, Limits(silence_peak=None, max_duration_s=1.0)
    )
    assert waveform.tolist() == [0, 0]
    assert notes == ()


def test_channels_that_only_cancel_digitally_silent_ones_stay_silent() -> None:
    assert refusal(np.zeros((1000, 2))) == "x: silent, its peak 0 is not above 0.0001"


def test_a_piece_is_silent_without_its_offset() -> None:
    assert is_silent(np.full(100, 0.3), 1e-4)
    assert not is_silent(np.append(np.full(100, 0.3), 0.31), 1e-4)
    assert not is_silent(np.zeros(100), None)
