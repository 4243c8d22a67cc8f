"""What may be done to training clips: the ``augment`` key of `train` in params.yaml."""

from typing import Annotated

from pydantic import AfterValidator, Field

from serct.config.section import Positive, Section


def _rising(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError("expected the lower bound first")
    return bounds


Share = Annotated[float, Field(gt=0, le=1)]
Range = Annotated[tuple[float, float], AfterValidator(_rising)]
PositiveRange = Annotated[tuple[Positive, Positive], AfterValidator(_rising)]


class PitchParams(Section):
    """Another pitch at the same tempo."""

    probability: Share
    semitones: Positive


class NoiseParams(Section):
    """Noise at a signal-to-noise ratio."""

    probability: Share
    snr_db: Range


class ReverbParams(Section):
    """A room."""

    probability: Share
    decay_s: PositiveRange
    direct_db: Range


class TelephoneParams(Section):
    """A telephone's band and code."""

    probability: Share


class AugmentParams(Section):
    """All switches; null is off. Units stand in params.yaml."""

    gain_db: Positive | None
    speed: Annotated[float, Field(gt=0, lt=1)] | None
    pitch: PitchParams | None
    shift_ms: Positive | None
    noise: NoiseParams | None
    reverb: ReverbParams | None
    telephone: TelephoneParams | None
