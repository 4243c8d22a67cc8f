"""The features of `mfcc_svm` as a module of torch.

Shapes: B batch, M samples of a cut row, T frames, C coefficients, F features.
"""

import numpy as np
import torch
from torch import Tensor, nn

from serct.models.graphs.clips import (
    MelDecibels,
    NeutralClip,
    PowerSpectrum,
    mean_and_spread,
    quantiles,
)


class CepstralStatistics(nn.Module):
    """Mean, spread and quantiles of cepstral coefficients, and mean and spread of their changes."""

    def __init__(
        self,
        clip: NeutralClip,
        spectrum: PowerSpectrum,
        bands: MelDecibels,
        transform: np.ndarray,
        slopes: np.ndarray,
        wanted: tuple[float, ...],
    ) -> None:
        """Put the steps together.

        Args:
            clip: Makes clips neutral.
            spectrum: Of the neutral clips.
            bands: Of the spectrum.
            transform: Coefficients of the bands' decibels. float64 [C, bands]
            slopes: Weights of a frame's neighbours, and of itself, in each change; an odd number
                of them, from before to behind. float64 [changes, frames]
            wanted: Quantiles, 0..1.
        """
        super().__init__()
        self.clip, self.spectrum, self.bands, self.wanted = clip, spectrum, bands, wanted
        self.slopes = slopes.tolist()
        self.register_buffer("transform", torch.from_numpy(transform))

    def forward(self, waveforms: Tensor, num_valid: Tensor) -> Tensor:
        """Compute features. float32 [B, M], int64 [B] -> float64 [B, F]."""
        clips, lengths = self.clip(waveforms, num_valid)
        power = self.spectrum(clips)
        counts, is_frame = self.spectrum.frames.mask(power.shape[1], lengths)
        coefficients = self.get_buffer("transform") @ self.bands(power, is_frame)  # [B, C, T]
        moments = [
            moment
            for contours in (coefficients, *self._changes(coefficients, counts))
            for moment in mean_and_spread(contours, is_frame, counts)
        ]
        found = quantiles(coefficients, is_frame, counts, self.wanted)
        return torch.cat([*moments, found.flatten(1)], dim=1)

    def _changes(self, contours: Tensor, counts: Tensor) -> list[Tensor]:
        """Compute changes from frame to frame; the first and last frames go on. [B, C, T] each."""
        num_frames, reach = contours.shape[2], len(self.slopes[0]) // 2
        places = torch.arange(-reach, num_frames + reach, device=contours.device).clamp(min=0)
        places = places.minimum(counts[:, None] - 1)  # [B, T + 2 reach]
        lasting = contours.gather(2, places[:, None].expand(-1, contours.shape[1], -1))
        found = []
        for weights in self.slopes:
            change = torch.zeros_like(contours)
            for step, weight in enumerate(weights):
                change = change + weight * lasting[:, :, step : step + num_frames]
            found.append(change)
        return found
