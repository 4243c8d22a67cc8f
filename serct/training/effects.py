"""Audio effects on a batch of clips, each by values of its own, on the device.

Shapes: B batch, M samples, R samples of an impulse response, F frequencies, T frames.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

_TELEPHONE_HZ = (300.0, 3400.0)
# 14-bit speech in 8 bits, as telephone networks send it.
_MU = 255.0
_VOCODER_WINDOW_S = 0.032
_EPSILON = 1e-8


def change_speed(
    waveforms: Tensor, num_valid: Tensor, factors: Tensor, largest: float
) -> tuple[Tensor, Tensor]:
    """Play faster or slower: tempo, pitch and formants change together.

    Args:
        waveforms: [B, M]
        num_valid: [B]
        factors: Above 1 is faster; at least 1 / ``largest``. [B]
        largest: How much longer the result may be than M.

    Returns:
        Waveforms of ``ceil(M * largest)`` samples and their valid lengths, at least 1.

    Source:
        Ko et al., Audio augmentation for speech recognition, Interspeech 2015.
    """
    num_samples = math.ceil(waveforms.shape[1] * largest)
    num_valid = (num_valid / factors).long().clamp(1, num_samples)
    places = torch.arange(num_samples, device=waveforms.device) * factors[:, None]
    return _cut(_interpolate(waveforms, places), num_valid), num_valid


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
    size = 2 ** round(math.log2(_VOCODER_WINDOW_S * sample_rate_hz))
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
    return _cut(_interpolate(stretched, places + size * factors[:, None]), num_valid)


def reverberate(
    waveforms: Tensor,
    num_valid: Tensor,
    decay_s: Tensor,
    direct_db: Tensor,
    num_taps: int,
    sample_rate_hz: int,
) -> Tensor:
    """Add a room: exponentially decaying noise behind the direct sound.

    Args:
        waveforms: [B, M]
        num_valid: [B]
        decay_s: Until the room is 60 dB softer. [B]
        direct_db: The direct sound's energy over all the rest's. [B]
        num_taps: R, how much of the room is kept.
        sample_rate_hz: Of the waveforms.

    Returns:
        What is heard while the voice speaks. [B, M]

    Source:
        Polack, La transmission de l'énergie sonore dans les salles, 1988: the statistical model.
    """
    seconds = torch.arange(1, num_taps + 1, device=waveforms.device) / sample_rate_hz
    room = torch.randn(len(waveforms), num_taps, device=waveforms.device)
    room = room * 10 ** (-3 * seconds / decay_s[:, None])
    room = room / room.norm(dim=1, keepdim=True) * 10 ** (-direct_db / 20)[:, None]
    size = _fast_size(waveforms.shape[1] + num_taps + 1)
    response = functional.pad(room, (1, 0))
    echoes = torch.fft.irfft(torch.fft.rfft(waveforms, size) * torch.fft.rfft(response, size), size)
    return _cut(waveforms + echoes[:, : waveforms.shape[1]], num_valid)


def add_noise(waveforms: Tensor, num_valid: Tensor, snr_db: Tensor) -> Tensor:
    """Add noise whose colour is drawn between white and brown.

    Args:
        waveforms: [B, M]
        num_valid: [B]
        snr_db: Energy of the clip over that of the noise. [B]

    Returns:
        [B, M]
    """
    white = torch.randn(len(waveforms), _fast_size(waveforms.shape[1]), device=waveforms.device)
    spectrum = torch.fft.rfft(white)
    frequencies = torch.arange(1, spectrum.shape[1] + 1, device=waveforms.device)
    colour = torch.rand(len(waveforms), 1, device=waveforms.device)
    noise = torch.fft.irfft(spectrum * frequencies**-colour)[:, : waveforms.shape[1]]
    noise = _cut(noise, num_valid)
    wanted = _level(waveforms, num_valid) * 10 ** (-snr_db / 20)
    return waveforms + noise * (wanted / (_level(noise, num_valid) + _EPSILON))[:, None]


def telephone(waveforms: Tensor, num_valid: Tensor, sample_rate_hz: int) -> Tensor:
    """Send clips over a telephone: 300 to 3,400 Hz, and 8 bits by the mu-law. [B, M] -> [B, M].

    Source:
        ITU-T G.711 (mu-law) and G.712 (band).
    """
    size = _fast_size(waveforms.shape[1])
    frequencies = torch.fft.rfftfreq(size, 1 / sample_rate_hz, device=waveforms.device)
    low, high = _TELEPHONE_HZ
    band = ((frequencies >= low) & (frequencies <= high)).float()
    narrow = torch.fft.irfft(torch.fft.rfft(waveforms, size) * band, size)
    narrow = narrow[:, : waveforms.shape[1]]
    # The line is driven as far as it goes, whatever the clip's own level.
    peak = narrow.abs().amax(dim=1, keepdim=True) + _EPSILON
    scaled = narrow / peak
    coded = scaled.sign() * torch.log1p(_MU * scaled.abs()) / math.log1p(_MU)
    coded = (coded * 127).round() / 127
    decoded = coded.sign() * torch.expm1(coded.abs() * math.log1p(_MU)) / _MU
    return _cut(decoded * peak, num_valid)


def delay(
    waveforms: Tensor, num_valid: Tensor, shifts: Tensor, largest: int
) -> tuple[Tensor, Tensor]:
    """Put silence before clips.

    Args:
        waveforms: [B, M]
        num_valid: [B]
        shifts: Samples, 0..``largest``. int64 [B]
        largest: By how much M grows.

    Returns:
        Waveforms of M + ``largest`` samples, and their valid lengths.
    """
    places = torch.arange(waveforms.shape[1] + largest, device=waveforms.device) - shifts[:, None]
    moved = functional.pad(waveforms, (0, largest)).gather(1, places.clamp(min=0))
    return moved * (places >= 0), num_valid + shifts


def _cut(waveforms: Tensor, num_valid: Tensor) -> Tensor:
    """Set what lies behind each clip to zero. [B, M], [B] -> [B, M]."""
    steps = torch.arange(waveforms.shape[1], device=waveforms.device)
    return waveforms * (steps < num_valid[:, None])


def _level(waveforms: Tensor, num_valid: Tensor) -> Tensor:
    """Root mean square of each clip. [B, M], [B] -> [B]."""
    return (waveforms.square().sum(dim=1) / num_valid).sqrt()


def _interpolate(waveforms: Tensor, places: Tensor) -> Tensor:
    """Read waveforms between their samples, along cubics through four neighbours.

    Args:
        waveforms: [B, M]
        places: In samples, at least 0; behind the end the last sample goes on. [B, L]

    Returns:
        [B, L]

    Source:
        Catmull & Rom, A class of local interpolating splines, 1974.
    """
    first = places.floor()
    share = places - first
    index = first.long()
    last = waveforms.shape[1] - 1
    a, b, c, d = (waveforms.gather(1, (index + step).clamp(0, last)) for step in (-1, 0, 1, 2))
    slope = c - a
    bend = 2 * a - 5 * b + 4 * c - d
    twist = 3 * (b - c) + d - a
    return b + 0.5 * share * (slope + share * (bend + share * twist))


def _overlap_add(spectra: Tensor, window: Tensor, hop: int) -> Tensor:
    """Turn frames back into samples; inverts a STFT without centring. [B, F, T] -> [B, L]."""
    frames = torch.fft.irfft(spectra, len(window), dim=1) * window[:, None]  # [B, size, T]
    num_samples = (frames.shape[2] - 1) * hop + len(window)

    def fold(parts: Tensor) -> Tensor:
        return functional.fold(
            parts, (1, num_samples), kernel_size=(1, len(window)), stride=(1, hop)
        )[:, 0, 0]

    weight = fold(window.square()[None, :, None].expand(1, -1, frames.shape[2]))
    return fold(frames) / weight.clamp(min=_EPSILON)


def _fast_size(num_samples: int) -> int:
    """The next power of two, which Fourier transforms are fast for."""
    return 1 << math.ceil(math.log2(num_samples))
