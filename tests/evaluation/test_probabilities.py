"""No prediction leaves serct unless it is a distribution."""

import re

import numpy as np
import pytest

from serct.errors import PredictionError
from serct.evaluation.probabilities import checked_probabilities


def test_distributions_pass_unchanged() -> None:
    rows = np.random.default_rng(0).dirichlet(np.ones(5), size=7)
    assert checked_probabilities(rows, "model m") is rows
    single = rows.astype(np.float32).astype(np.float64)
    assert checked_probabilities(single, "model m") is single
    assert checked_probabilities(np.empty((0, 5)), "model m").shape == (0, 5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_an_error(value: float) -> None:
    rows = np.full((3, 4), 0.25)
    rows[1, 2] = value
    expected = "model m gives probabilities that are not numbers for 1 of 3 clips"
    with pytest.raises(PredictionError, match=f"^{expected}$"):
        checked_probabilities(rows, "model m")


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ([0.5, 0.6], "from 0.5 to 0.6, sum 1.1"),
        ([1.5, -0.5], "from -0.5 to 1.5, sum 1"),
        ([0.0, 0.0], "from 0 to 0, sum 0"),
        ([1e300, 1e300], "from 1e+300 to 1e+300, sum 2e+300"),
    ],
)
def test_what_is_no_distribution_is_an_error(row: list[float], found: str) -> None:
    expected = (
        "model m gives probabilities that are no distribution for 1 of 2 clips: "
        f"{found}, expected none below 0 and sum 1"
    )
    with pytest.raises(PredictionError, match=f"^{re.escape(expected)}$"):
        checked_probabilities(np.array([[0.5, 0.5], row]), "model m")
