"""Windows cover a recording, steps take the mean of what covers them, subtitles are WebVTT."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serct.data.voice_activity import FRAME_S
from serct.serving.timeline import Plan, between, smooth, webvtt

durations = st.floats(0.001, 700.0)


@given(durations, st.floats(0.5, 9.0), st.floats(0.25, 9.0))
def test_windows_and_steps_cover_everything_once(
    duration_s: float, window_s: float, hop_s: float
) -> None:
    plan = Plan(duration_s, window_s, min(hop_s, window_s))
    windows = plan.windows()
    assert windows[0][0] == 0.0
    assert windows[-1][1] == pytest.approx(duration_s)
    assert all(0 < end - start <= window_s + 1e-9 for start, end in windows)
    assert all(after[0] <= before[1] + 1e-9 for before, after in itertools.pairwise(windows))
    steps = [plan.step(number) for number in range(plan.num_steps)]
    assert steps[0][0] == 0.0
    assert steps[-1][1] == pytest.approx(duration_s)
    assert all(before[1] == pytest.approx(after[0]) for before, after in itertools.pairwise(steps))


def test_steps_are_means_of_the_windows_over_them() -> None:
    plan = Plan(4.0, 2.0, 1.0)
    assert plan.windows() == [(0.0, 2.0), (1.0, 3.0), (2.0, 4.0)]
    by_window = [{"a": 1.0, "b": 0.0}, {"a": 0.5, "b": 0.5}, None]
    speech = np.ones(125, dtype=bool)
    found = smooth(plan, by_window, speech)
    assert found[0] == {"a": 1.0, "b": 0.0}
    assert found[1] == {"a": 0.75, "b": 0.25}
    assert found[2] == {"a": 0.5, "b": 0.5}
    assert found[3] is None


def test_silent_steps_stay_without_emotion() -> None:
    speech = np.zeros(125, dtype=bool)
    speech[: round(1.0 / FRAME_S)] = True
    by_window = [{"a": 1.0}] * 3
    found = smooth(Plan(4.0, 2.0, 1.0), by_window, speech)
    assert [step is not None for step in found] == [True, False, False, False]


@given(durations, st.floats(0, 1), st.floats(0, 1))
def test_any_part_has_a_frame(duration_s: float, one: float, other: float) -> None:
    frames = np.zeros(int(np.ceil(duration_s / FRAME_S)), dtype=bool)
    start, end = sorted((one * duration_s, other * duration_s))
    assert len(between(frames, start, end)) >= 1


def test_webvtt() -> None:
    text = webvtt([(0.0, 1.5, "happy (90%)"), (3599.9996, 3661.25, "sad (50%)")])
    assert text == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nhappy (90%)\n\n"
        "01:00:00.000 --> 01:01:01.250\nsad (50%)\n"
    )
