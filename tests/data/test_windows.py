"""Windows cover a recording's speech; its prediction is the mean of its timeline."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serct.data.voice_activity import FRAME_S
from serct.data.windows import LEAST_SPEECH_S, Plan, Timing, cut_windows, geometric_mean

RATE = 1000
lengths = st.integers(1, 20_000)
timings = st.tuples(st.integers(100, 9000), st.integers(1, 12)).map(
    lambda pair: Timing(pair[0], pair[0] // pair[1])
)


def frames_of(num_samples: int, seed: int, share: float = 0.5) -> np.ndarray:
    """Speech and pauses of random lengths."""
    rng = np.random.default_rng(seed)
    num_frames = int(np.ceil(num_samples / RATE / FRAME_S))
    runs = rng.integers(1, 40, num_frames + 1)
    states = rng.random(num_frames + 1) < share
    return np.repeat(states, runs)[:num_frames]


@settings(max_examples=40, deadline=None)
@given(lengths, timings)
def test_windows_and_steps_cover_everything(num_samples: int, timing: Timing) -> None:
    plan = Plan(num_samples, RATE, timing)
    windows = plan.windows
    assert windows[0][0] == 0
    assert windows[-1][1] == num_samples
    assert all(0 < end - start <= timing.window for start, end in windows)
    assert all(after[0] <= before[1] for before, after in itertools.pairwise(windows))
    assert plan.analysed_s == pytest.approx(plan.duration_s)
    assert plan.speech_s == pytest.approx(plan.duration_s)
    assert plan.step_edges[0] == 0
    assert plan.step_edges[-1] == plan.duration_s
    assert (np.diff(plan.step_edges) > 0).all()


@settings(max_examples=40, deadline=None)
@given(lengths, timings, st.integers(0, 99), st.floats(0, 1))
def test_windows_with_speech_are_used_and_no_others(
    num_samples: int, timing: Timing, seed: int, share: float
) -> None:
    frames = frames_of(num_samples, seed, share)
    plan = Plan(num_samples, RATE, timing, frames)
    edges, speech = plan.step_edges, plan.step_speech_s
    for start, end, seconds in zip(edges[:-1], edges[1:], speech, strict=True):
        inside = np.clip(np.arange(len(frames) + 1) * FRAME_S, start, end)
        assert seconds == pytest.approx((np.diff(inside) @ frames), abs=1e-6)
    assert plan.speech_s <= plan.duration_s + 1e-9
    assert (plan.speech_s >= LEAST_SPEECH_S) <= bool(plan.windows)
    assert plan.analysed_s <= plan.duration_s + 1e-9
    for start, end in plan.windows:
        samples = np.rint(edges * RATE)
        middles = (samples[:-1] + samples[1:]) / 2
        assert (plan.is_spoken & (start <= middles) & (middles < end)).any()


@settings(max_examples=40, deadline=None)
@given(lengths, timings, st.integers(0, 99))
def test_a_step_is_the_mean_of_its_windows_and_the_recording_that_of_its_steps(
    num_samples: int, timing: Timing, seed: int
) -> None:
    plan = Plan(num_samples, RATE, timing, frames_of(num_samples, seed))
    if not plan.windows:
        return
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet([0.5, 0.5, 0.5], len(plan.windows))
    whole, steps = plan.combine(probabilities)
    assert whole.sum() == pytest.approx(1)
    logs = np.log(np.maximum(probabilities, 1e-12))
    samples = np.rint(plan.step_edges * RATE)
    middles = (samples[:-1] + samples[1:]) / 2
    for middle, step, is_spoken in zip(middles, steps, plan.is_spoken, strict=True):
        covering = [start <= middle < end for start, end in plan.windows]
        assert is_spoken != np.isnan(step).any()
        if is_spoken:
            expected = np.exp(logs[covering].mean(axis=0))
            np.testing.assert_allclose(step, expected / expected.sum(), atol=1e-9)
    mean = geometric_mean(steps[plan.is_spoken], plan.step_speech_s[plan.is_spoken])
    np.testing.assert_allclose(whole, mean, atol=1e-9)
    assert whole.min() >= 0
    weighted = np.exp(plan.window_weights @ logs)
    np.testing.assert_allclose(whole, weighted / weighted.sum(), atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(lengths, st.integers(0, 99))
def test_temperature_before_or_after_combining_is_the_same(num_samples: int, seed: int) -> None:
    plan = Plan(num_samples, RATE, Timing(3000, 1000))
    logits = np.random.default_rng(seed).normal(size=(len(plan.windows), 4))

    def cooled(log_probabilities: np.ndarray) -> np.ndarray:
        powers = np.exp(log_probabilities / 2.5)
        return powers / powers.sum(axis=-1, keepdims=True)

    plain = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    before, _ = plan.combine(cooled(logits))
    after = cooled(np.log(plan.combine(plain)[0]))
    np.testing.assert_allclose(before, after, atol=1e-9)


def test_one_window_keeps_its_probabilities_to_the_bit() -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(7), 1)
    whole, steps = Plan(2000, RATE, Timing(3000, 1000)).combine(probabilities)
    np.testing.assert_array_equal(whole, probabilities[0])
    np.testing.assert_array_equal(steps, np.repeat(probabilities, 2, axis=0))


def test_a_short_word_over_the_border_of_two_steps_is_heard_by_both() -> None:
    frames = np.zeros(94, bool)
    frames[28:36] = True  # 0.26 s around 1 s
    plan = Plan(3000, RATE, Timing(3000, 1000), frames)
    assert plan.step_speech_s.round(3).tolist() == [0.104, 0.152, 0.0]
    assert plan.is_spoken.tolist() == [True, True, False]
    frames[33:] = False
    assert not Plan(3000, RATE, Timing(3000, 1000), frames).windows, "a click"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 700), max_size=20), timings, st.integers(0, 99))
def test_windows_are_cut_from_pieces(sizes: list[int], timing: Timing, seed: int) -> None:
    pcm = np.arange(sum(sizes) + 1, dtype=np.int16)
    pieces = np.split(pcm, np.cumsum(sizes))
    windows = Plan(len(pcm), RATE, timing, frames_of(len(pcm), seed)).windows
    found = list(cut_windows(pieces, windows))
    assert len(found) == len(windows)
    for (start, end), clip in zip(windows, found, strict=True):
        np.testing.assert_array_equal(clip, pcm[start:end])
