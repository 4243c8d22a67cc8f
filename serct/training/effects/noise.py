"""Noise between white and brown."""

import torch
from torch import Tensor

from serct.config.section import Section
from serct.training.effects import EPSILON, Range, Share, Stage, cut, draw_between, fast_size, mix


class NoiseParams(Section):
    """Noise at a signal-to-noise ratio."""

    probability: Share
    snr_db: Range


STAGE = Stage.LINE
PARAMS = NoiseParams


def apply(
    waveforms: Tensor, num_valid: Tensor, params: NoiseParams, sample_rate_hz: int
) -> tuple[Tensor, Tensor]:
    """Add noise to some of the clips."""
    noisy = add_noise(waveforms, num_valid, draw_between(waveforms, *params.snr_db))
    return mix(waveforms, noisy, params.probability), num_valid


def add_noise(waveforms: Tensor, num_valid: Tensor, snr_db: Tensor) -> Tensor:
    """Add noise whose colour is drawn between white and brown.

    Args:
        waveforms: [B, M]
        num_valid: [B]
        snr_db: Energy of the clip over that of the noise. [B]

    Returns:
        [B, M]
    """
    white = torch.randn(len(waveforms), fast_size(waveforms.shape[1]), device=waveforms.device)
    spectrum = torch.fft.rfft(white)
    frequencies = torch.arange(1, spectrum.shape[1] + 1, device=waveforms.device)
    colour = torch.rand(len(waveforms), 1, device=waveforms.device)
    noise = torch.fft.irfft(spectrum * frequencies**-colour)[:, : waveforms.shape[1]]
    return mix_at_snr(waveforms, cut(noise, num_valid), num_valid, snr_db)


def mix_at_snr(waveforms: Tensor, noise: Tensor, num_valid: Tensor, snr_db: Tensor) -> Tensor:
    """Add noise at the level that gives a signal-to-noise ratio. [B, M] twice, [B] twice -> [B, M].

    Args:
        waveforms: Clips, zero behind each.
        noise: At any level, zero behind each clip.
        num_valid: Samples of each clip.
        snr_db: Energy of the clip over that of the noise that is added.
    """
    wanted = level(waveforms, num_valid) * 10 ** (-snr_db / 20)
    return waveforms + noise * (wanted / (level(noise, num_valid) + EPSILON))[:, None]


def level(waveforms: Tensor, num_valid: Tensor) -> Tensor:
    """Compute the root mean square of each clip. [B, M], [B] -> [B]."""
    return (waveforms.square().sum(dim=1) / num_valid).sqrt()
