"""Scores against scikit-learn and against counting."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, log_loss, recall_score

from serct.evaluation.metrics import majority, score

LABELS = ("angry", "happy", "neutral", "sad")


@given(st.integers(0, 10_000), st.integers(1, 60))
def test_scores_agree_with_scikit_learn(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    actual = rng.integers(0, len(LABELS), n)
    probabilities = rng.dirichlet(np.ones(len(LABELS)), n)
    predicted = probabilities.argmax(axis=1)
    scores = score(LABELS, actual, probabilities)
    present = np.unique(actual)
    assert scores.n == n
    assert scores.wa == pytest.approx(accuracy_score(actual, predicted))
    recall = recall_score(actual, predicted, labels=present, average="macro", zero_division=0)
    assert scores.ua == pytest.approx(recall)
    f1 = f1_score(actual, predicted, labels=present, average="weighted", zero_division=0)
    assert scores.wf1 == pytest.approx(f1)
    expected_loss = log_loss(actual, probabilities, labels=range(len(LABELS)))
    assert scores.loss == pytest.approx(expected_loss)


def test_confusion_rows_are_actual() -> None:
    scores = score(("a", "b"), np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]))
    assert scores.confusion.tolist() == [[1, 1], [0, 1]]
    assert scores.recall == {"a": 0.5, "b": 1.0}


def test_a_class_that_never_occurs_has_no_recall() -> None:
    scores = score(("a", "b", "c"), np.array([0, 1]), np.eye(3)[[0, 2]])
    assert scores.recall == {"a": 1.0, "b": 0.0}
    assert scores.ua == 0.5


def test_a_certain_wrong_answer_has_a_finite_loss() -> None:
    scores = score(("a", "b"), np.array([0]), np.array([[0.0, 1.0]]))
    assert math.isfinite(scores.loss)
    assert scores.loss > 100


def test_majority_closed_form() -> None:
    scores = majority(("a", "b"), np.array([0, 0, 0, 1]), 0)
    assert (scores.wa, scores.ua) == (0.75, 0.5)
    assert scores.wf1 == pytest.approx(0.75 * (2 * 0.75 / 1.75))
