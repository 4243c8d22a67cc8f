"""Silence: the recording goes on after the speaker has finished."""

import numpy as np

from serct.config.section import Positive, Section
from serct.evaluation.conditions import Scene
from serct.runtime.arrays import Floats


class SilenceParams(Section):
    """So much digital silence behind."""

    seconds: Positive


PARAMS = SilenceParams


def describe(params: SilenceParams) -> str:
    """See `Condition`."""
    return f"{params.seconds:g} s of silence behind"


def apply(waveform: Floats, params: SilenceParams, sample_rate_hz: int, scene: Scene) -> Floats:
    """See `Condition`."""
    return np.pad(waveform, (0, round(params.seconds * sample_rate_hz)))
