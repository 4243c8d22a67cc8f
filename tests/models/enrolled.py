"""Enrolment with noise, in which the voice activity network would find no speech."""

import numpy as np

from serct import Predictor
from serct.models.classical.enrolment import Enrolment


def enrolled(predictor: Predictor, waveforms: np.ndarray) -> list[Enrolment]:
    return predictor.enrol_windows([predictor.prepare(each, 16_000) for each in waveforms])
