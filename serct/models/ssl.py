"""`ssl`: an encoder that learned from unlabelled speech, and a small head.

Shapes: B batch, M samples of a cut row, L layers, T frames, D width, K emotions.
"""

import json
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from serct.config.section import PositiveInt, Probability
from serct.errors import BackendUnavailableError, ParamsError
from serct.models.interface import TorchParams

# What such encoders are trained on.
_RATE_HZ = 16_000
_EPSILON = 1e-7


class SslParams(TorchParams):
    """An encoder pretrained on unlabelled speech, from a folder, and a small head."""

    architecture: Literal["ssl"]
    encoder: str
    freeze: bool
    hidden: PositiveInt
    dropout: Probability

    @property
    def masks_padding(self) -> bool:
        """Whether the encoder takes a mask; False as well where its folder cannot be read."""
        try:
            config = json.loads((_folder(self.encoder) / "config.json").read_text("utf-8"))
        except (OSError, ValueError):
            return False
        return bool(config.get("feat_extract_norm") == "layer")

    def build(self, num_samples: int, sample_rate_hz: int, num_emotions: int) -> nn.Module:
        """See `TorchParams.build`."""
        return Ssl(self, num_samples, sample_rate_hz, num_emotions)


class Ssl(nn.Module):
    """A wav2vec 2.0, HuBERT or WavLM encoder from a folder, pooled and classified.

    The hidden states of all layers are added with learned weights, averaged over the clip's frames,
    and classified. A frozen encoder stays in evaluation mode. Nothing is downloaded, no code of the
    folder is run, and only weights in safetensors are read.

    Source:
        Yang et al., SUPERB, Interspeech 2021, section 3 (weighted sum, frozen encoder, mean).
    """

    def __init__(
        self, params: SslParams, num_samples: int, sample_rate_hz: int, num_emotions: int
    ) -> None:
        """Build the head with random weights around the folder's encoder.

        Rows of any length are read as far as their clips go, see `TorchParams.build`.

        Raises:
            ParamsError: If the rate is not 16,000 Hz, or the folder holds no such encoder.
            BackendUnavailableError: If the package transformers is not installed.
        """
        super().__init__()
        if sample_rate_hz != _RATE_HZ:
            raise ParamsError(f"ssl needs audio.sample_rate {_RATE_HZ}, found {sample_rate_hz}")
        self.num_samples = num_samples
        self.is_frozen = params.freeze
        self.encoder = _read_encoder(params.encoder)
        self.encoder.requires_grad_(not params.freeze)
        config = self.encoder.config
        # The encoders with group norm never saw a mask: they take padding as zeros.
        self.takes_mask = config.feat_extract_norm == "layer"
        self.layer_scores = nn.Parameter(torch.zeros(config.num_hidden_layers + 1))
        self.head = nn.Sequential(
            nn.Linear(config.hidden_size, params.hidden),
            nn.ReLU(),
            nn.Dropout(params.dropout),
            nn.Linear(params.hidden, num_emotions),
        )

    def train(self, mode: bool = True) -> "Ssl":
        """Switch the mode; a frozen encoder stays in evaluation."""
        super().train(mode)
        self.encoder.train(mode and not self.is_frozen)
        return self

    def forward(self, waveforms: Tensor, num_valid: Tensor) -> Tensor:
        """Score waveforms, see `TorchParams.build`."""
        shortest = self._shortest()
        waveforms = nn.functional.pad(waveforms, (0, max(0, shortest - waveforms.shape[1])))
        steps = torch.arange(waveforms.shape[1], device=waveforms.device)
        is_valid = steps < num_valid[:, None]
        # As the encoders' own preprocessing: mean 0 and variance 1 over each clip.
        lengths = num_valid[:, None]
        centred = (waveforms - waveforms.sum(1, keepdim=True) / lengths) * is_valid
        variance = centred.square().sum(1, keepdim=True) / lengths
        # A clip too short for a frame gets one all the same, from the zeros behind it.
        num_read = num_valid.clamp(min=shortest)
        mask = (steps < num_read[:, None]).long() if self.takes_mask else None
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.is_frozen):
            states = self.encoder(
                centred * torch.rsqrt(variance + _EPSILON), mask, output_hidden_states=True
            ).hidden_states
        layers = torch.stack(states)  # [L, B, T, D]
        weights = self.layer_scores.softmax(dim=0)
        frames = (layers * weights[:, None, None, None]).sum(dim=0)
        num_frames = self._num_frames(num_read)
        places = torch.arange(frames.shape[1], device=frames.device)
        is_frame = (places < num_frames[:, None])[..., None]
        logits: Tensor = self.head((frames * is_frame).sum(dim=1) / num_frames[:, None])
        return logits

    def _num_frames(self, num_samples: Any) -> Any:
        """Count the frames of so many samples, an int or a tensor."""
        config = self.encoder.config
        for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
            num_samples = (num_samples - kernel) // stride + 1
        return num_samples

    def _shortest(self) -> int:
        """Count the samples that one frame needs."""
        config = self.encoder.config
        samples = 1
        layers = zip(config.conv_kernel, config.conv_stride, strict=True)
        for kernel, stride in reversed(list(layers)):
            samples = (samples - 1) * stride + kernel
        return int(samples)


def _folder(encoder: str) -> Path:
    return Path(encoder).expanduser()


def _read_encoder(folder: str) -> Any:
    try:
        from transformers import AutoModel
    except ImportError as error:
        raise BackendUnavailableError(
            "the architecture ssl needs the package transformers: pip install 'serct[ssl]'"
        ) from error
    path = _folder(folder)
    if not (path / "config.json").is_file():
        raise ParamsError(
            f"encoder is {folder!r}, expected a folder with config.json and model.safetensors, as "
            "save_pretrained writes it"
        )
    try:
        model = AutoModel.from_pretrained(
            path, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise ParamsError(f"encoder {folder!r} cannot be read: {error}") from error
    if not hasattr(model.config, "feat_extract_norm"):
        raise ParamsError(
            f"encoder {folder!r} is a {model.config.model_type}, expected wav2vec2, hubert or wavlm"
        )
    return model
