"""A spectrogram without the level of a clip and the noise floor of its studio.

Shapes: B batch, M samples, T frames, F frequencies, C mel bands.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from serct.models.classical.spectra import mel_triangles

# Below speech: hum and DC stay out.
_LOWEST_HZ = 60.0
_SILENCE = 1e-12


class LogMel(nn.Module):
    """Log energies in mel bands, relative to the clip's own level.

    The mean of the samples is subtracted, energies are divided by the clip's mean energy, and a
    common floor is added to them: so neither gain, DC nor the noise floor gives away the emotion.
    With ``remove_average`` each band's mean over the clip is subtracted too: then neither the
    microphone nor the speaker's long-term spectrum and brightness do.

    Source:
        Davis & Mermelstein, Comparison of parametric representations, 1980; Furui, Cepstral
        analysis technique for automatic speaker verification, 1981 (mean subtraction).
    """

    def __init__(
        self,
        num_bands: int,
        window_ms: float,
        hop_ms: float,
        noise_floor_db: float,
        remove_average: bool,
        sample_rate_hz: int,
    ) -> None:
        """Build it.

        Args:
            num_bands: C.
            window_ms: Length of a frame.
            hop_ms: From one frame to the next.
            noise_floor_db: Of the floor, below the clip's mean energy in a band.
            remove_average: Whether bands have mean 0 over a clip.
            sample_rate_hz: Of the waveforms.
        """
        super().__init__()
        self.hop = round(hop_ms * sample_rate_hz / 1000)
        size = round(window_ms * sample_rate_hz / 1000)
        self.fft_size = 2 ** math.ceil(math.log2(size))
        self.remove_average = remove_average
        self.floor = 10 ** (noise_floor_db / 10)
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        bands = mel_bands(num_bands, self.fft_size, sample_rate_hz)
        self.register_buffer("bands", bands, persistent=False)

    def num_frames(self, num_valid: Tensor) -> Tensor:
        """Count the frames that begin within each clip, at least one. [B] -> [B]."""
        return ((num_valid + self.hop - 1) // self.hop).clamp(min=1)

    def forward(self, waveforms: Tensor, num_valid: Tensor) -> Tensor:
        """Describe waveforms.

        Args:
            waveforms: Zero behind each clip. float32 [B, M]
            num_valid: Samples of each that are not padding, at least 1. int64 [B]

        Returns:
            Zero in frames of padding. float32 [B, C, T]
        """
        with torch.autocast(waveforms.device.type, enabled=False):
            samples = torch.arange(waveforms.shape[1], device=waveforms.device)
            is_spoken = samples < num_valid[:, None]
            mean = waveforms.sum(dim=1) / num_valid
            waveforms = (waveforms - mean[:, None]) * is_spoken
            # Exporters to ONNX round the quotient of a negative number otherwise.
            num_frames = (waveforms.shape[1] + self.hop - 1) // self.hop
            before = (self.fft_size - self.hop) // 2
            behind = (num_frames - 1) * self.hop + self.fft_size - before - waveforms.shape[1]
            padded, window = functional.pad(waveforms, (before, behind)), self.get_buffer("window")
            spectra = torch.stft(
                padded, self.fft_size, self.hop, len(window), window,
                center=False, return_complex=True,
            )  # [B, F, T]  # fmt: skip
            power = spectra.real.square() + spectra.imag.square()
            energies = self.get_buffer("bands") @ power  # [B, C, T]
            valid = self.num_frames(num_valid)[:, None, None]
            frames = torch.arange(num_frames, device=waveforms.device)
            is_valid = frames < valid
            level = (energies.mean(dim=1, keepdim=True) * is_valid).sum(2, keepdim=True) / valid
            # Not a sum: exporters to ONNX drop such a small term.
            logs = (energies / level.clamp(min=_SILENCE) + self.floor).log()
            if self.remove_average:
                logs = logs - (logs * is_valid).sum(dim=2, keepdim=True) / valid
            return logs * is_valid


def mel_bands(num_bands: int, fft_size: int, sample_rate_hz: int) -> Tensor:
    """Triangles of equal area, evenly spaced on the mel scale and overlapping by half.

    Equal areas, so that white noise is as loud in every band. float32 [C, F]

    Source:
        Slaney, Auditory toolbox, 1998: linear below 1 kHz, logarithmic above.

    Example:
        >>> bands = mel_bands(4, 512, 16000)
        >>> tuple(bands.shape), [round(area, 2) for area in (bands.sum(dim=1) * 31.25).tolist()]
        ((4, 257), [1.0, 1.0, 1.0, 1.0])
    """
    triangles, widths = mel_triangles(num_bands, fft_size, sample_rate_hz, _LOWEST_HZ)
    return torch.from_numpy(triangles * 2 / widths).float()
