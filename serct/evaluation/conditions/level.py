"""Level: the whole recording louder or softer."""

import numpy as np

from serct.config.section import Section
from serct.evaluation.conditions import Scene
from serct.runtime.arrays import Floats


class LevelParams(Section):
    """By so many dB; above 0 is louder, and clips what exceeds full scale."""

    gain_db: float


PARAMS = LevelParams


def describe(params: LevelParams) -> str:
    """See `Condition`."""
    return f"level {params.gain_db:+g} dB"


def apply(waveform: Floats, params: LevelParams, sample_rate_hz: int, scene: Scene) -> Floats:
    """See `Condition`."""
    return waveform * np.float32(10 ** (params.gain_db / 20))
