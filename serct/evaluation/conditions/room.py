"""Room: reverberation around the speaker."""

import math

import numpy as np

from serct.config.section import Positive, Section
from serct.evaluation.conditions import Scene, fast_size
from serct.runtime.arrays import Floats


class RoomParams(Section):
    """Decay by 60 dB in so many seconds; the direct sound's energy over all the rest's, in dB."""

    decay_s: Positive
    direct_db: float


PARAMS = RoomParams


def describe(params: RoomParams) -> str:
    """See `Condition`."""
    return f"room, decay {params.decay_s:g} s, direct sound {params.direct_db:+g} dB"


def apply(waveform: Floats, params: RoomParams, sample_rate_hz: int, scene: Scene) -> Floats:
    """See `Condition`: each recording in its own room, while the speaker speaks.

    Source:
        Polack, La transmission de l'énergie sonore dans les salles, 1988: decaying noise.
    """
    num_taps = math.ceil(params.decay_s * sample_rate_hz)
    seconds = np.arange(1, num_taps + 1) / sample_rate_hz
    room = scene.random.standard_normal(num_taps) * 10 ** (-3 * seconds / params.decay_s)
    room *= 10 ** (-params.direct_db / 20) / np.linalg.norm(room)
    response = np.concatenate(([1.0], room))
    size = fast_size(len(waveform) + num_taps + 1)
    echoed = np.fft.irfft(np.fft.rfft(waveform, size) * np.fft.rfft(response, size), size)
    return echoed[: len(waveform)].astype(np.float32)
