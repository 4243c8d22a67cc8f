"""From a waveform to the int16 samples that models take: resample, round, cut to one length.

`prepare` is the only way there. Shards, the predictor and the service all use it, so training and
prediction see the same samples.
"""

import importlib
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
