"""Strided convolutions that turn a waveform into frames.

Shapes: B batch, N samples, C channels, T frames, D channels of the last layer.
"""

from collections.abc import Sequence
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

# Channels, kernel, stride, padding: the last three count the layer's input steps.
ConvLayer = tuple[int, int, int, int]
Count = TypeVar("Count", int, Tensor)


class Frontend(nn.Module):
    """Convolutions with GELU between them, as in wav2vec 2.0's feature encoder.

    How many frames come out, how far they lie apart and how much each one sees follow from the
    layers alone.

    With ``mask_padding`` a clip gives the same valid frames however many zeros follow it.
    Padding matters in two places only: in the group norm's statistics, which then leave it out,
    and in a layer that pads. That layer sees zeros behind a clip that fills its row, so padded
    frames are set to zero in front of it. Elsewhere a valid frame sees valid frames only:

        samples      |x x x x x x x x|0 0 0 0 ...    valid | padding
        kernel 3/2    [---]     [---]                frames that end inside are valid
                          [---]     [---]            the last one hangs over: padding
    """

    def __init__(
        self,
        layers: Sequence[ConvLayer],
        norm: Literal["group_first", "layer"],
        bias: bool,
        mask_padding: bool,
    ) -> None:
        """Build the layers, with Kaiming-normal weights.

        Args:
            layers: Channels, kernel, stride and padding of each convolution.
            norm: "group_first", GroupNorm with one group a channel after the first convolution
                only; "layer", LayerNorm over the channels after each.
            bias: Whether the convolutions have a bias.
            mask_padding: Whether padding is kept out of the valid frames.

        Source:
            Baevski et al., wav2vec 2.0, 2020, feature encoder and its two norm modes.
        """
        super().__init__()
        self.layers = tuple(layers)
        self.mask_padding = mask_padding
        inputs = [1, *(channels for channels, *_ in self.layers[:-1])]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(channels_in, channels, kernel, stride, padding, bias=bias)
            for channels_in, (channels, kernel, stride, padding) in zip(
                inputs, self.layers, strict=True
            )
        )
        for convolution in self.convolutions:
            nn.init.kaiming_normal_(convolution.get_parameter("weight"))
        self.norm = norm
        first_channels = self.layers[0][0]
        self.norms = nn.ModuleList(
            [nn.GroupNorm(first_channels, first_channels)]
            if norm == "group_first"
            else [nn.LayerNorm(channels) for channels, *_ in self.layers]
        )

    @property
    def num_channels(self) -> int:
        """D, the channels of a frame."""
        return self.layers[-1][0]

    @property
    def hop_samples(self) -> int:
        """Distance between the starts of neighbouring frames, in samples."""
        hop = 1
        for _, _, stride, _ in self.layers:
            hop *= stride
        return hop

    @property
    def receptive_field(self) -> int:
        """How many samples one frame sees, padding counted as samples."""
        seen = 1
        for _, kernel, stride, _ in reversed(self.layers):
            seen = (seen - 1) * stride + kernel
        return seen

    def num_frames(self, num_samples: int) -> int:
        """T for a row of ``num_samples``; 0 where the row is too short for a single frame.

        Example:
            >>> layers = [(8, 10, 5, 0), *[(8, 3, 2, 0)] * 4, (8, 2, 2, 0), (8, 2, 2, 1)]
            >>> Frontend(layers, "group_first", bias=False, mask_padding=False).num_frames(144_000)
            450
        """
        count = num_samples
        for layer in self.layers:
            count = _num_steps(count, layer)
            if count < 1:
                return 0
        return count

    def num_valid_frames(self, num_valid: Tensor) -> Tensor:
        """Count the frames of each clip that are not padding, at least one. int64 [B] -> [B]."""
        for layer in self.layers:
            num_valid = _num_steps(num_valid, layer).clamp(min=1)
        return num_valid

    def forward(self, waveforms: Tensor, num_valid: Tensor) -> Tensor:
        """Turn waveforms into frames.

        Args:
            waveforms: In [-1, 1], zero-padded at the end. float32 [B, N]
            num_valid: Samples of each that are not padding, 1..N; read only with
                ``mask_padding``. int64 [B]

        Returns:
            Frames; those behind a clip's valid ones are finite but mean nothing. float32 [B, T, D]
        """
        first, *others = self.convolutions
        features = waveforms[:, None]  # [B, 1, N]
        if self.mask_padding:
            features = features * _step_mask(num_valid, features)[:, None]
        features = first(features)  # [B, C, T]
        num_valid = self._advance(num_valid, 0)
        if self.norm == "group_first":
            features = self._group_norm(features, num_valid)
        # The layout that keeps a step's channels together exists for images only, so the other
        # layers see an image one row high. On a CPU their convolutions then take 30 % less time.
        image = features[:, :, None].contiguous(memory_format=torch.channels_last)
        image = functional.gelu(self._layer_norm(image, 0))
        for index, convolution in enumerate(others, start=1):
            _, _, stride, padding = self.layers[index]
            if self.mask_padding and padding:
                image = image * _step_mask(num_valid, image)[:, None, None]
            weight = convolution.get_parameter("weight")[:, :, None]
            weight = weight.contiguous(memory_format=torch.channels_last)
            bias = getattr(convolution, "bias", None)
            image = functional.conv2d(image, weight, bias, (1, stride), (0, padding))
            num_valid = self._advance(num_valid, index)
            image = functional.gelu(self._layer_norm(image, index))
        return image[:, :, 0].transpose(1, 2)  # [B, T, D]

    def _advance(self, num_valid: Tensor, index: int) -> Tensor:
        """Count the valid steps that layer ``index`` makes of so many before it. [B] -> [B]."""
        if not self.mask_padding:
            return num_valid
        return _num_steps(num_valid, self.layers[index]).clamp(min=1)

    def _group_norm(self, features: Tensor, num_valid: Tensor) -> Tensor:
        norm = self.norms[0]
        if self.mask_padding and isinstance(norm, nn.GroupNorm):
            return _group_norm_each(features, num_valid, norm)
        normalised: Tensor = norm(features)
        return normalised

    def _layer_norm(self, image: Tensor, index: int) -> Tensor:
        """Normalise over the channels, or do nothing with the other norm. [B, C, 1, T]."""
        if self.norm != "layer":
            return image
        normalised: Tensor = self.norms[index](image.permute(0, 2, 3, 1))
        return normalised.permute(0, 3, 1, 2)


def _num_steps(count: Count, layer: ConvLayer) -> Count:
    _, kernel, stride, padding = layer
    return (count + 2 * padding - kernel) // stride + 1


def _step_mask(num_valid: Tensor, features: Tensor) -> Tensor:
    """Mark valid steps with 1, padding with 0, typed as the features. [B], [..., T] -> [B, T]."""
    steps = torch.arange(features.shape[-1], device=features.device)
    return (steps < num_valid[:, None]).to(features.dtype)


def _group_norm_each(features: Tensor, num_valid: Tensor, norm: nn.GroupNorm) -> Tensor:
    """Normalise the valid steps of each clip by themselves; padding becomes zero.

    One by one: sums over a masked batch read the widest tensor of the model so many times that
    they take four times as long on a CPU.

    Args:
        features: [B, C, T]
        num_valid: Steps of each clip that are not padding. int64 [B]
        norm: Holds the number of groups, weight, bias and eps.

    Returns:
        [B, C, T]
    """
    num_steps = features.shape[-1]
    clips = []
    for clip, count in zip(features, num_valid.tolist(), strict=True):
        # Not norm(...): in training that refuses a clip with a single step.
        normalised = torch.group_norm(
            clip[None, :, :count], norm.num_groups, norm.weight, norm.bias, norm.eps
        )
        clips.append(functional.pad(normalised, (0, num_steps - count)))
    return torch.cat(clips)
