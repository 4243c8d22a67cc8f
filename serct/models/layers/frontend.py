"""Strided convolutions that turn a waveform into frames.

Shapes: B batch, L samples of a row, C channels, T frames, D channels of the last layer.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

# Channels, kernel, stride, padding: the last three count the layer's input steps.
ConvLayer = tuple[int, int, int, int]
Count = TypeVar("Count", int, Tensor)


class Cut(NamedTuple):
    """How to leave out zeros from the middle of a row's padding, and put their frames back.

    Attributes:
        num_samples: What is left of the row.
        num_frames: Frames left out, hop by hop; 0 where there is nothing to gain.
        frame: A frame that sees the padding only: all those left out equal it.
    """

    num_samples: int
    num_frames: int
    frame: int


class Frontend(nn.Module):
    """Convolutions with GELU between them, as in wav2vec 2.0's feature encoder.

    How many frames come out, how far they lie apart and how much each one sees follow from the
    layers alone.

    **Padding taken as sound.** All frames within the padding are alike, so most of it is left out
    before the convolutions (`cut`) and one of its frames is copied after them (`restore`). The
    group norm alone looks at a whole row: it needs the length of that row.

        row      |x x x x x x x x|0 0 0 0 0 0 0 0 0 0 0 0|
        cut      |x x x x x x x x|0 0 0|                    whole hops fewer, so the steps of
        frames    a   b   c   d    e  f                     every layer fall on the same samples
        restored  a   b   c   d    e   e   e   e   e  f     f sees the last layer's own padding

    **Padding kept out** (``num_valid``). A clip gives the same valid frames however many zeros
    follow it. Padding matters in two places only: in the group norm's statistics, which then
    leave it out, and in a layer that pads. That layer sees zeros behind a clip that fills its
    row, so padded steps are set to zero in front of it. Elsewhere a valid frame sees valid steps
    only:

        samples      |x x x x x x x x|0 0 0 0 ...    valid | padding
        kernel 3/2    [---]     [---]                frames that end inside are valid
                          [---]     [---]            the last one hangs over: padding
    """

    def __init__(
        self, layers: Sequence[ConvLayer], norm: Literal["group_first", "layer"], bias: bool
    ) -> None:
        """Build the layers, with Kaiming-normal weights.

        Args:
            layers: Channels, kernel, stride and padding of each convolution.
            norm: "group_first", GroupNorm with one group a channel after the first convolution
                only; "layer", LayerNorm over the channels after each.
            bias: Whether the convolutions have a bias, but for one in front of a group norm, which
                would take it out again.

        Source:
            Baevski et al., wav2vec 2.0, 2020, feature encoder and its two norm modes.
        """
        super().__init__()
        self.layers = tuple(layers)
        inputs = [1, *(channels for channels, *_ in self.layers[:-1])]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(
                inputs[index], channels, kernel, stride, padding,
                bias=bias and (norm == "layer" or index > 0),
            )
            for index, (channels, kernel, stride, padding) in enumerate(self.layers)
        )  # fmt: skip
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
    def shortest(self) -> int:
        """The fewest samples that give a frame."""
        steps = 1
        for _, kernel, stride, padding in reversed(self.layers):
            steps = max(1, (steps - 1) * stride + kernel - 2 * padding)
        return steps

    def num_frames(self, num_samples: Count) -> Count:
        """T for rows of ``num_samples``; meaningless for less than `shortest`.

        Example:
            >>> layers = [(8, 10, 5, 0), *[(8, 3, 2, 0)] * 4, (8, 2, 2, 0), (8, 2, 2, 1)]
            >>> Frontend(layers, "group_first", bias=False).num_frames(144_000)
            450
        """
        for layer in self.layers:
            num_samples = _num_steps(num_samples, layer)
        return num_samples

    def cut(self, num_samples: int, num_valid: int) -> Cut:
        """Plan which part of a row's padding need not be computed.

        Args:
            num_samples: Of the row.
            num_valid: Its samples from here on are zero, 1..num_samples.
        """
        # Step `frame` of each layer is the first to see nothing but padding. The row's own end is
        # far enough behind it if, layer by layer, at least one step lies between what the clip
        # and what a layer's padding at the end of the row reach: counted backwards, `gap`.
        frame, gap = num_valid, 1
        for _, _, stride, padding in self.layers:
            frame = (frame + padding + stride - 1) // stride
        for _, kernel, stride, _ in reversed(self.layers):
            gap = stride * gap + kernel + stride - 2
        # Neither conditions nor negative numbers, so that ONNX computes the same for any length.
        left_out = larger(0, (num_samples - num_valid - gap) // self.hop_samples)
        kept = num_samples - left_out * self.hop_samples
        return Cut(kept, left_out, -larger(-frame, 1 - self.num_frames(kept)))

    @staticmethod
    def restore(frames: Tensor, cut: Cut) -> Tensor:
        """Put back what was left out. [B, t, D] -> [B, T, D], whatever D has become."""
        rest = frames.shape[1] - cut.frame - 1
        before, frame, after = torch.split(frames, [cut.frame, 1, rest], dim=1)
        return torch.cat((before, frame.expand(-1, 1 + cut.num_frames, -1), after), dim=1)

    def forward(
        self, waveforms: Tensor, num_valid: Tensor | None = None, num_left_out: int = 0
    ) -> Tensor:
        """Turn rows into frames.

        Args:
            waveforms: In [-1, 1], L at least `shortest`. float32 [B, L]
            num_valid: Samples of each that are not padding, to keep padding out, `shortest`..L;
                None: all there is counts as sound. int64 [B]
            num_left_out: Zeros that were left out from each row, a multiple of `hop_samples`;
                for None only.

        Returns:
            Frames; those behind a clip's valid ones are finite but mean nothing. float32 [B, T, D]
        """
        if num_valid is not None:
            waveforms = waveforms * _valid_steps(waveforms, num_valid)
        features = waveforms[:, None]  # [B, 1, L]
        for index, (convolution, layer) in enumerate(
            zip(self.convolutions, self.layers, strict=True)
        ):
            if num_valid is not None:
                if layer[3]:
                    features = features * _valid_steps(features, num_valid)[:, None]
                num_valid = _num_steps(num_valid, layer)
            if index == 0 and self.norm == "group_first":
                num_missing = num_left_out // layer[2]
                features = self._normalised_convolution(waveforms, num_valid, num_missing)
            else:
                features = convolution(features)  # [B, C, steps]
            if self.norm == "layer":
                features = self.norms[index](features.transpose(1, 2)).transpose(1, 2)
            features = functional.gelu(features)
        return features.transpose(1, 2)  # [B, T, D]

    def _normalised_convolution(
        self, waveforms: Tensor, num_valid: Tensor | None, num_missing: int
    ) -> Tensor:
        """Convolve with the first layer and apply the group norm, in one step.

        The mean and the variance of what a convolution makes of a waveform follow from the mean
        and the covariance of the waveform's windows, of as many numbers as the kernel is long.
        So they are known before the convolution, whose weights and bias then take in the norm:
        the widest tensor of the model is written once and never read for its statistics.

            step  y = w.u + b      mean of y = w.m + b     m, C: mean, covariance of the windows u
                                   variance  = w.C.w

        Args:
            waveforms: [B, L]
            num_valid: Steps of each clip that the statistics cover; None: all. int64 [B]
            num_missing: Further steps that they cover, whose windows are silent.

        Returns:
            [B, C, S]
        """
        _, kernel, stride, padding = self.layers[0]
        norm = cast(nn.GroupNorm, self.norms[0])
        rows = functional.pad(waveforms, (padding, padding)) if padding else waveforms
        windows = rows.unfold(-1, kernel, stride)
        # In full precision: a filter may pass what is a thousand times softer than what it stops.
        counted = windows.to(_widest(waveforms.device))  # [B, S, kernel]
        weight = self.convolutions[0].get_parameter("weight").squeeze(1).to(counted.dtype)
        if num_valid is None:
            count: Tensor | int = windows.shape[1] + num_missing
        else:
            counted = counted * _valid_steps(windows[..., 0], num_valid)[..., None]
            count = num_valid[:, None, None]  # [B, 1, 1]
        middle = counted.sum(dim=1, keepdim=True) / count  # [B, 1, kernel]
        covariance = counted.mT @ counted / count - middle.mT @ middle
        squares = (weight[:, :, None] * weight[:, None]).flatten(1)  # [C, kernel * kernel]
        variance = covariance.flatten(1) @ squares.T  # [B, C]
        scale = norm.weight * torch.rsqrt(variance.relu() + norm.eps)
        shift = norm.bias - scale * (middle.squeeze(1) @ weight.T)
        scaled = (scale[..., None] * weight).to(waveforms.dtype)  # [B, C, kernel]
        return torch.baddbmm(shift[..., None].to(waveforms.dtype), scaled, windows.mT)


def larger(first: int, second: int) -> int:
    """Return the larger number, also of two that are still open while a model is exported."""
    return torch.sym_max(first, second)  # type: ignore[no-untyped-call, no-any-return]


def _num_steps(count: Count, layer: ConvLayer) -> Count:
    _, kernel, stride, padding = layer
    return (count + 2 * padding - kernel) // stride + 1


def _valid_steps(features: Tensor, num_valid: Tensor) -> Tensor:
    """Mark valid steps with 1, padding with 0, typed as the features. [..., S] -> [B, S]."""
    steps = torch.arange(features.shape[-1], device=features.device)
    return (steps < num_valid[:, None]).to(features.dtype)


def _widest(device: torch.device) -> torch.dtype:
    """Choose the type of sums in full precision; Apple's GPUs have none."""
    return torch.float32 if device.type == "mps" else torch.float64
