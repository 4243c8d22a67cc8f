"""Speed: tempo, pitch and formants changed together, as by a tape that runs too fast."""

from typing import Annotated

from pydantic import Field

from serct.config.section import Section
from serct.data.preparing import resample
from serct.evaluation.conditions import Scene
from serct.runtime.arrays import Floats


class SpeedParams(Section):
    """So many times as fast."""

    factor: Annotated[float, Field(ge=0.5, le=2)]


PARAMS = SpeedParams


def describe(params: SpeedParams) -> str:
    """See `Condition`."""
    return f"speed times {params.factor:g}"


def apply(waveform: Floats, params: SpeedParams, sample_rate_hz: int, scene: Scene) -> Floats:
    """See `Condition`."""
    return play_faster(waveform, params.factor, sample_rate_hz)


def play_faster(waveform: Floats, factor: float, sample_rate_hz: int) -> Floats:
    """Play ``factor`` times as fast, at the same rate. float32 [N] -> [about N / factor]."""
    changed = resample(waveform, round(sample_rate_hz * factor), sample_rate_hz, "soxr")
    return changed if len(changed) else waveform  # one sample may become none
