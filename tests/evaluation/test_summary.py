"""Calibration error, risk and groups, against closed forms."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serct.data.dataset import ShardDataset
from serct.evaluation.records import Groups
from serct.evaluation.summary import by_group, expected_calibration_error, risk_coverage


def spread(confidences: np.ndarray) -> np.ndarray:
    return np.stack([confidences, 1 - confidences], axis=1)


def test_honest_confidence_has_no_error() -> None:
    rng = np.random.default_rng(0)
    confidences = rng.uniform(0.5, 1, 20_000)
    labels = (rng.random(20_000) > confidences).astype(int)
    assert expected_calibration_error(spread(confidences), labels) < 0.01


@given(st.floats(0.51, 0.99), st.integers(1, 50), st.integers(0, 50))
def test_one_bin_is_the_plain_difference(confidence: float, right: int, wrong: int) -> None:
    labels = np.array([0] * right + [1] * wrong)
    found = expected_calibration_error(spread(np.full(len(labels), confidence)), labels)
    assert found == pytest.approx(abs(confidence - right / (right + wrong)), abs=1e-9)


def test_risk_falls_as_the_unsure_are_left_out() -> None:
    confidences = np.linspace(1, 0.5, 10)
    labels = np.array([0] * 7 + [1] * 3)
    assert risk_coverage(spread(confidences), labels) == pytest.approx(
        {"50%": 0.0, "70%": 0.0, "80%": 1 / 8, "90%": 2 / 9, "100%": 0.3}
    )


def test_the_worst_group_is_named(tone_shards: Path) -> None:
    dataset = ShardDataset(tone_shards, ["train", "validation", "test"])
    probabilities = np.eye(len(dataset.emotions))[dataset.labels]
    bad = np.array([row.speaker == "s2" for row in dataset.rows])
    probabilities[bad] = probabilities[bad][:, [1, 2, 0]]
    found = by_group(dataset, probabilities)
    speakers = found["speaker"].groups
    assert sum(group.n for group in speakers.values()) == len(dataset)
    assert speakers["s2"].wa == 0.0
    assert speakers["s1"].metrics == {"wa": 1.0, "ua": 1.0}
    assert found["speaker"].worst in ("s2", None)
    assert found["gender"] == Groups(groups={}, worst=None)
    assert list(found["length"].groups) == ["under 1.5 s"]
