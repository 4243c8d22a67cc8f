"""Decode audio of any usual format, and refuse what is broken."""

import hashlib
import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import soundfile

from serct.errors import AudioError
from serct.runtime.arrays import Floats

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
