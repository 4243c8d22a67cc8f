"""The distance is SciPy's, and its threshold is exceeded as often as it says."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import jensenshannon

from serct.evaluation.drift import FALSE_ALARMS, LEAST, distance, threshold

counts = arrays(np.int64, 6, elements=st.integers(0, 1000)).filter(lambda each: each.sum() > 0)


@given(counts, counts)
@settings(max_examples=30, deadline=None)
def test_distance_is_that_of_scipy(first: np.ndarray, second: np.ndarray) -> None:
    found = float(distance(first, second))
    expected = np.nan_to_num(jensenshannon(first, second, base=2))
    assert found == pytest.approx(expected, abs=1e-7)
    assert 0 <= found <= 1
    assert found == pytest.approx(float(distance(second, first)), abs=1e-7)


SHAPES = {
    "even": np.ones(9),
    "steep": np.array([900, 50, 30, 10, 5, 3, 1, 0.5, 0.3, 0.2]),
    "hill": np.exp(-0.5 * ((np.arange(14) - 6) / 2) ** 2),
}


@pytest.mark.parametrize(
    ("shape", "recordings", "predictions"),
    [("steep", 100, 60), ("even", 250, 500), ("hill", 1000, 500)],
)
def test_input_like_the_reference_seldom_exceeds(
    shape: str, recordings: int, predictions: int
) -> None:
    random = np.random.default_rng(1)
    shares = SHAPES[shape] / SHAPES[shape].sum()
    exceeded = 0
    for _ in range(30):
        reference = random.multinomial(recordings, shares)
        current = float(distance(random.multinomial(predictions, shares), reference))
        exceeded += current > threshold(tuple(reference.tolist()), predictions, 1)
    # Of 30 trials at 0.1 %, two or more are seen once in 2,000 times.
    assert exceeded <= 1


def test_a_reference_that_counts_as_exact_would_alarm() -> None:
    """What the threshold's docstring says of the plain bootstrap."""
    random, shares = np.random.default_rng(1), SHAPES["even"] / 9
    exceeded = 0
    for _ in range(50):
        reference = random.multinomial(250, shares)
        draws = random.multinomial(500, reference / reference.sum(), 500)
        bound = np.quantile(distance(draws, reference), 0.99)
        exceeded += float(distance(random.multinomial(500, shares), reference)) > bound
    assert exceeded > 10


def test_threshold_falls_with_what_is_known_and_rises_with_the_comparisons() -> None:
    few, many = (20, 30, 10), (200, 300, 100)
    assert threshold(few, 50, 1) > threshold(few, 500, 1)
    assert threshold(few, 500, 1) > threshold(many, 500, 1)
    assert threshold(many, 500, 6) > threshold(many, 500, 1)


def test_threshold_is_the_same_for_numbers_that_differ_little() -> None:
    reference = (20, 30, 10)
    found = [threshold(reference, num, 6) for num in range(LEAST, 300)]
    assert len(set(found)) < 25
    # Draws are random numbers, so it falls but for some hundredths.
    assert all(later < 1.05 * earlier for earlier, later in itertools.pairwise(found))
    assert found == [threshold(reference, num, 6) for num in range(LEAST, 300)]


def test_a_shift_of_a_few_bins_exceeds() -> None:
    reference = (2, 10, 60, 100, 60, 10, 2, 0)
    moved = (0, 0, 2, 10, 60, 100, 60, 12)
    assert float(distance(moved, reference)) > threshold(reference, sum(moved), 6)


def test_threshold_is_the_quantile_of_many_draws() -> None:
    random, reference = np.random.default_rng(2), np.array([3, 40, 120, 60, 20, 5, 2])
    draws = random.multinomial(200, random.dirichlet(reference + 0.5, 60_000))
    expected = np.quantile(distance(draws, reference), 1 - FALSE_ALARMS)
    assert threshold(tuple(reference.tolist()), 200, 1) == pytest.approx(expected, rel=0.06)
