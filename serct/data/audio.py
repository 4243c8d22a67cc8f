"""The one reader of recordings: decode any usual format, and refuse what is broken.

`read_recording` returns a recording whole, `open_recording` block by block. Both check the same
and give the same samples.
"""

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from serct.data.decoding.level import Level, Mixing
from serct.data.decoding.level import is_silent as is_silent
from serct.data.decoding.source import Source, check_rate, open_source
from serct.errors import AudioError
from serct.runtime.arrays import Floats

# What a recording is called. How it is read, its content decides.
SUFFIXES = (
    ".wav", ".wave", ".rf64", ".w64", ".aiff", ".aif", ".aifc", ".au", ".snd", ".caf", ".sph",
    ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aac", ".amr", ".m4a", ".m4b", ".mp4",
    ".m4v", ".mov", ".3gp", ".3g2", ".webm", ".weba", ".mka", ".mkv", ".wma", ".asf",
)  # fmt: skip
# Recordings and films whose completeness nobody checks here, or that only other programs decode.
UNREAD_SUFFIXES = (
    ".aa", ".aax", ".ac3", ".ape", ".avi", ".dsf", ".dts", ".flv", ".gsm", ".m4p", ".mpc", ".mpeg",
    ".mpg", ".pcm", ".ra", ".raw", ".rm", ".spx", ".tta", ".voc", ".vox", ".wmv", ".wv",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Recording:
    """A decoded recording.

    Attributes:
        frames: Samples as decoded. float32 [N, channels]
        sample_rate: In Hz.
        notes: What was done to make it usable, a sentence each; most have none.
        mixing: How the frames become the waveform.
    """

    frames: Floats
    sample_rate: int
    notes: tuple[str, ...] = ()
    mixing: Mixing = field(default=Mixing(), repr=False)

    @property
    def waveform(self) -> Floats:
        """Mono, in [-1, 1], as models take it. float32 [N]."""
        return self.mixing.apply(self.frames)

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
        """Full scale = 1; a recording that never gets further from its mean is silent.

        None: none is.
        """

    @property
    def max_duration_s(self) -> float:
        """Longest recording."""


@dataclass(frozen=True)
class Limits:
    """Limits that a program sets, not params.yaml; see `RecordingLimits`."""

    silence_peak: float | None
    max_duration_s: float


class RecordingStream:
    """A recording that is decoded block by block, any number of times, in bounded memory.

    Attributes:
        sample_rate: In Hz.
        num_frames: Length in samples.
        notes: See `Recording`.
        mixing: See `Recording`.
    """

    def __init__(
        self, source: Source, sample_rate: int, num_frames: int, mixing: Mixing,
        notes: tuple[str, ...],
    ) -> None:  # fmt: skip
        self._source = source
        self.sample_rate = sample_rate
        self.num_frames = num_frames
        self.mixing = mixing
        self.notes = notes

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.num_frames / self.sample_rate

    def blocks(self) -> Iterator[Floats]:
        """Yield the waveform in pieces, float32 [n], which follow each other without a gap.

        Read one iterator to its end before the next is begun.

        Raises:
            AudioError: If the file has changed since it was opened.
        """
        found = 0
        with self._source.labelled():
            for block in self._source.blocks():
                found += len(block.frames)
                yield self.mixing.apply(block.frames)
        if found != self.num_frames:
            raise AudioError(f"{self._source.label}: changed while it was read")


def read_recording(
    source: Path | BinaryIO,
    limits: RecordingLimits,
    name: str | None = None,
    *,
    mono: bool = False,
    max_samples: float = math.inf,
) -> Recording:
    """Decode a file whole and refuse what no model should be trained on.

    The content decides the format, not the name: two files of TESS are AIFF with a .wav name.

    Args:
        source: A path, or an open binary file that can seek.
        limits: ``checks`` of params.yaml, or a program's own `Limits`.
        name: What errors call the source; its path if None, where it is one.
        mono: Return the waveform as the only channel. Memory then depends on duration and rate
            alone and not on the number of channels; several channels are decoded twice.
        max_samples: Limit of one channel, beside ``limits.max_duration_s``.

    Raises:
        AudioError: If the source is empty, not audio, cut off, longer than allowed, at a rate
            beyond 4 to 192 kHz, holds NaN or infinite samples, is in another unit than full
            scale = 1, or never gets further than ``limits.silence_peak`` from its mean.
    """
    with open_source(source, name, limits.max_duration_s, max_samples) as opened:
        kept: list[Floats] = []

        def keep(frames: Floats) -> None:
            if not mono or frames.shape[1] == 1:
                kept.append(frames)

        stream = _inspect(opened, limits, keep)
        if kept:
            return Recording(np.concatenate(kept), stream.sample_rate, stream.notes, stream.mixing)
        waveform = np.concatenate(list(stream.blocks()))
        return Recording(waveform[:, None], stream.sample_rate, stream.notes)


@contextmanager
def open_recording(
    source: Path | BinaryIO, limits: RecordingLimits, name: str | None = None
) -> Iterator[RecordingStream]:
    """Check a file whole, then yield a stream of its samples.

    Args:
        source: A path, or an open binary file that can seek.
        limits: ``checks`` of params.yaml, or a program's own `Limits`.
        name: What errors call the source; its path if None, where it is one.

    Raises:
        AudioError: As `read_recording`.
    """
    with open_source(source, name, limits.max_duration_s) as opened:
        yield _inspect(opened, limits, lambda frames: None)


def usable_waveform(
    waveform: npt.ArrayLike, sample_rate: float, limits: RecordingLimits
) -> tuple[Floats, tuple[str, ...]]:
    """Check an array of mono samples by the rules that hold for files.

    Args:
        waveform: Full scale = 1. float [N], N > 0
        sample_rate: In Hz.
        limits: Only ``silence_peak`` is used.

    Returns:
        The samples in [-1, 1], float32 [N], and what was done to make them usable.

    Raises:
        AudioError: If the array is empty, not one-dimensional, not of floats, not finite, in
            another unit than full scale = 1, or silent; or if the rate is no number of Hz that a
            recording has.
    """
    if not isinstance(sample_rate, Real):
        raise AudioError(f"waveform: sample rate {sample_rate!r}, expected a number of Hz")
    if np.ma.is_masked(waveform):
        raise AudioError("waveform has masked samples, expected none")
    try:
        array: npt.NDArray[Any] = np.asarray(waveform)
    except (TypeError, ValueError, RuntimeError) as error:
        raise AudioError(f"waveform is not an array of numbers ({error})") from error
    if array.ndim != 1 or array.size == 0 or array.dtype.kind != "f":
        raise AudioError(
            f"waveform is {array.dtype} {array.shape}, expected floats in [-1, 1], shape [N], N > 0"
        )
    with np.errstate(over="ignore"):
        samples: Floats = array.astype(np.float32)
    level = Level()
    try:
        check_rate(sample_rate)
        level.add(samples[:, None])
        mixing, notes = level.decide()
        _check_silence(level, mixing, limits)
    except AudioError as error:
        raise AudioError(f"waveform: {error}") from error
    return mixing.apply(samples[:, None]), notes


def _inspect(
    source: Source, limits: RecordingLimits, keep: Callable[[Floats], None]
) -> RecordingStream:
    """Decode a source once, check it, and hand every block to ``keep``."""
    level = Level()
    sample_rate = 0
    with source.labelled():
        for block in source.blocks():
            sample_rate = block.sample_rate
            level.add(block.frames)
            keep(block.frames)
        if level.num_frames == 0:
            raise AudioError("holds no samples")
        mixing, notes = level.decide()
        _check_silence(level, mixing, limits)
    return RecordingStream(source, sample_rate, level.num_frames, mixing, (*source.notes, *notes))


def _check_silence(level: Level, mixing: Mixing, limits: RecordingLimits) -> None:
    peak = level.peak_without_mean(mixing)
    if limits.silence_peak is not None and peak <= limits.silence_peak:
        raise AudioError(f"silent, its peak {peak:.2g} is not above {limits.silence_peak:g}")
