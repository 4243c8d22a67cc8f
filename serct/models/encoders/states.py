"""The hidden states of an encoder for clips of any length, zeros behind a clip kept out.

Shapes: B batch, M samples of a cut row, L hidden states, T frames, D width, C mel bands.
"""

import threading
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from serct.errors import BackendUnavailableError, ParamsError
from serct.models.classical.spectra import mel_triangles
from serct.models.encoders.params import RATE_HZ

_EPSILON = 1e-7
# Whisper's spectrogram: lengths in samples.
_FFT_SIZE, _HOP = 400, 160
_SILENCE = 1e-10
_RANGE = 8.0  # powers of ten below the clip's loudest
# transformers replaces its own module while it is imported: another thread would miss names in it.
_IMPORTING = threading.Lock()


class HiddenStates(nn.Module, ABC):
    """Runs an encoder of one kind; holds no weights itself.

    Attributes:
        num_states: L.
        width: D.
        hop_samples: From one frame to the next.
        is_exact: Whether zeros behind a clip change nothing.
    """

    num_states: int
    width: int
    hop_samples: int
    is_exact: bool

    @abstractmethod
    def forward(
        self, encoder: nn.Module, waveforms: Tensor, num_valid: Tensor, last: int
    ) -> tuple[Tensor, Tensor]:
        """Compute hidden states.

        Args:
            encoder: Of this kind, see `build_encoder`.
            waveforms: In [-1, 1], zero behind each clip. float32 [B, M]
            num_valid: Samples of each that are not padding, at least 1. int64 [B]
            last: The last hidden state that is wanted; what lies above is not computed.

        Returns:
            The states 0..last, float32 [last + 1, B, T, D]; and how many frames of each clip are
            not padding, at least 1, int64 [B].
        """


class WhisperStates(HiddenStates):
    """Runs the encoder of Whisper on clips of their own length.

    Whisper itself fills every clip up to 30 s, of which short clips are a small part; here frames
    behind a clip are neither computed nor attended to. As in the original, the last state is
    normalised.

    Source:
        Radford et al., Robust speech recognition via large-scale weak supervision, 2022.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.num_states = config.encoder_layers + 1
        self.width = config.d_model
        self.hop_samples = 2 * _HOP
        self.is_exact = True
        self.max_frames = config.max_source_positions
        triangles, widths = mel_triangles(config.num_mel_bins, _FFT_SIZE, RATE_HZ, 0.0)
        bands = torch.from_numpy(triangles * 2 / widths).float()
        self.register_buffer("bands", bands, persistent=False)  # [C, F]
        # A Fourier transform of this length is no slower as a matrix, and far faster in ONNX.
        turns = torch.outer(torch.arange(_FFT_SIZE // 2 + 1), torch.arange(_FFT_SIZE)).double()
        angles = 2 * torch.pi * turns / _FFT_SIZE
        window = torch.hann_window(_FFT_SIZE, dtype=torch.float64)
        waves = torch.cat((angles.cos(), angles.sin())) * window
        self.register_buffer("waves", waves.float()[:, None], persistent=False)  # [2 F, 1, n]

    def forward(
        self, encoder: nn.Module, waveforms: Tensor, num_valid: Tensor, last: int
    ) -> tuple[Tensor, Tensor]:
        """See `HiddenStates.forward`.

        Raises:
            ParamsError: If rows are longer than the encoder has positions for.
        """
        model: Any = encoder
        mel, num_mel = self._log_mel(waveforms, num_valid)
        # Zeros behind a clip are what the convolutions' own padding is to a clip alone.
        is_mel = _within(mel.shape[2], num_mel)[:, None]
        states = functional.gelu(model.conv1(mel * is_mel)) * is_mel
        states = functional.gelu(model.conv2(states)).transpose(1, 2)  # [B, T, D]
        num_frames = (num_mel + 1) // 2
        positions = model.embed_positions.weight[: states.shape[1]]
        if positions.shape[0] < states.shape[1]:
            raise ParamsError(
                f"rows of {states.shape[1] * self.hop_samples / RATE_HZ:g} s, expected at most "
                f"{self.max_frames * self.hop_samples / RATE_HZ:g} s, as long as Whisper hears"
            )
        states = states + positions
        is_frame = _within(states.shape[1], num_frames)
        hidden_from = torch.finfo(states.dtype).min * (~is_frame)[:, None, None].to(states.dtype)
        found = [states]
        for layer in model.layers[:last]:
            states = layer(states, hidden_from.expand(-1, 1, states.shape[1], -1))
            found.append(states)
        if last == self.num_states - 1:
            found[-1] = model.layer_norm(found[-1])
        return torch.stack(found), num_frames

    def _log_mel(self, waveforms: Tensor, num_valid: Tensor) -> tuple[Tensor, Tensor]:
        """Compute Whisper's spectrogram. Returns [B, C, 2 T] and the frames of each clip, [B]."""
        with torch.autocast(waveforms.device.type, enabled=False):
            # No negative numbers: ONNX rounds their quotients otherwise.
            num_frames = (waveforms.shape[1] + _HOP - 1) // _HOP
            behind = num_frames * _HOP - waveforms.shape[1] + _FFT_SIZE // 2
            padded = functional.pad(waveforms, (_FFT_SIZE // 2, behind))
            spectra = functional.conv1d(padded[:, None], self.get_buffer("waves"), stride=_HOP)
            real, imaginary = spectra[..., :num_frames].chunk(2, dim=1)  # [B, F, T] each
            power = real.square() + imaginary.square()
            logs = (self.get_buffer("bands") @ power).clamp(min=_SILENCE).log10()
            num_valid = (num_valid + _HOP - 1) // _HOP
            is_valid = _within(num_frames, num_valid)[:, None]
            loudest = logs.masked_fill(~is_valid, -torch.inf).amax(dim=(1, 2), keepdim=True)
            return (torch.maximum(logs, loudest - _RANGE) + 4) / 4, num_valid


class WaveformStates(HiddenStates):
    """Runs wav2vec 2.0, HuBERT or WavLM, whose encoders begin with convolutions of the waveform.

    Clips get mean 0 and variance 1, as in the encoders' own preprocessing. Those with a group norm
    never learned from masked padding: they take it as silence.

    Source:
        Baevski et al., wav2vec 2.0, 2020; Hsu et al., HuBERT, 2021; Chen et al., WavLM, 2022.
    """

    KINDS: ClassVar[tuple[str, ...]] = ("wav2vec2", "hubert", "wavlm")

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.num_states = config.num_hidden_layers + 1
        self.width = config.hidden_size
        self.layers = list(zip(config.conv_kernel, config.conv_stride, strict=True))
        self.hop_samples = 1
        self.shortest = 1
        for kernel, stride in reversed(self.layers):
            self.hop_samples *= stride
            self.shortest = (self.shortest - 1) * stride + kernel
        self.is_exact = config.feat_extract_norm == "layer"

    def forward(
        self, encoder: nn.Module, waveforms: Tensor, num_valid: Tensor, last: int
    ) -> tuple[Tensor, Tensor]:
        """See `HiddenStates.forward`."""
        waveforms = functional.pad(waveforms, (0, max(0, self.shortest - waveforms.shape[1])))
        is_valid = _within(waveforms.shape[1], num_valid)
        lengths = num_valid[:, None]
        centred = (waveforms - waveforms.sum(1, keepdim=True) / lengths) * is_valid
        variance = centred.square().sum(1, keepdim=True) / lengths
        # A clip too short for a frame gets one all the same, from the zeros behind it.
        num_read = num_valid.clamp(min=self.shortest)
        mask = _within(waveforms.shape[1], num_read).long() if self.is_exact else None
        states = encoder(
            centred * torch.rsqrt(variance + _EPSILON), mask, output_hidden_states=True
        ).hidden_states
        for kernel, stride in self.layers:
            num_read = (num_read - kernel) // stride + 1
        return torch.stack(states[: last + 1]), num_read


def build_states(config: Any) -> HiddenStates:
    """Return what runs an encoder of this configuration.

    Raises:
        ParamsError: If it is of no known kind.
    """
    if config.model_type == "whisper":
        return WhisperStates(config)
    if config.model_type in WaveformStates.KINDS:
        return WaveformStates(config)
    known = ", ".join(("whisper", *WaveformStates.KINDS))
    raise ParamsError(f"the encoder is a {config.model_type}, expected one of: {known}")


def build_encoder(content: dict[str, Any]) -> tuple[nn.Module, HiddenStates]:
    """Build an encoder with random weights, and what runs it.

    Args:
        content: Of its configuration, see `serct.models.encoders.weights.read_config`.

    Raises:
        BackendUnavailableError: If the package transformers is not installed.
        ParamsError: If the configuration is of no known kind, or not usable.
    """
    try:
        with _IMPORTING:
            from transformers import AutoConfig, AutoModel
            from transformers.models.whisper.modeling_whisper import WhisperEncoder
    except ImportError as error:
        raise BackendUnavailableError(
            "a pretrained encoder needs the package transformers: pip install 'serct[encoders]' "
            f"({error})"
        ) from error
    try:
        config: Any = AutoConfig.for_model(**content)
        family: Any = AutoModel
        states = build_states(config)
        is_whisper = config.model_type == "whisper"
        encoder = WhisperEncoder(config) if is_whisper else family.from_config(config)
        return encoder, states
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ParamsError(f"configuration of an encoder: {error}") from error


def _within(length: int, num_valid: Tensor) -> Tensor:
    """Return which of ``length`` places lie within each clip. [B] -> bool [B, length]."""
    return torch.arange(length, device=num_valid.device) < num_valid[:, None]
