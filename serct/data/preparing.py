"""From a waveform to the int16 samples that models take: resample and round.

`prepare` is the only way there. Shards, the predictor and the service all use it, so training and
prediction see the same samples.
"""

import importlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from serct.config.params import AudioParams
from serct.errors import BackendUnavailableError
from serct.runtime.arrays import PCM_SCALE, Floats, Pcm


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
        # librosa resamples with soxr, so it is no way out for a missing soxr.
        other = "torchaudio" if resampler == "soxr" else "soxr"
        raise BackendUnavailableError(
            f"audio.resampler is {resampler!r}, but that package cannot be imported: {error}. "
            f"Install it in a build that fits this machine, or choose {other}"
        ) from error


def to_pcm16(waveform: Floats) -> Pcm:
    """Return samples rounded to 16 bits and clipped at full scale; exact for 16-bit recordings."""
    scaled = np.rint(waveform * np.float32(PCM_SCALE))
    pcm: Pcm = np.clip(scaled, -PCM_SCALE, PCM_SCALE - 1).astype(np.int16)
    return pcm


def prepare(waveform: Floats, sample_rate: int, audio: AudioParams) -> Pcm:
    """Return a recording as models take it: resampled, in 16 bits, of any length.

    Args:
        waveform: Mono, in [-1, 1]. float32 [any length > 0]
        sample_rate: Its rate in Hz.
        audio: Target rate ("native" keeps each file's own) and resampler.

    Returns:
        int16 [at least 1]
    """
    if audio.sample_rate != "native":
        waveform = resample(waveform, sample_rate, audio.sample_rate, audio.resampler)
    # A few samples at a high rate may be less than one at a low rate.
    return to_pcm16(waveform) if len(waveform) else np.zeros(1, np.int16)


class Preparer:
    """Does what `prepare` does with a recording that comes in blocks, bit for bit.

    With soxr, memory does not depend on the recording's length. The other resamplers cannot go on
    where they stopped, so they get the recording as a whole, at its end.
    """

    def __init__(self, sample_rate: int, audio: AudioParams) -> None:
        """Begin a recording.

        Args:
            sample_rate: As for `prepare`.
            audio: As for `prepare`.
        """
        self._rate, self._audio = sample_rate, audio
        self._num_samples = 0
        self._kept: list[Floats] | None = None
        self._stream: Any = None
        if audio.sample_rate in ("native", sample_rate):
            return
        if audio.resampler == "soxr":
            soxr = _import_resampler("soxr")
            self._stream = soxr.ResampleStream(
                sample_rate, audio.sample_rate, 1, dtype="float32", quality="HQ"
            )
        else:
            self._kept = []

    def add(self, block: Floats) -> Pcm:
        """Return what is ready after the next block, float32 [n]; int16 [any length]."""
        if self._kept is not None:
            self._kept.append(block)
            return np.empty(0, np.int16)
        if self._stream is not None:
            block = self._stream.resample_chunk(block)
        self._num_samples += len(block)
        return to_pcm16(block)

    def end(self) -> Pcm:
        """Return the rest, so that there is a sample at least. int16 [any length]."""
        if self._kept:
            return prepare(np.concatenate(self._kept), self._rate, self._audio)
        rest = np.empty(0, np.float32)
        if self._stream is not None:
            rest = self._stream.resample_chunk(rest, last=True)
        return to_pcm16(rest) if self._num_samples + len(rest) else np.zeros(1, np.int16)


def prepare_blocks(blocks: Iterable[Floats], sample_rate: int, audio: AudioParams) -> Iterator[Pcm]:
    """Yield what `prepare` returns for all blocks together, in pieces; see `Preparer`.

    Args:
        blocks: The recording's samples, in order. float32 [n > 0] each
        sample_rate: As for `prepare`.
        audio: As for `prepare`.
    """
    preparer = Preparer(sample_rate, audio)
    for block in blocks:
        yield preparer.add(block)
    yield preparer.end()
