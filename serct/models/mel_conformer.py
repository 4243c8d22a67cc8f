"""`mel_conformer`: a neutral log-mel spectrogram, 2-D convolutions, a small Conformer.

Shapes: B batch, M samples of a cut row, C mel bands, S channels, T frames, D width, K emotions.
"""

from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from serct.config.section import Positive, PositiveInt, Probability
from serct.errors import ParamsError
from serct.models.interface import TorchParams
from serct.models.layers.conformer import AttentivePooling, ConformerBlock, valid_frames
from serct.models.layers.log_mel import LogMel
from serct.models.layers.neutral import without_zeros_behind
from serct.runtime import distributed

_KERNEL = 3


class MelConformerParams(TorchParams):
    """A neutral log-mel spectrogram, 2-D convolutions and a small Conformer."""

    architecture: Literal["mel_conformer"]
    num_mels: PositiveInt
    window_ms: Positive
    hop_ms: Positive
    noise_floor_db: Annotated[float, Field(lt=0)]
    remove_average: bool
    channels: Annotated[tuple[PositiveInt, ...], Field(min_length=2)]
    width: PositiveInt
    num_layers: Annotated[int, Field(ge=0)]
    num_heads: PositiveInt
    kernel_frames: PositiveInt
    dropout: Probability
    classifier_dropout: Probability
    num_masks: Annotated[int, Field(ge=0)]
    mask_mels: PositiveInt
    mask_ms: Positive

    masks_padding: ClassVar[bool] = True

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.width % self.num_heads:
            raise ValueError(f"width {self.width} must be a multiple of num_heads {self.num_heads}")
        if self.mask_mels > self.num_mels:
            raise ValueError("mask_mels must not exceed num_mels")
        if self.hop_ms > self.window_ms:
            raise ValueError("hop_ms must not exceed window_ms")
        return self

    def build(self, num_samples: int, sample_rate_hz: int, num_emotions: int) -> nn.Module:
        """See `TorchParams.build`."""
        return MelConformer(self, num_samples, sample_rate_hz, num_emotions)


class MelConformer(nn.Module):
    """Waveforms in, one logit an emotion out; padding is masked in every step.

    Convolutions over bands and time read pitch contours and formants wherever they lie; Conformer
    blocks relate the frames; attentive statistics, a weighted mean and spread, make one vector of
    them. Evaluation of a clip depends neither on zeros behind it nor on its neighbours in a batch.

    Source:
        Gulati et al., Conformer, Interspeech 2020; Okabe et al., Attentive statistics pooling,
        Interspeech 2018; Park et al., SpecAugment, Interspeech 2019. Not in the thesis.
    """

    def __init__(
        self, params: MelConformerParams, num_samples: int, sample_rate_hz: int, num_emotions: int
    ) -> None:
        """See `TorchParams.build`; rows of any length are read as far as their clips go.

        Raises:
            ParamsError: If the sample rate is too low for the spectrogram's bands.
        """
        super().__init__()
        self.spectrogram = LogMel(
            params.num_mels, params.window_ms, params.hop_ms, params.noise_floor_db,
            params.remove_average, sample_rate_hz,
        )  # fmt: skip
        bands = self.spectrogram.get_buffer("bands")
        if bool((bands.sum(dim=1) == 0).any()):
            raise ParamsError(
                f"num_mels is {params.num_mels}, but at {sample_rate_hz} Hz with windows of "
                f"{params.window_ms} ms some bands are empty: expected fewer, or longer windows"
            )
        self.masking = SpectrogramMasking(
            params.num_masks, params.mask_mels, round(params.mask_ms / params.hop_ms)
        )
        self.num_samples = num_samples
        first, *others = params.channels
        # Bands are halved by every stage, frames by the first two.
        self.stem = Stage(1, first, stride=(2, 2))
        self.stages = nn.ModuleList()
        for index, (before, behind) in enumerate(zip(params.channels, others, strict=False)):
            self.stages.append(Stage(before, behind, stride=(2, 2 if index == 0 else 1)))
        num_bands = -(-params.num_mels // 2 ** len(params.channels))
        self.projection = nn.Linear(params.channels[-1] * num_bands, params.width)
        self.blocks = nn.ModuleList(
            ConformerBlock(params.width, params.num_heads, params.kernel_frames, params.dropout)
            for _ in range(params.num_layers)
        )
        self.pooling = AttentivePooling(params.width)
        self.classifier = nn.Sequential(
            nn.LayerNorm(2 * params.width),
            nn.Dropout(params.classifier_dropout),
            nn.Linear(2 * params.width, num_emotions),
        )
        # Convolutions are an eighth faster so on a CPU.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, waveforms: Tensor, num_valid: Tensor) -> Tensor:
        """Score waveforms, see `TorchParams.build`."""
        num_valid = without_zeros_behind(waveforms, num_valid)
        features = self.spectrogram(waveforms, num_valid)
        num_frames = self.spectrogram.num_frames(num_valid)
        if self.training:
            features = self.masking(features, num_frames)
        maps = features[:, None]  # [B, S, C, T]
        for stage in (self.stem, *self.stages):
            maps, num_frames = stage(maps, num_frames)
        frames = self.projection(maps.flatten(1, 2).transpose(1, 2))  # [B, T, D]
        for block in self.blocks:
            frames = block(frames, num_frames)
        logits: Tensor = self.classifier(self.pooling(frames, num_frames))
        return logits


class SpectrogramMasking(nn.Module):
    """Hides bands and stretches of time from the model in training."""

    def __init__(self, num_masks: int, most_bands: int, most_frames: int) -> None:
        """Build it: so many masks of each kind, each of at most so many bands or frames."""
        super().__init__()
        self.num_masks = num_masks
        self.most_bands = most_bands
        self.most_frames = most_frames

    def forward(self, features: Tensor, num_frames: Tensor) -> Tensor:
        """Set what is hidden to zero, the average. [B, C, T], [B] -> [B, C, T]."""
        num_bands = torch.full_like(num_frames, features.shape[1])
        for _ in range(self.num_masks):
            hidden = _draw_span(features.shape[1], num_bands, self.most_bands)
            features = features.masked_fill(hidden[:, :, None], 0.0)
            hidden = _draw_span(features.shape[2], num_frames, self.most_frames)
            features = features.masked_fill(hidden[:, None], 0.0)
        return features


def _draw_span(size: int, num_valid: Tensor, most: int) -> Tensor:
    """Draw a span of 0..``most`` places within the valid ones of each clip. bool [B, size]."""
    draws = torch.rand(2, len(num_valid), device=num_valid.device)
    length = (draws[0] * (most + 1)).long().minimum(num_valid)
    start = (draws[1] * (num_valid - length + 1)).long()
    places = torch.arange(size, device=num_valid.device)
    return (places >= start[:, None]) & (places < (start + length)[:, None])


class Stage(nn.Module):
    """A strided convolution, then a residual one, each with batch norm; padding stays zero."""

    def __init__(self, channels_in: int, channels: int, stride: tuple[int, int]) -> None:
        """Build it; ``stride`` is over bands and frames."""
        super().__init__()
        self.stride = stride
        self.down = nn.Conv2d(channels_in, channels, _KERNEL, stride, _KERNEL // 2, bias=False)
        self.down_norm = MaskedBatchNorm(channels)
        self.inner = nn.Conv2d(channels, channels, _KERNEL, 1, _KERNEL // 2, bias=False)
        self.inner_norm = MaskedBatchNorm(channels)
        self.outer = nn.Conv2d(channels, channels, _KERNEL, 1, _KERNEL // 2, bias=False)
        self.outer_norm = MaskedBatchNorm(channels)

    def forward(self, maps: Tensor, num_frames: Tensor) -> tuple[Tensor, Tensor]:
        """Halve and refine. [B, S, C, T], [B] -> [B, S', C', T'], [B]."""
        num_frames = (num_frames + self.stride[1] - 1) // self.stride[1]
        maps = self.down(maps)
        is_valid = valid_frames(maps.shape[3], num_frames)[:, None, None]
        maps = self.down_norm(maps, is_valid).relu()
        refined = self.inner_norm(self.inner(maps), is_valid).relu()
        refined = self.outer_norm(self.outer(refined), is_valid)
        return (maps + refined).relu(), num_frames


class MaskedBatchNorm(nn.BatchNorm2d):
    """Batch norm whose statistics leave padding out, and which keeps padding zero.

    Otherwise they would depend on how far rows happen to be padded. They are those of the whole
    batch, also where several processes divide it.
    """

    def forward(self, maps: Tensor, is_valid: Tensor) -> Tensor:  # type: ignore[override]
        """Normalise. [B, S, C, T], bool [B, 1, 1, T] -> [B, S, C, T]."""
        assert self.running_mean is not None and self.running_var is not None  # noqa: PT018, S101
        if not self.training:
            return super().forward(maps) * is_valid
        valid = maps.float() * is_valid
        count = distributed.total(is_valid.sum() * maps.shape[2])
        sums = torch.stack((valid.sum(dim=(0, 2, 3)), valid.square().sum(dim=(0, 2, 3))))
        mean, mean_square = (distributed.total_with_gradient(sums) / count).unbind()
        variance = (mean_square - mean.square()).clamp(min=0)
        with torch.no_grad():
            unbiased = variance * (count / (count - 1).clamp(min=1))
            self.running_mean.lerp_(mean, self.momentum or 0.0)
            self.running_var.lerp_(unbiased, self.momentum or 0.0)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * scale
        return (valid * scale[:, None, None] + shift[:, None, None]) * is_valid
