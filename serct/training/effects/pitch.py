"""Pitch: pitch and formants changed, the tempo kept.

Shapes: B batch, M samples, F frequencies, T frames, L samples of a stretched clip.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from serct.config.section import Positive, Section
from serct.training.effects import EPSILON, Clips, Share, Stage, cut, draw_within, interpolate, mix

_WINDOW_S = 0.032


class PitchParams(Section):
    """Up to so many semitones higher or lower."""

    probability: Share
    semitones: Positive


STAGE = Stage.SPEECH
PARAMS = PitchParams


def apply(waveforms: Tensor, num_valid: Tensor, params: PitchParams, sample_rate_hz: int) -> Clips:
    """Raise or lower some of the clips."""
    factors = 2 ** (draw_within(waveforms, params.semitones) / 12)
    largest = 2 ** (params.semitones / 12)
    shifted = shift_pitch(waveforms, num_valid, factors, largest, sample_rate_hz)
    return mix(waveforms, shifted, params.probability), num_valid


def shift_pitch(
    waveforms: Tensor, num_valid: Tensor, factors: Tensor, largest: float, sample_rate_hz: int
) -> Tensor:
    """Raise or lower pitch and formants, and keep the tempo.

    The clip is stretched by a phase vocoder, then played faster by as much.

    Args:
        waveforms: [B, M]
        num_valid: [B]
        factors: Above 1 is higher. [B]
        largest: No factor exceeds it; at least 1.
        sample_rate_hz: Of the waveforms.

    Returns:
        [B, M]

    Source:
        Flanagan & Golden, Phase vocoder, 1966.
    """
    size = 2 ** round(math.log2(_WINDOW_S * sample_rate_hz))
    hop = size // 4
    window = torch.hann_window(size, device=waveforms.device)
    padded = functional.pad(waveforms, (size, 2 * size))
    spectra = torch.stft(padded, size, hop, window=window, center=False, return_complex=True)
    num_frames = spectra.shape[2]
    # One frame of the result stands `1 / factor` frames behind the one before it.
    most = math.ceil(num_frames * largest)
    places = torch.arange(most, device=waveforms.device) / factors[:, None]  # [B, T]
    before = places.floor().long().clamp(max=num_frames - 2)
    share = (places - before).clamp(0, 1)[:, None]
    index = before[:, None].expand(-1, spectra.shape[1], -1)
    early, late = spectra.gather(2, index), spectra.gather(2, index + 1)
    sizes = (1 - share) * early.abs() + share * late.abs()
    expected = 2 * math.pi * hop * torch.arange(size // 2 + 1, device=waveforms.device) / size
    turned = late.angle() - early.angle() - expected[:, None]
    turned = turned - 2 * math.pi * (turned / (2 * math.pi)).round() + expected[:, None]
    phases = early[:, :, :1].angle() + torch.cat(
        (torch.zeros_like(turned[:, :, :1]), turned[:, :, :-1].cumsum(dim=2)), dim=2
    )
    stretched = _overlap_add(torch.polar(sizes, phases), window, hop)
    places = torch.arange(waveforms.shape[1], device=waveforms.device) * factors[:, None]
    return cut(interpolate(stretched, places + size * factors[:, None]), num_valid)


def _overlap_add(spectra: Tensor, window: Tensor, hop: int) -> Tensor:
    """Turn frames back into samples; invert an STFT without centring. [B, F, T] -> [B, L]."""
    frames = torch.fft.irfft(spectra, len(window), dim=1) * window[:, None]  # [B, size, T]
    num_samples = (frames.shape[2] - 1) * hop + len(window)

    def fold(parts: Tensor) -> Tensor:
        return functional.fold(
            parts, (1, num_samples), kernel_size=(1, len(window)), stride=(1, hop)
        )[:, 0, 0]

    weight = fold(window.square()[None, :, None].expand(1, -1, frames.shape[2]))
    return fold(frames) / weight.clamp(min=EPSILON)
