"""A recording that arrives in blocks has, in the end, the prediction of the whole recording."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serct.data.windows import FRAME_S
from serct.inference.arriving import ArrivingAnalysis
from serct.inference.predictor import Predictor
from serct.inference.recording import RecordingPrediction, TimedPrediction
from serct.runtime.arrays import Floats

RATE = 16_000


def arrive(
    model: Predictor, waveform: Floats, cuts: list[int], timing_s: tuple[float, float] | None
) -> tuple[RecordingPrediction, list[TimedPrediction]]:
    analysis = ArrivingAnalysis(model, RATE, timing_s)
    steps: list[TimedPrediction] = []
    for block in np.split(waveform, sorted(cuts)):
        if len(block):
            analysis.add(block)
            steps += predict(model, analysis)
    analysis.end()
    steps += predict(model, analysis)
    return analysis.conclude(), steps


def predict(model: Predictor, analysis: ArrivingAnalysis) -> list[TimedPrediction]:
    steps: list[TimedPrediction] = []
    while windows := analysis.take_windows(3):
        steps += analysis.put(model.predict_windows(windows))
    return steps + analysis.put(np.empty((0, 0)))


@pytest.fixture(scope="module")
def model(trained: dict[str, Path]) -> Predictor:
    return Predictor.load(trained["mlp"])


@settings(max_examples=12, deadline=None)
@given(
    speech=st.lists(st.tuples(st.floats(0, 9), st.floats(0.01, 2)), max_size=6),
    seconds=st.floats(0.05, 9),
    cuts=st.lists(st.integers(0, 9 * RATE), max_size=6),
    timing_s=st.sampled_from([None, (0.5, 0.25), (0.4, 0.1)]),
)
def test_any_cut_gives_the_prediction_of_the_whole(
    model: Predictor,
    speech: list[tuple[float, float]],
    seconds: float,
    cuts: list[int],
    timing_s: tuple[float, float] | None,
) -> None:
    """Speech is where the recording is loud, so that it is where the example wants it."""
    waveform = np.random.default_rng(0).normal(0, 1e-4, max(1, int(seconds * RATE)))
    for start_s, length_s in speech:
        loud = waveform[int(start_s * RATE) : int((start_s + length_s) * RATE)]
        loud[:] = 0.2 * np.sin(np.arange(len(loud)) * (0.1 + start_s / 20))
    waveform = waveform.astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("serct.inference.window_model.find_speech", find_loud)
        patch.setattr("serct.inference.arriving.PART_S", 4)
        expected = model.analyse(waveform, RATE, timing_s)
        found, steps = arrive(model, waveform, cuts, timing_s)
    assert (found.emotion, found.analysed_s, found.speech_s) == (
        expected.emotion, expected.analysed_s, expected.speech_s
    )  # fmt: skip
    assert len(found.steps) == len(steps) == len(expected.steps)
    pairs = [(found, expected), *zip((*found.steps, *steps), 2 * expected.steps, strict=True)]
    for one, wanted in pairs:
        assert one.emotion == wanted.emotion
        # Batches of another size change the last bits.
        assert one.probabilities == (
            wanted.probabilities and pytest.approx(wanted.probabilities, abs=1e-6)
        )
    assert [each.end_s for each in steps] == [each.end_s for each in expected.steps]


def find_loud(pieces, sample_rate):  # type: ignore[no-untyped-def]
    pcm = np.concatenate(list(pieces))
    frame = round(FRAME_S * sample_rate)
    padded = np.pad(pcm, (0, -len(pcm) % frame)).reshape(-1, frame)
    return np.abs(padded).max(axis=1) > 3000
