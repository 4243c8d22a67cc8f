"""The paired bound agrees with theory, and with what must be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serct.evaluation.significance import mcnemar, ua_difference, ua_difference_bound


def drawn(seed: int, n: int, gain: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    was_right = rng.random(n) < 0.6
    is_right = np.where(rng.random(n) < gain, True, was_right)
    return labels, is_right, was_right


@given(st.integers(0, 1000), st.integers(3, 60))
def test_equal_models_differ_by_nothing(seed: int, n: int) -> None:
    labels, right, _ = drawn(seed, n, 0.3)
    assert ua_difference_bound(labels, right, right, 0.95) == 0.0


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_agrees_with_the_normal_approximation(confidence: float) -> None:
    labels, is_right, was_right = drawn(1, 3000, 0.1)
    gains = [(is_right * 1.0 - was_right)[labels == k] for k in range(3)]
    mean = np.mean([g.mean() for g in gains])
    spread = np.sqrt(sum(g.var() / len(g) for g in gains)) / 3
    quantile = {0.8: 0.8416, 0.95: 1.6449, 0.99: 2.3263}[confidence]
    expected = mean - quantile * spread
    found = ua_difference_bound(labels, is_right, was_right, confidence)
    assert found == pytest.approx(expected, abs=0.2 * spread)


def test_every_emotion_counts_alike() -> None:
    """One utterance of a rare emotion weighs as much as all of a frequent one."""
    labels = np.array([0] * 99 + [1])
    was_right = np.ones(100, dtype=bool)
    is_right = was_right.copy()
    is_right[-1] = False
    assert ua_difference_bound(labels, is_right, was_right, 0.95) == pytest.approx(-0.5)


def test_mcnemar_against_the_binomial_distribution() -> None:
    """Of 10 utterances that one model has right, the first has 8: twice the tail of 8 and more."""
    first = np.array([True] * 8 + [False] * 2 + [True] * 50)
    second = np.array([False] * 8 + [True] * 2 + [True] * 50)
    tail = (45 + 10 + 1) / 2**10
    assert mcnemar(first, second) == pytest.approx(2 * tail)
    assert mcnemar(second, first) == mcnemar(first, second)
    assert mcnemar(first, first) == 1.0


def test_the_difference_of_ua_is_symmetric_and_holds_the_truth() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 2000)
    good, better = rng.random(2000) < 0.5, rng.random(2000) < 0.6
    low, high = ua_difference(labels, better, good)
    assert low < 0.1 < high
    mirrored = ua_difference(labels, good, better)
    assert mirrored == pytest.approx((-high, -low), abs=0.005)
