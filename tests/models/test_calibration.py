"""The temperature is the one that data were made with; the bound keeps its promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serct.models.calibration import Calibration, calibrate


def sampled(num_rows: int, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Give probabilities that are too confident by ``temperature``, and labels."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(num_rows, 5)) * 2
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(5, p=row) for row in true])
    told = np.exp(logits * temperature)
    return told / told.sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize("temperature", [0.7, 1.0, 4.0])
def test_finds_the_temperature(temperature: float) -> None:
    probabilities, labels = sampled(6000, temperature)
    assert calibrate(probabilities, labels, 0.1).temperature == pytest.approx(temperature, rel=0.1)


@given(st.integers(0, 10_000), st.floats(0.0, 0.9), st.integers(1, 60))
def test_bound_is_the_lowest_that_keeps_its_promise(seed: int, max_error: float, n: int) -> None:
    probabilities, labels = sampled(n, 2.0, seed)
    found = calibrate(probabilities, labels, max_error)
    calibrated = found.apply(probabilities)
    confidences, is_wrong = calibrated.max(axis=1), calibrated.argmax(axis=1) != labels

    def keeps(bound: float) -> bool:
        answered = confidences >= bound
        return bool(answered.any()) and is_wrong[answered].mean() <= max_error

    bounds = [0.0, *sorted(set(confidences))]
    expected = next((bound for bound in bounds if keeps(bound)), 1.0)
    assert found.uncertain_below == expected


def test_order_and_sums_stay() -> None:
    probabilities, _ = sampled(50, 1.0)
    applied = Calibration(temperature=3.0, uncertain_below=0.2).apply(probabilities)
    assert (applied.argsort(axis=1) == probabilities.argsort(axis=1)).all()
    assert applied.sum(axis=1) == pytest.approx(np.ones(50))
    assert applied.max() < probabilities.max()


@pytest.mark.parametrize("num_rows", [4, 100, 5000])
def test_certain_and_right_is_as_sure_as_so_many_right_answers_allow(num_rows: int) -> None:
    labels = np.arange(num_rows) % 4
    certain = np.eye(4)[labels]
    found = calibrate(certain, labels, 0.1)
    assert found.uncertain_below == 0.0
    expected = (num_rows + 1) / (num_rows + 2)
    assert found.apply(certain).max(axis=1) == pytest.approx(expected, rel=1e-3)
