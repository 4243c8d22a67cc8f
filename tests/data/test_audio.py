"""Reading, refusing, resampling and fitting."""

import io
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from serct.config.params import AudioParams, CheckParams
from serct.data.audio import read_recording
from serct.data.preparing import prepare, prepare_blocks, resample, resampler_version, to_pcm16
from serct.errors import AudioError, BackendUnavailableError
from tests.data.recordings import riff

CHECKS = CheckParams(silence_peak=1e-4, max_duration_s=10.0, max_rejected=0)
AUDIO = AudioParams(sample_rate=16000, num_samples=1000, resampler="soxr")


def tone(rate: int, hertz: float = 440.0, seconds: float = 0.5) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)).astype("f4")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.wav", {"subtype": "PCM_16"}),
        ("a.wav", {"subtype": "PCM_24"}),
        ("a.wav", {"subtype": "FLOAT"}),
        ("a.flac", {}),
        ("a.ogg", {}),
        ("a.mp3", {}),
        ("a.wav", {"format": "AIFF"}),  # AIFF under a .wav name, as in TESS
    ],
)
def test_usual_formats_are_read(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    path = tmp_path / name
    soundfile.write(path, tone(16000), 16000, **options)
    recording = read_recording(path, CHECKS)
    assert recording.sample_rate == 16000
    assert recording.waveform.dtype == np.float32
    assert abs(recording.duration_s - 0.5) < 0.1


def test_stereo_is_mixed_down(tmp_path: Path) -> None:
    path = tmp_path / "s.wav"
    left = tone(16000)
    soundfile.write(path, np.stack([left, np.zeros_like(left)], axis=1), 16000, subtype="FLOAT")
    np.testing.assert_allclose(read_recording(path, CHECKS).waveform, left / 2, atol=1e-7)


def test_lossless_copies_have_one_digest(tmp_path: Path) -> None:
    pcm = to_pcm16(tone(24414))
    for name, options in (("a.wav", {}), ("a.flac", {}), ("b.wav", {"format": "AIFF"})):
        soundfile.write(tmp_path / name, pcm, 24414, subtype="PCM_16", **options)
    digests = {read_recording(p, CHECKS).digest() for p in tmp_path.iterdir()}
    assert len(digests) == 1


FORMAT = struct.pack("<HHIIHH", 1, 1, 16000, 32000, 2, 16)
SAMPLES = to_pcm16(tone(16000, seconds=0.1)).tobytes()


def test_odd_chunks_are_skipped() -> None:
    content = riff((b"fmt ", FORMAT), (b"FLLR", b"x" * 4001), (b"data", SAMPLES))
    assert len(read_recording(io.BytesIO(content), CHECKS, "x").frames) == 1600


@pytest.mark.parametrize("unknown", [0xFFFFFFFF])
def test_a_stream_of_unknown_length_is_read(unknown: int) -> None:
    content = riff((b"fmt ", FORMAT), (b"data", SAMPLES), data_size=unknown)
    assert len(read_recording(io.BytesIO(content), CHECKS, "x").frames) == 1600


def flac_cut_off() -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 16000)
    soundfile.write(file, noise, 16000, format="FLAC")
    return file.getvalue()[: len(file.getvalue()) // 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x: the file is empty"),
        (b"this is text, not audio" * 50, r"x: not readable as audio \("),
        (riff((b"fmt ", FORMAT), (b"data", SAMPLES))[:-1000], "cut off, found 2200 of 3200"),
        (riff((b"fmt ", FORMAT), (b"data", b"")), "x: "),
        (riff((b"fmt ", FORMAT), (b"data", b"\0" * 3200)), "silent, its peak 0 is not above"),
        (b"RIFF\0\0", "not readable as audio"),
        (flac_cut_off(), "x: "),
    ],
    ids=["empty", "text", "truncated", "no samples", "silent", "only a tag", "cut flac"],
)
def test_broken_files_are_refused(content: bytes, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        read_recording(io.BytesIO(content), CHECKS, "x")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_numbers_are_refused(tmp_path: Path, value: float) -> None:
    path = tmp_path / "n.wav"
    waveform = tone(16000)
    waveform[7] = value
    soundfile.write(path, waveform, 16000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"n\.wav: holds NaN or infinite samples"):
        read_recording(path, CHECKS)


def test_a_long_file_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "long.flac"
    soundfile.write(path, np.full(8000 * 11, 0.1), 8000)
    with pytest.raises(AudioError, match=r"11\.0 s long, expected at most 10 s"):
        read_recording(path, CHECKS)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"gone\.wav: cannot be opened \(No such file"):
        read_recording(tmp_path / "gone.wav", CHECKS)


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=400))
def test_random_bytes_never_escape_as_another_error(content: bytes) -> None:
    with pytest.raises(AudioError):
        read_recording(io.BytesIO(content), CHECKS, "x")


@pytest.mark.parametrize("resampler", ["soxr", "librosa"])
def test_a_tone_keeps_its_pitch_and_what_is_above_the_new_band_goes(resampler: str) -> None:
    low, high = tone(48000, 1000.0), tone(48000, 15000.0)
    kept = resample(low, 48000, 16000, resampler)
    assert abs(len(kept) - 8000) <= 1
    spectrum = np.abs(np.fft.rfft(kept[1000:7000]))
    assert np.fft.rfftfreq(6000, 1 / 16000)[spectrum.argmax()] == pytest.approx(1000.0, abs=3)
    assert np.abs(resample(high, 48000, 16000, resampler)[1000:7000]).max() < 1e-3


def test_an_unusable_torchaudio_is_an_error_that_names_the_way_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "torchaudio"
    broken.mkdir()
    for statement in ("raise OSError('libcudart')", "raise RuntimeError('CUDA')", "import nope"):
        (broken / "__init__.py").write_text(statement)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "torchaudio", raising=False)
        with pytest.raises(BackendUnavailableError, match=r"torchaudio.*or choose soxr"):
            resample(tone(8000), 8000, 16000, "torchaudio")


def test_resampler_version_names_package_and_version() -> None:
    assert resampler_version("soxr").split()[0] == "soxr"


@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=50))
def test_sixteen_bits_survive(samples: list[int]) -> None:
    pcm = np.array(samples, dtype=np.int16)
    np.testing.assert_array_equal(to_pcm16(pcm.astype(np.float32) / 32768), pcm)


def test_full_scale_is_clipped_not_wrapped() -> None:
    np.testing.assert_array_equal(
        to_pcm16(np.array([1.0, 1.5, -1.5], "f4")), [32767, 32767, -32768]
    )


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 3000), min_size=1, max_size=8),
    st.sampled_from([4000, 16_000, 22_050, 44_100, 192_000]),
    st.sampled_from(["soxr", "librosa"]),
)
def test_pieces_are_prepared_as_the_whole_to_the_bit(
    lengths: list[int], rate: int, resampler: str
) -> None:
    audio = AUDIO.model_copy(update={"resampler": resampler})
    waveform = np.random.default_rng(0).uniform(-1, 1, sum(lengths)).astype(np.float32)
    blocks = np.split(waveform, np.cumsum(lengths)[:-1])
    found = np.concatenate(list(prepare_blocks(blocks, rate, audio)))
    np.testing.assert_array_equal(found, prepare(waveform, rate, audio))
    assert len(found) == pytest.approx(len(waveform) * 16_000 / rate, abs=1)


def test_native_rate_is_left_alone() -> None:
    native = AUDIO.model_copy(update={"sample_rate": "native"})
    clip = prepare(tone(24414, seconds=0.02), 24414, native)
    np.testing.assert_array_equal(clip, to_pcm16(tone(24414, seconds=0.02)))


def test_mono_is_the_mean_of_all_channels_without_holding_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = rng.uniform(-0.5, 0.5, (300_000, 7)).astype(np.float32)  # more than a block
    path = tmp_path / "a.wav"
    soundfile.write(path, frames, 16000, subtype="FLOAT")
    checks = CHECKS.model_copy(update={"max_duration_s": 30.0})
    mono = read_recording(path, checks, mono=True)
    assert mono.frames.shape == (300_000, 1)
    np.testing.assert_allclose(mono.waveform, frames.mean(axis=1), atol=1e-6)
    np.testing.assert_array_equal(read_recording(path, checks).frames, frames)


def test_silence_is_taken_where_it_is_not_checked(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(1000), 16000)
    checks = CHECKS.model_copy(update={"silence_peak": None})
    assert not read_recording(path, checks).frames.any()
