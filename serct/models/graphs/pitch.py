"""The pitch of frames as a module of torch, see `serct.models.classical.pitch`.

Shapes: B batch, M samples of a row, T frames, W samples of a window, L periods.
"""

import numpy as np
import torch
from torch import Tensor, nn

from serct.models.classical import pitch
from serct.models.graphs.clips import Frames


class Yin(nn.Module):
    """Estimates the pitch of all frames; `pitch.yin` does so for some."""

    def __init__(
        self, window: int, hop: int, bounds_hz: tuple[float, float], sample_rate_hz: int
    ) -> None:
        """See `pitch.yin`."""
        super().__init__()
        lowest, highest = bounds_hz
        self.frames = Frames(window, hop)
        self.rate_hz = sample_rate_hz
        self.shortest = int(sample_rate_hz / highest)
        self.longest = min(int(np.ceil(sample_rate_hz / lowest)), window - 1)
        # A power of two, so long that nothing is shifted in again on the other side.
        self.size = 1 << (window + self.longest - 1).bit_length()
        # Products of a window with itself, shifted, from its power: a cosine transform.
        places = np.arange(self.size // 2 + 1)[:, None] * np.arange(self.longest + 1) % self.size
        waves = np.cos(2 * np.pi / self.size * places) * (2 / self.size)
        waves[[0, -1]] /= 2
        self.register_buffer("waves", torch.from_numpy(waves))

    def forward(self, clips: Tensor) -> Tensor:
        """Estimate pitches. float64 [B, M] -> in Hz, float64 [B, T]."""
        differences = self._normalised_differences(self.frames(clips))  # [B, T, L]
        num_periods = differences.shape[2]
        before = torch.cat((differences[..., 1:2], differences[..., :-1]), dim=2)
        behind = torch.cat((differences[..., 1:], differences[..., -1:]), dim=2)
        places = torch.arange(num_periods, device=clips.device)
        is_trough = (differences < before) & ((differences <= behind) | (places == num_periods - 1))
        is_trough = is_trough & ((places > 0) | (differences < behind))
        is_trough = is_trough & (differences < pitch.TROUGH)
        first = torch.where(is_trough, places, num_periods).amin(dim=2)
        best = torch.where(first < num_periods, first, differences.argmin(dim=2))[..., None]
        here, left, right = (each.gather(2, best) for each in (differences, before, behind))
        curve, slope = right + left - 2 * here, (right - left) / 2
        is_inside = (best > 0) & (best < num_periods - 1) & (slope.abs() < curve.abs())
        shifts = torch.where(is_inside, -slope / torch.where(is_inside, curve, 1.0), 0.0)
        found: Tensor = self.rate_hz / (self.shortest + best + shifts)[..., 0]
        return found

    def _normalised_differences(self, windows: Tensor) -> Tensor:
        """See `pitch`. [B, T, W] -> [B, T, L]."""
        spectra = torch.fft.rfft(windows, self.size)
        power = spectra.real.square() + spectra.imag.square()
        products = power @ self.get_buffer("waves")  # [B, T, longest + 1]
        squares = windows[..., : self.longest].square().cumsum(dim=2)
        left = torch.cat((torch.zeros_like(squares[..., :1]), squares[..., 1:]), dim=2)
        differences = 2 * (products[..., :1] - products[..., 1:]) - left
        counts = torch.arange(1, self.longest + 1, device=windows.device)
        means = differences.cumsum(dim=2) / counts
        means = means[..., self.shortest - 1 :] + torch.finfo(torch.float64).tiny
        normalised: Tensor = differences[..., self.shortest - 1 :] / means
        return normalised
