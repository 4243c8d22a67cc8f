"""Audio effects, one a file: the file's name is the effect's key under ``augment`` in params.yaml.

A file holds the names of `Effect` and is listed nowhere else. This module holds the shared parts.

Shapes: B batch, M samples, L places.
"""

import importlib
import math
import pkgutil
from enum import IntEnum
from typing import Annotated, Any, Protocol, TypeAlias, cast

import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from serct.config.section import Positive

EPSILON = 1e-8
# Waveforms [B, M] and their valid lengths [B].
Clips: TypeAlias = tuple[Tensor, Tensor]


class Stage(IntEnum):
    """Where an effect stands in the chain from the speaker to the recording."""

    SPEECH = 1
    ROOM = 2
    LINE = 3
    POSITION = 4
    LEVEL = 5


class Effect(Protocol):
    """What each file of this package holds.

    Attributes:
        STAGE: The chain's order; effects of one stage follow one another by name.
        PARAMS: Type of the value in params.yaml: a `Section`, or a plain type such as `Positive`.
    """

    STAGE: Stage
    PARAMS: Any

    def apply(
        self, waveforms: Tensor, num_valid: Tensor, params: Any, sample_rate_hz: int
    ) -> Clips:
        """Change a batch, with values drawn for each clip from torch's global generator.

        Args:
            waveforms: Zero behind each clip. float32 [B, M]
            num_valid: Samples of each that are not padding. int64 [B]
            params: The checked value in params.yaml.
            sample_rate_hz: Of the waveforms.

        Returns:
            Waveforms, zero behind each clip, and their valid lengths; M may change.
        """


def effect_names() -> list[str]:
    """Return the names of all effects, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load_effect(name: str) -> Effect:
    """Load an effect by one of `effect_names`."""
    return cast(Effect, importlib.import_module(f"{__name__}.{name}"))


def _rising(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError("expected the lower bound first")
    return bounds


Share = Annotated[float, Field(gt=0, le=1)]
Range = Annotated[tuple[float, float], AfterValidator(_rising)]
PositiveRange = Annotated[tuple[Positive, Positive], AfterValidator(_rising)]


def draw_within(like: Tensor, reach: float) -> Tensor:
    """Draw a value in [-reach, reach] for each clip. [B, M] -> [B]."""
    return draw_between(like, -reach, reach)


def draw_between(like: Tensor, low: float, high: float) -> Tensor:
    """Draw a value in [low, high] for each clip. [B, M] -> [B]."""
    return low + (high - low) * torch.rand(len(like), device=like.device)


def mix(before: Tensor, after: Tensor, probability: float) -> Tensor:
    """Take each clip as changed with ``probability``, else as it was. [B, M] twice -> [B, M]."""
    is_changed = torch.rand(len(before), device=before.device) < probability
    return torch.where(is_changed[:, None], after, before)


def cut(waveforms: Tensor, num_valid: Tensor) -> Tensor:
    """Set all samples behind each clip to zero. [B, M], [B] -> [B, M]."""
    steps = torch.arange(waveforms.shape[1], device=waveforms.device)
    return waveforms * (steps < num_valid[:, None])


def interpolate(waveforms: Tensor, places: Tensor) -> Tensor:
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


def fast_size(num_samples: int) -> int:
    """Return the next power of two, for which Fourier transforms are fast."""
    return 1 << math.ceil(math.log2(num_samples))
