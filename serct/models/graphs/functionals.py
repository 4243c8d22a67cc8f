"""The features of `functionals_lda` as a module of torch.

Shapes: B batch, M samples of a cut row, T frames, F frequencies, C contours.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from serct.models.classical import spectra
from serct.models.graphs.clips import (
    MelDecibels,
    NeutralClip,
    PowerSpectrum,
    decibels,
    mean_and_spread,
    quantiles,
)
from serct.models.graphs.pitch import Yin


@dataclass(frozen=True)
class Measures:
    """What decides the functionals besides the spectrum; see `serct.models.functionals_lda`."""

    hop_s: float
    quantiles: tuple[float, ...]
    pitches_hz: tuple[float, float]
    fewest_voiced: int
    voiced_range_db: float
    course_degree: int
    modulation_hz: tuple[float, ...]
    num_modulated: int
    tiny: float


class Functionals(nn.Module):
    """Functionals of timbre, pitch, energy and rhythm over a clip."""

    def __init__(
        self,
        clip: NeutralClip,
        spectrum: PowerSpectrum,
        bands: MelDecibels,
        yin: Yin,
        hertz: np.ndarray,
        measures: Measures,
    ) -> None:
        """Put the steps together; ``hertz`` are the spectrum's frequencies, float64 [F]."""
        super().__init__()
        self.clip, self.spectrum, self.bands, self.yin = clip, spectrum, bands, yin
        self.measures = measures
        self.register_buffer("hertz", torch.from_numpy(hertz))
        most_frames = spectrum.frames.count(len(clip.get_buffer("noise")))
        self.modulation = Modulation(most_frames, measures)

    def forward(self, waveforms: Tensor, num_valid: Tensor) -> Tensor:
        """Compute features. float32 [B, M], int64 [B] -> float64 [B, number of features]."""
        clips, lengths = self.clip(waveforms, num_valid)
        power = self.spectrum(clips)  # [B, T, F]
        counts, is_frame = self.spectrum.frames.mask(power.shape[1], lengths)
        bands = self.bands(power, is_frame)  # [B, C, T]
        energies = decibels(power.mean(dim=2), is_frame)  # [B, T]
        pitches, num_voiced, is_voiced = self._pitches(clips, lengths, energies)
        loudest = torch.where(is_frame, energies, -torch.inf).amax(dim=1, keepdim=True)
        energies = (energies - loudest)[:, None]
        flux = bands.diff(dim=2).square().mean(dim=1, keepdim=True).sqrt()
        timbre = torch.cat((bands, energies, self._shapes(power)), dim=1)
        of_frames = self._summarise(timbre, is_frame, counts)  # [B, 10, C + 4]
        num_mels = bands.shape[1]
        is_pitch = _first(pitches, num_voiced)
        parts = [
            of_frames[:, :, :num_mels].flatten(1),
            self._without_median(self._summarise(pitches, is_pitch, num_voiced)[..., 0]),
            of_frames[:, :, num_mels],
            self._summarise(flux, _first(flux, counts - 1), counts - 1).flatten(1),
            of_frames[:, :, num_mels + 1 :].transpose(1, 2).flatten(1),
            self._course(pitches[:, 0], is_pitch, num_voiced),
            self._course(energies[:, 0], is_frame, counts),
            self._rhythm(is_voiced, counts),
            self.modulation(bands, is_frame, counts),
        ]
        return torch.cat(parts, dim=1)

    def _shapes(self, power: Tensor) -> Tensor:
        """Compute centroid, roll-off and flatness, see `spectra`. [B, T, F] -> [B, 3, T]."""
        hertz, magnitudes = self.get_buffer("hertz"), power.sqrt()
        totals = magnitudes.sum(dim=2)
        is_silent = totals < np.finfo(np.float64).tiny
        centroid = (magnitudes * hertz).sum(dim=2) / torch.where(is_silent, 1.0, totals)
        sums = magnitudes.cumsum(dim=2)
        places = torch.arange(len(hertz), device=power.device)
        reached = sums >= spectra.ROLLOFF * sums[..., -1:]
        first = torch.where(reached, places, len(hertz) - 1).amin(dim=2)
        heard = power.clamp(min=spectra.SILENCE)
        flatness = heard.log().mean(dim=2).exp() / heard.mean(dim=2)
        logs = _log_above(flatness, self.measures.tiny)
        return torch.stack((centroid, hertz[first], logs), dim=1)

    def _pitches(
        self, clips: Tensor, lengths: Tensor, energies: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute pitches in semitones above the median, in front of each row.

        Returns:
            [B, 1, T or more], how many they are, [B], and which frames are voiced, bool [B, T].
        """
        measures, hop = self.measures, self.yin.frames.hop
        _, is_frame = self.spectrum.frames.mask(energies.shape[1], lengths)
        is_pitched = _first(energies[:, None], lengths // hop + 1) & is_frame
        loudest = torch.where(is_pitched, energies, -torch.inf).amax(dim=1, keepdim=True)
        lowest, highest = measures.pitches_hz
        hertz = self.yin(clips)[:, : energies.shape[1]]
        is_voiced = is_pitched & (energies > loudest - measures.voiced_range_db)
        is_voiced = is_voiced & (hertz > lowest) & (hertz < highest)
        counts = is_voiced.sum(dim=1)
        places = torch.arange(energies.shape[1], device=clips.device)
        order = torch.where(is_voiced, places, places + energies.shape[1]).argsort(dim=1)
        semitones = hertz.log().gather(1, order) * (12 / math.log(2))
        # Room for a constant pitch in clips of fewer frames.
        room = semitones.new_zeros(1, measures.fewest_voiced).expand(energies.shape[0], -1)
        semitones = torch.cat((semitones, room), dim=1)[:, None]  # [B, 1, T + room]
        median = quantiles(semitones, _first(semitones, counts), counts.clamp(min=1), (0.5,))
        is_few = counts < measures.fewest_voiced
        semitones = torch.where(is_few[:, None, None], 0.0, semitones - median)
        return semitones, torch.where(is_few, measures.fewest_voiced, counts), is_voiced

    def _summarise(self, contours: Tensor, is_frame: Tensor, counts: Tensor) -> Tensor:
        """Summarise contours over time. [B, C, T], bool [B, T], [B] -> [B, 10, C]."""
        found = quantiles(contours, is_frame, counts, self.measures.quantiles)
        steps = torch.cat((contours.diff(dim=2), torch.zeros_like(contours[..., :1])), dim=2)
        # The last step of a clip, to what lies behind it, is none.
        steps = torch.where(_first(contours, counts - 1)[:, None], steps, 0.0)
        sizes, _ = mean_and_spread(steps.abs(), is_frame, counts)
        _, spread = mean_and_spread(steps, is_frame, counts)
        moments = torch.stack(mean_and_spread(contours, is_frame, counts), dim=1)
        width = found[:, -1:] - found[:, :1]
        return torch.cat((moments, found, width, sizes[:, None], spread[:, None]), dim=1)

    def _without_median(self, functionals: Tensor) -> Tensor:
        """Set the median to 0, which that of contours relative to it is, but for rounding."""
        is_median = torch.arange(functionals.shape[1]) == 2 + self.measures.quantiles.index(0.5)
        return torch.where(is_median.to(functionals.device), 0.0, functionals)

    def _course(self, contour: Tensor, is_frame: Tensor, counts: Tensor) -> Tensor:
        """Compute slope, arch and wave, and how fast it rises and falls. [B, T] -> [B, 5].

        The least squares of Legendre polynomials, by making them orthogonal over the clip.
        """
        weights = is_frame.to(contour.dtype)
        places = torch.arange(contour.shape[1], device=contour.device)
        time = -1 + 2 * places / (counts - 1)[:, None]
        legendre = [weights, time * weights]
        for n in range(1, self.measures.course_degree):
            legendre.append(((2 * n + 1) * time * legendre[n] - n * legendre[n - 1]) / (n + 1))
        orthogonal: list[Tensor] = []
        shares: list[list[Tensor]] = []
        coefficients = []
        for polynomial in legendre:
            left, own = polynomial, []
            for other in orthogonal:
                share = _dot(left, other) / _dot(other, other)
                left = left - share * other
                own.append(share)
            shares.append(own)
            orthogonal.append(left)
            coefficients.append(_dot(contour * weights, left) / _dot(left, left))
        # From the orthogonal polynomials back to Legendre's, the last one first.
        for place in reversed(range(len(coefficients))):
            for lower, share in enumerate(shares[place]):
                coefficients[lower] = coefficients[lower] - share * coefficients[place]
        is_step = _first(contour, counts - 1)[:, :-1]
        changes = torch.where(is_step, contour.diff(dim=1), 0.0)
        num_steps = (counts - 1)[:, None]
        rises = changes.clamp(min=0).sum(dim=1, keepdim=True) / num_steps
        falls = (-changes).clamp(min=0).sum(dim=1, keepdim=True) / num_steps
        return torch.cat((*coefficients[1:], rises, falls), dim=1)

    def _rhythm(self, is_voiced: Tensor, counts: Tensor) -> Tensor:
        """Compute share, rate, mean length and spread of stretches. bool [B, T] -> [B, 4]."""
        voiced = is_voiced.double()
        hop_s = self.measures.hop_s
        before = torch.cat((torch.zeros_like(voiced[:, :1]), voiced[:, :-1]), dim=1)
        numbers = (voiced * (1 - before)).cumsum(dim=1)  # 1, 2, ... of the stretches
        num_stretches = numbers[:, -1]
        lengths = torch.zeros_like(voiced).scatter_add(1, (numbers.long() - 1).clamp(min=0), voiced)
        divisor = num_stretches.clamp(min=1)
        mean = voiced.sum(dim=1) / divisor
        is_stretch = _first(voiced, num_stretches)
        squares = torch.where(is_stretch, lengths - mean[:, None], 0.0).square()
        spread = (squares.sum(dim=1) / divisor).sqrt()
        rate = num_stretches / (counts * hop_s)
        return torch.stack((voiced.sum(dim=1) / counts, rate, mean * hop_s, spread * hop_s), dim=1)


class Modulation(nn.Module):
    """How strongly groups of bands swell and fade, by speed."""

    def __init__(self, most_frames: int, measures: Measures) -> None:
        """Take clips of up to so many frames."""
        super().__init__()
        self.measures = measures
        size, self.sizes = 512, [512]
        while size < most_frames:
            size *= 2
            self.sizes.append(size)
        limits = measures.modulation_hz
        for size in self.sizes:
            speeds = np.fft.rfftfreq(size, measures.hop_s)
            bins = np.flatnonzero((speeds >= limits[0]) & (speeds < limits[-1]))
            turns = np.arange(min(size, most_frames))[:, None] * bins % size * (2 * np.pi / size)
            ranges = np.array(
                [(speeds[bins] >= a) & (speeds[bins] < b) for a, b in pairwise(limits)]
            )
            means = ranges / ranges.sum(axis=1, keepdims=True)
            waves = np.stack((np.cos(turns), np.sin(turns)))
            self.register_buffer(f"waves_{size}", torch.from_numpy(waves).float())
            self.register_buffer(f"means_{size}", torch.from_numpy(means.T.copy()))

    def forward(self, bands: Tensor, is_frame: Tensor, counts: Tensor) -> Tensor:
        """Compute them. [B, C, T], bool [B, T], [B] -> [B, groups * ranges]."""
        parts = torch.tensor_split(bands, self.measures.num_modulated, dim=1)
        groups = torch.stack([part.mean(dim=1) for part in parts], dim=1)  # [B, groups, T]
        mean, _ = mean_and_spread(groups, is_frame, counts)
        swelling = torch.where(is_frame[:, None], groups - mean[..., None], 0.0)
        found = swelling.new_zeros(())
        for place, size in enumerate(self.sizes):
            smaller = self.sizes[place - 1] if place else 0
            is_size = (counts > smaller) & (counts <= size)
            fitting = swelling[..., :size] * is_size[:, None, None]
            waves = self.get_buffer(f"waves_{size}")[:, : fitting.shape[2]].double()
            spectrum = (fitting @ waves[0]).square() + (fitting @ waves[1]).square()
            spectrum = spectrum / counts[:, None, None]
            found = found + spectrum @ self.get_buffer(f"means_{size}")
        strengths = found.transpose(1, 2).flatten(1)
        return _log_above(strengths, self.measures.tiny)


def _log_above(values: Tensor, tiny: float) -> Tensor:
    """Compute the logarithm of values and a tiny one; exporters to ONNX drop such a term."""
    return (values / tiny + 1).log() + math.log(tiny)


def _first(contours: Tensor, counts: Tensor) -> Tensor:
    """Return which frames are the first so many. [B, C, T], [B] -> bool [B, T]."""
    return torch.arange(contours.shape[-1], device=contours.device) < counts[:, None]


def _dot(first: Tensor, second: Tensor) -> Tensor:
    """Multiply clip by clip. [B, T] twice -> [B, 1]."""
    return (first * second).sum(dim=1, keepdim=True)
