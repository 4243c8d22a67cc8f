"""Spectra and statistics of clips in torch, as `serct.models.classical` computes them in NumPy.

Those cut each clip at its end and look at one at a time; here clips of a batch stand in rows as
long as the longest one, and what lies behind each one's end is left out by masks.

Shapes: B batch, M samples of a cut row, T frames of the longest clip, W samples of a window, F
frequencies, C contours.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

from serct.models.classical import neutral, spectra
from serct.models.layers.neutral import without_zeros_behind


class NeutralClip(nn.Module):
    """Clips of one level, one mean and one noise floor, see `neutral.neutral_clip`."""

    def __init__(self, num_samples: int, noise_floor_db: float, num_after: int) -> None:
        """Draw the noise of rows of up to ``num_samples`` and of ``num_after`` more."""
        super().__init__()
        self.num_after = num_after
        floor = neutral.LEVEL * 10 ** (noise_floor_db / 20)
        noise = floor * neutral.draw_noise(num_samples + num_after)
        # Half the file; its rounding is 140 dB below the noise itself.
        self.register_buffer("noise", torch.from_numpy(noise).float())

    def forward(self, waveforms: Tensor, num_valid: Tensor) -> tuple[Tensor, Tensor]:
        """Return the clips, zero behind their ends, and their lengths. [B, M + num_after], [B]."""
        lengths = without_zeros_behind(waveforms, num_valid)
        places = torch.arange(waveforms.shape[1] + self.num_after, device=waveforms.device)
        is_spoken = places[: waveforms.shape[1]] < lengths[:, None]
        clips = waveforms.double()
        clips = (clips - clips.sum(dim=1, keepdim=True) / lengths[:, None]) * is_spoken
        loudness = (clips.square().sum(dim=1, keepdim=True) / lengths[:, None]).sqrt()
        gain = torch.where(loudness > 0, neutral.LEVEL / loudness, 0.0)
        clips = torch.cat(
            (clips * gain, clips.new_zeros(1, self.num_after).expand(clips.shape[0], -1)), dim=1
        )
        lengths = lengths + self.num_after
        noise = self.get_buffer("noise")[: clips.shape[1]].double()
        return clips + noise * (places < lengths[:, None]), lengths


class Frames(nn.Module):
    """Cuts clips into windows centred on multiples of a hop, zeros around them."""

    def __init__(self, window: int, hop: int) -> None:
        """Give the samples of a window and from one to the next."""
        super().__init__()
        self.window, self.hop = window, hop

    def forward(self, clips: Tensor) -> Tensor:
        """Cut. [B, M] -> [B, T, W]."""
        padded = nn.functional.pad(clips, (self.window // 2, self.window // 2))
        starts = torch.arange(self.count(clips.shape[1]), device=clips.device) * self.hop
        places = starts[:, None] + torch.arange(self.window, device=clips.device)
        cut = padded.index_select(1, places.flatten())
        return cut.view(clips.shape[0], -1, self.window)

    def count(self, num_samples: int) -> int:
        """Count the frames of a clip."""
        return (num_samples + self.window // 2 * 2 - self.window) // self.hop + 1

    def mask(self, num_frames: int, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return how many frames clips of these lengths have, [B], and which, bool [B, T]."""
        counts = (lengths + self.window // 2 * 2 - self.window) // self.hop + 1
        return counts, torch.arange(num_frames, device=lengths.device) < counts[:, None]


class PowerSpectrum(nn.Module):
    """See `spectra.power_spectrum`."""

    def __init__(self, window: int, hop: int) -> None:
        super().__init__()
        self.frames = Frames(window, hop)
        self.num_bins = window // 2 + 1
        turns = (
            np.arange(window)[:, None] * np.arange(self.num_bins) % window * (2 * np.pi / window)
        )
        waves = np.concatenate((np.cos(turns), np.sin(turns)), axis=1)
        self.register_buffer("waves", torch.from_numpy(spectra.hann(window)[:, None] * waves))

    def forward(self, clips: Tensor) -> Tensor:
        """Compute power. float64 [B, M] -> [B, T, F]."""
        parts = self.frames(clips) @ self.get_buffer("waves")
        real, imaginary = parts.square().split(self.num_bins, dim=2)
        power: Tensor = real + imaginary
        return power


class MelDecibels(nn.Module):
    """See `spectra.mel_power` and `spectra.decibels`."""

    def __init__(self, num_mels: int, fft_size: int, sample_rate_hz: int) -> None:
        super().__init__()
        filters = spectra.mel_filters(num_mels, fft_size, sample_rate_hz)
        self.register_buffer("filters", torch.from_numpy(filters.T.copy()))

    def forward(self, power: Tensor, is_frame: Tensor) -> Tensor:
        """Compute bands; frames behind a clip mean nothing. [B, T, F], bool [B, T] -> [B, C, T]."""
        bands = power @ self.get_buffer("filters")
        found: Tensor = decibels(bands, is_frame[..., None]).transpose(1, 2)
        return found


def decibels(power: Tensor, is_valid: Tensor) -> Tensor:
    """Compute `spectra.decibels` of each clip of a batch. [B, ...], bool [B, ...] -> [B, ...]."""
    # Not log10, whose factor exporters round to float32.
    found = power.clamp(min=spectra.SILENCE).log() * (10 / math.log(10))
    loudest = torch.where(is_valid, found, -torch.inf).flatten(1).amax(dim=1)
    return found.maximum(loudest.view(-1, *[1] * (power.dim() - 1)) - spectra.RANGE_DB)


def mean_and_spread(contours: Tensor, is_frame: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Compute mean and standard deviation over frames. [B, C, T], bool [B, T], [B] -> [B, C]."""
    is_frame, counts = is_frame[:, None], counts[:, None]
    mean = torch.where(is_frame, contours, 0.0).sum(dim=2) / counts
    squares = torch.where(is_frame, contours - mean[..., None], 0.0).square()
    return mean, (squares.sum(dim=2) / counts).sqrt()


def quantiles(
    contours: Tensor, is_frame: Tensor, counts: Tensor, wanted: tuple[float, ...]
) -> Tensor:
    """Compute `np.quantile` over frames. [B, C, T], bool [B, T], [B] -> [B, Q, C]."""
    ordered = torch.where(is_frame[:, None], contours, torch.inf).sort(dim=2).values
    last = (counts - 1)[:, None]
    places = last * torch.tensor(wanted, dtype=contours.dtype, device=contours.device)  # [B, Q]
    below = places.long()
    above = (below + 1).minimum(last)
    low, high = (
        ordered.gather(2, each[:, None].expand(-1, contours.shape[1], -1))
        for each in (below, above)
    )
    found = low + (high - low) * (places - below)[:, None]  # [B, C, Q]
    return found.transpose(1, 2)
