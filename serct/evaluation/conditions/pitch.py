"""Pitch: pitch and formants changed, the tempo kept."""

from fractions import Fraction
from typing import Annotated

import numpy as np
from pydantic import Field

from serct.config.section import Section
from serct.evaluation.conditions import Scene, fit_length
from serct.evaluation.conditions.speed import play_faster
from serct.runtime.arrays import Floats

# FFmpeg's filter gives nothing for a recording that is shorter than its window.
_SHORTEST_S = 0.1


class PitchParams(Section):
    """So many semitones higher, or lower if below 0."""

    semitones: Annotated[float, Field(ge=-12, le=12)]


PARAMS = PitchParams


def describe(params: PitchParams) -> str:
    """See `Condition`."""
    return f"pitch {params.semitones:+g} semitones"


def apply(waveform: Floats, params: PitchParams, sample_rate_hz: int, scene: Scene) -> Floats:
    """See `Condition`: played faster, then stretched by as much."""
    factor = 2 ** (params.semitones / 12)
    higher = play_faster(waveform, factor, sample_rate_hz)
    return fit_length(_stretch(higher, factor, sample_rate_hz), len(waveform))


def _stretch(waveform: Floats, factor: float, sample_rate_hz: int) -> Floats:
    """Make a recording ``factor`` times as long, its pitch kept.

    Source:
        FFmpeg's filter atempo: waveform similarity overlap-add, Verhelst & Roelands, 1993.
    """
    import av
    import av.filter

    padded = fit_length(waveform, max(len(waveform), round(_SHORTEST_S * sample_rate_hz)))
    graph = av.filter.Graph()
    clock = Fraction(1, sample_rate_hz)
    source = graph.add_abuffer(
        format="flt", sample_rate=sample_rate_hz, layout="mono", time_base=clock
    )
    tempo, sink = graph.add("atempo", f"{1 / factor:.9f}"), graph.add("abuffersink")
    source.link_to(tempo)
    tempo.link_to(sink)
    graph.configure()
    frame = av.AudioFrame.from_ndarray(padded[None], format="flt", layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = sample_rate_hz, clock, 0
    graph.push(frame)
    graph.push(None)
    pieces = []
    while True:
        try:
            pieces.append(graph.pull().to_ndarray()[0])
        except (av.EOFError, av.BlockingIOError):
            return np.concatenate(pieces)
