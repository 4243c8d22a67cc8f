"""Decode audio of any usual format, refuse what is broken, resample, cut to one length.

`prepare` is the only way from a recording to the int16 samples that models take. Shards, the
predictor and the service all use it, so training and prediction see the same samples.
"""

import hashlib
import importlib
import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import soundfile

from serct.config.params import AudioParams
from serct.errors import AudioError, BackendUnavailableError
from serct.runtime.arrays import PCM_SCALE, Floats, Pcm

# libsndfile's number of frames if the header of a stream lacks it.
_UNKNOWN_FRAMES = 2**62
_VALUES_AT_ONCE = 2**20
_LOWEST_RATE_HZ, _HIGHEST_RATE_HZ = 4000, 192_000
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")


@dataclass(frozen=True, eq=False)
class Recording:
    """A decoded recording.

    Attributes:
        frames: Samples in [-1, 1]. float32 [N, channels]
        sample_rate: In Hz.
    """

    frames: Floats
    sample_rate: int

    @property
    def waveform(self) -> Floats:
        """The mean of all channels, float32 [N]."""
        if self.frames.shape[1] == 1:
            return self.frames[:, 0]
        mixed: Floats = self.frames.mean(axis=1, dtype=np.float32)
        return mixed

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.frames) / self.sample_rate

    def digest(self) -> str:
        """Return the SHA-256 of rate and samples, equal for a wav and its lossless re-encoding."""
        header = f"{self.sample_rate} {self.frames.shape[1]}\n".encode()
        samples = np.ascontiguousarray(self.frames, dtype="<f4")
        digest = hashlib.sha256(header)
        digest.update(samples.data)
        return digest.hexdigest()


class RecordingLimits(Protocol):
    """What makes a recording unusable."""

    @property
    def silence_peak(self) -> float | None:
        """Full scale = 1; a recording that never exceeds it is silent. None: none is."""

    @property
    def max_duration_s(self) -> float:
        """Longest recording."""


@dataclass(frozen=True)
class Limits:
    """Limits that a program sets, not params.yaml; see `RecordingLimits`."""

    silence_peak: float | None
    max_duration_s: float


def read_recording(
    source: Path | BinaryIO,
    limits: RecordingLimits,
    name: str | None = None,
    *,
    mono: bool = False,
    max_samples: float = math.inf,
) -> Recording:
    """Decode a file and refuse what no model should be trained on.

    The content decides the format, not the name: two files of TESS are AIFF with a .wav name.

    Args:
        source: A path, or an open binary file that can seek.
        limits: ``checks`` of params.yaml, or a program's own `Limits`.
        name: What errors call the source; its path where it is one.
        mono: Mix channels down while decoding, so that memory depends on duration and rate alone
            and not on the number of channels.
        max_samples: Limit of one channel, beside ``limits.max_duration_s``.

    Raises:
        AudioError: If the source is empty, not audio, cut off, longer than
            allowed, at a rate beyond 4 to 192 kHz, holds NaN or infinite samples, or never exceeds
            ``limits.silence_peak``.
    """
    label = name or str(source)
    problem = _find_cut_off(source)
    if problem:
        raise AudioError(f"{label}: {problem}")
    try:
        with soundfile.SoundFile(source) as file:
            rate = file.samplerate
            if not _LOWEST_RATE_HZ <= rate <= _HIGHEST_RATE_HZ:
                raise AudioError(
                    f"{label}: {rate} Hz, expected {_LOWEST_RATE_HZ} to {_HIGHEST_RATE_HZ}"
                )
            announced = file.frames if file.frames < _UNKNOWN_FRAMES else 0
            longest_s = min(limits.max_duration_s, max_samples / rate)
            if announced > longest_s * rate:
                raise AudioError(
                    f"{label}: {announced / rate:.1f} s long, expected at most {longest_s:g} s"
                )
            frames = _decode(file, longest_s, label, mono)
    except (soundfile.LibsndfileError, OSError, ValueError) as error:
        detail = getattr(error, "error_string", str(error))
        raise AudioError(f"{label}: not readable as audio ({detail})") from error
    if len(frames) == 0:
        raise AudioError(f"{label}: holds no samples")
    if len(frames) < announced:
        raise AudioError(f"{label}: cut off, found {len(frames)} of {announced} announced samples")
    if limits.silence_peak is not None:
        peak = float(np.abs(frames).max())
        if peak <= limits.silence_peak:
            raise AudioError(
                f"{label}: silent, its peak {peak:.2g} is not above {limits.silence_peak:g}"
            )
    return Recording(frames, rate)


def _decode(file: soundfile.SoundFile, max_duration_s: float, label: str, mono: bool) -> Floats:
    """Return the samples, read block by block, so that no more than allowed is ever decoded."""
    blocks: list[Floats] = []
    num_frames = 0
    while len(block := file.read(_VALUES_AT_ONCE // file.channels, "float32", always_2d=True)):
        num_frames += len(block)
        if num_frames > max_duration_s * file.samplerate:
            raise AudioError(f"{label}: longer than the {max_duration_s:g} s expected at most")
        if not np.isfinite(block).all():
            raise AudioError(f"{label}: holds NaN or infinite samples")
        blocks.append(block.mean(axis=1, keepdims=True, dtype=np.float32) if mono else block)
    frames: Floats = np.concatenate(blocks) if blocks else np.empty((0, 1), np.float32)
    return frames


def _find_cut_off(source: Path | BinaryIO) -> str | None:
    """Return what an empty or truncated file lacks, which libsndfile reads without an error.

    Only RIFF has the size of its data in front; in a stream 0 and 2**32-1 mean "unknown".
    """
    if isinstance(source, Path):
        try:
            with source.open("rb") as file:
                return _find_cut_off(file)
        except OSError as error:
            return f"cannot be opened ({error.strerror})"
    source.seek(0, os.SEEK_END)
    size = source.tell()
    source.seek(0)
    if size == 0:
        return "the file is empty"
    problem = None
    header = source.read(12)
    if header[:4] == b"RIFF" and header[8:12] == b"WAVE":
        while len(chunk := source.read(8)) == 8:
            tag, length = struct.unpack("<4sI", chunk)
            if tag == b"data":
                found = size - source.tell()
                if length not in (0, 0xFFFFFFFF) and found < length:
                    problem = f"cut off, found {found} of {length} announced bytes of audio"
                break
            source.seek(length + length % 2, os.SEEK_CUR)
    source.seek(0)
    return problem


def resample(waveform: Floats, from_hz: int, to_hz: int, resampler: str) -> Floats:
    """Return a waveform at another sample rate, computed by the named package.

    There is no silent fallback: the packages differ in their last bits, so shards would not hold
    what their `meta.json` says.

    Args:
        waveform: float32 [N]
        from_hz: Its rate.
        to_hz: The new rate.
        resampler: "soxr" (HQ), "librosa" (its soxr_hq) or "torchaudio" (windowed sinc).

    Returns:
        float32 [about N * to_hz / from_hz]

    Raises:
        BackendUnavailableError: If the package cannot be imported.
    """
    if from_hz == to_hz:
        return waveform
    module: Any = _import_resampler(resampler)
    if resampler == "soxr":
        resampled = module.resample(waveform, from_hz, to_hz, quality="HQ")
    elif resampler == "librosa":
        resampled = module.resample(waveform, orig_sr=from_hz, target_sr=to_hz, res_type="soxr_hq")
    else:
        torch = importlib.import_module("torch")
        resampled = module.functional.resample(torch.from_numpy(waveform), from_hz, to_hz).numpy()
    return np.asarray(resampled, dtype=np.float32)


def resampler_version(resampler: str) -> str:
    """Return name and version of the resampling package."""
    return f"{resampler} {_import_resampler(resampler).__version__}"


def _import_resampler(resampler: str) -> Any:
    try:
        return importlib.import_module(resampler)
    except (ImportError, OSError, RuntimeError) as error:
        # A torchaudio built for another CUDA raises OSError or RuntimeError, not ImportError.
        raise BackendUnavailableError(
            f"audio.resampler is {resampler!r}, but that package cannot be imported: {error}. "
            "Install it in a build that fits this machine, or choose soxr"
        ) from error


def to_pcm16(waveform: Floats) -> Pcm:
    """Return samples rounded to 16 bits and clipped at full scale; exact for 16-bit recordings."""
    scaled = np.rint(waveform * np.float32(PCM_SCALE))
    pcm: Pcm = np.clip(scaled, -PCM_SCALE, PCM_SCALE - 1).astype(np.int16)
    return pcm


def prepare(waveform: Floats, sample_rate: int, audio: AudioParams) -> Pcm:
    """Return a recording as models take it: resampled, 16 bits, cut at the end.

    The code that makes rows adds the zeros at their end.

    Args:
        waveform: Mono, in [-1, 1]. float32 [any length > 0]
        sample_rate: Its rate in Hz.
        audio: Target rate ("native" keeps each file's own), length and resampler.

    Returns:
        int16 [1..audio.num_samples]

    Source:
        Thesis, section 4.2, "Padding and Truncation".
    """
    if audio.sample_rate != "native":
        waveform = resample(waveform, sample_rate, audio.sample_rate, audio.resampler)
    # A few samples at a high rate may be less than one at a low rate.
    return to_pcm16(waveform[: audio.num_samples]) if len(waveform) else np.zeros(1, np.int16)
