"""Babble: other speakers of the corpus, all at once, behind the speaker."""

import numpy as np

from serct.config.section import PositiveInt, Section
from serct.evaluation.conditions import Scene, add_noise
from serct.runtime.arrays import Floats


class BabbleParams(Section):
    """So many recordings together, each at the same level."""

    num_recordings: PositiveInt
    snr_db: float


PARAMS = BabbleParams


def describe(params: BabbleParams) -> str:
    """See `Condition`."""
    return f"babble of {params.num_recordings}, SNR {params.snr_db:g} dB"


def apply(waveform: Floats, params: BabbleParams, sample_rate_hz: int, scene: Scene) -> Floats:
    """See `Condition`: each recording begins anywhere in itself and goes on from its start."""
    babble = np.zeros_like(waveform)
    for other in scene.draw_others(params.num_recordings):
        begin = int(scene.random.integers(len(other)))
        again = np.resize(np.roll(other, -begin), len(waveform))
        level = np.sqrt(np.mean(np.square(again)))
        babble += again / level if level else again
    return add_noise(waveform, babble, params.snr_db)
