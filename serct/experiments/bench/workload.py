"""What is measured: a model, its direct formulation, and a batch with a corpus' durations.

Shapes: B batch, M samples of the longest clip.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from serct.config.params import Params
from serct.errors import ParamsError
from serct.experiments.bench.direct import DirectSerct
from serct.models import read_model_params
from serct.models.layers.deformable import DeformableAttention
from serct.models.serct import Serct, SerctParams
from serct.training.loop import make_learner

NUM_EMOTIONS = 7
# TESS (Dupuis & Pichora-Fuller, 2010) holds clips of 1.25 to 2.985 s, 2.05 s on average.
_SHORTEST_S, _MEAN_S, _LONGEST_S = 1.25, 2.05, 2.985
FORMS = ("ours", "direct")
# In a trained model the windows have moved from their first places.
WANDERING_FRAMES = 10.0


@dataclass(frozen=True)
class Size:
    """One size of the work.

    Attributes:
        batch_size: Clips.
        clip_s: Duration of each, in seconds; None: as in TESS.
        num_layers: Of the transformer; None: as in the params.
        width: Of the transformer, and its feed-forward parts' in proportion; None: as in the
            params. The heads stay as many, the convolutions as they are.
    """

    batch_size: int
    clip_s: float | None = None
    num_layers: int | None = None
    width: int | None = None


def describe(size: Size) -> str:
    """Return a size in words, e.g. "16 clips as in TESS"."""
    length = "as in TESS" if size.clip_s is None else f"of {size.clip_s:g} s"
    layers = "" if size.num_layers is None else f", {_count(size.num_layers, 'layer')}"
    width = "" if size.width is None else f", width {size.width}"
    return f"{_count(size.batch_size, 'clip')} {length}{layers}{width}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + "s" * (number != 1)


def read_published(params: Params, name: str) -> SerctParams:
    """Read an entry of ``models`` that the direct formulation is of.

    Raises:
        ParamsError: If the entry is not of the published form of `serct`.
    """
    entry = read_model_params(params, name)
    if not isinstance(entry, SerctParams) or entry.mask_padding or entry.attention != "deformable":
        raise ParamsError(
            f"models.{name}: expected a model of architecture serct with deformable attention "
            "and without mask_padding, which the direct formulation is of"
        )
    return entry


def rate_hz(params: Params) -> int:
    """Return the sample rate of the batch; 16 kHz where each file has its own."""
    rate = params.audio.sample_rate
    return 16_000 if rate == "native" else rate


def _resized(entry: SerctParams, size: Size) -> SerctParams:
    changes = {}
    if size.num_layers is not None:
        changes["num_layers"] = size.num_layers
    if size.width is not None:
        changes["width"] = size.width
        changes["feed_forward"] = entry.feed_forward * size.width // entry.width
    return entry.model_copy(update=changes)


class Workload:
    """A model of random weights, its direct formulation, and a batch of noise as long as speech.

    Attributes:
        ours: The model.
        direct: Its direct formulation, with the same weights.
        waveforms: float [B, M]
        num_valid: int64 [B]
    """

    def __init__(self, params: Params, name: str, size: Size, device: torch.device) -> None:
        """Build model and batch, always the same for the same arguments.

        Raises:
            ParamsError: If the entry is not of the published form of `serct`.
        """
        entry = _resized(read_published(params, name), size)
        rate = rate_hz(params)
        self.device = device
        generator = torch.Generator().manual_seed(0)
        torch.manual_seed(0)
        self.ours = Serct(entry, params.audio.num_samples, rate, NUM_EMOTIONS).to(device)
        self.place_windows(WANDERING_FRAMES)
        self.direct = DirectSerct(self.ours)
        self.optimizer = make_learner(self.ours, params.train_params(name)).optimizer
        if size.clip_s is None:
            # Over 0..1 a power of a uniform number has this mean.
            mean = (_MEAN_S - _SHORTEST_S) / (_LONGEST_S - _SHORTEST_S)
            parts = torch.rand(size.batch_size, generator=generator) ** (1 / mean - 1)
            seconds = _SHORTEST_S + (_LONGEST_S - _SHORTEST_S) * parts
        else:
            seconds = torch.full((size.batch_size,), size.clip_s)
        num_valid = (seconds * rate).long().clamp(1, params.audio.num_samples)
        noise = 0.05 * torch.randn(size.batch_size, int(num_valid.max()), generator=generator)
        valid = torch.arange(noise.shape[1]) < num_valid[:, None]
        self.waveforms = (noise * valid).to(device)  # [B, M]
        self.num_valid = num_valid.to(device)
        self.labels = torch.randint(NUM_EMOTIONS, (size.batch_size,), generator=generator).to(
            device
        )

    def place_windows(self, wandering_frames: float) -> None:
        """Set the weights so that queries move their windows about that far from the first places.

        Bounds and anchor end up between two frames: at a whole one the formulas themselves jump.
        """
        for block in self.ours.blocks:
            attention = cast(DeformableAttention, block.get_submodule("attention"))
            num_frames = len(self.ours.get_buffer("positions"))
            first = attention.get_buffer("half_width_fractions") * num_frames
            half_widths = first.floor() + 0.25
            with torch.no_grad():
                bias = attention.placement.bias
                bias[: attention.num_heads] = math.atanh(0.4 / num_frames)
                bias[attention.num_heads :] = torch.logit(half_widths / num_frames)
                # A query is about 0.7 wide in each of its D values, as its map was drawn.
                weight = attention.placement.weight
                spread = wandering_frames / num_frames / (0.7 * math.sqrt(weight.shape[1]))
                weight.normal_(std=spread)

    def form(self, name: str) -> nn.Module:
        """Return one of `FORMS`."""
        return self.ours if name == "ours" else self.direct

    def forward(self, form: str, precision: torch.dtype) -> Callable[[], Tensor]:
        """Return a function that computes the batch's logits in evaluation mode."""

        def run() -> Tensor:
            self.ours.eval()
            with torch.inference_mode(), self._autocast(precision):
                logits: Tensor = self.form(form)(self.waveforms, self.num_valid)
            return logits

        return run

    def step(self, form: str, precision: torch.dtype) -> Callable[[], None]:
        """Return a function that does one training step: forward, loss, backward, Adam."""

        def run() -> None:
            self.ours.train()
            self.optimizer.zero_grad(set_to_none=True)
            with self._autocast(precision):
                logits = self.form(form)(self.waveforms, self.num_valid)
            loss = functional.cross_entropy(logits.float(), self.labels)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()

        return run

    def gradients(
        self, form: str, precision: torch.dtype = torch.float32
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return logits and each weight's gradient, without dropout.

        A precision other than float32 is that of products and convolutions alone.
        """
        self.ours.eval()
        self.ours.zero_grad(set_to_none=True)
        with self._autocast(precision):
            logits: Tensor = self.form(form)(self.waveforms, self.num_valid)
        if logits.dtype.itemsize < 4:
            logits = logits.float()
        functional.cross_entropy(logits, self.labels).backward()  # type: ignore[no-untyped-call]
        found = {name: weight.grad for name, weight in self.ours.named_parameters()}
        return logits.detach(), {name: grad for name, grad in found.items() if grad is not None}

    def double(self) -> "Workload":
        """Convert model and batch to float64."""
        self.ours.double()
        self.waveforms = self.waveforms.double()
        return self

    def _autocast(self, precision: torch.dtype) -> torch.autocast:
        is_mixed = precision != torch.float32
        return torch.autocast(self.device.type, precision, enabled=is_mixed)
