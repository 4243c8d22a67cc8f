"""Decision values become probabilities that keep their order and are as sure as they may be."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.svm import SVC

from serct.models.classical.decisions import cross_validated_temperature, probabilities
from serct.models.classical.estimator import LabelledRows


def clouds(
    num_emotions: int, distance: float, num_rows: int = 600, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of as many normal clouds in three dimensions."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num_rows) % num_emotions
    centres = distance * np.random.default_rng(9).standard_normal((num_emotions, 3))
    return centres[labels] + rng.standard_normal((num_rows, 3)), labels


@pytest.mark.parametrize(
    ("machine", "num_emotions"),
    # Of more emotions scikit-learn's SVM gives votes, which no temperature makes likelihoods.
    [(SVC(), 2), (LinearDiscriminantAnalysis(), 2), (LinearDiscriminantAnalysis(), 4)],
    ids=["svm", "lda", "lda of four"],
)
def test_confidence_is_the_share_of_right_answers(num_emotions: int, machine) -> None:
    rows, labels = clouds(num_emotions, 0.8)
    temperature = cross_validated_temperature(machine, rows, LabelledRows(rows, labels), 3)
    machine.fit(rows, labels)
    fresh, fresh_labels = clouds(num_emotions, 0.8, 4000, seed=1)
    told = probabilities(machine, fresh, temperature)
    np.testing.assert_allclose(told.sum(axis=1), 1)
    np.testing.assert_array_equal(told.argmax(axis=1), machine.predict(fresh))
    is_right = told.argmax(axis=1) == fresh_labels
    assert told.max(axis=1).mean() == pytest.approx(is_right.mean(), abs=0.04)


def test_a_true_model_needs_no_temperature() -> None:
    rows, labels = clouds(3, 1.0, 6000)
    machine = LinearDiscriminantAnalysis()
    assert cross_validated_temperature(
        machine, rows, LabelledRows(rows, labels), 3
    ) == pytest.approx(1, rel=0.1)


def test_where_all_is_right_other_emotions_still_have_an_order() -> None:
    rows, labels = clouds(4, 30.0)
    machine = LinearDiscriminantAnalysis()
    temperature = cross_validated_temperature(machine, rows, LabelledRows(rows, labels), 3)
    told = probabilities(machine.fit(rows, labels), rows, temperature)
    assert (told.argmax(axis=1) == labels).all()
    assert told.min() > 0
    assert 0.95 < told.max(axis=1).mean() < 0.9995, "600 right answers prove no more"


def test_copies_of_a_clip_do_not_vouch_for_one_another() -> None:
    """Labels without any sense are learned by heart, which a copy in another fold would confirm."""
    rng = np.random.default_rng(0)
    rows, labels = rng.standard_normal((200, 20)), np.arange(200) % 2
    both, twice = np.concatenate((rows, rows + 1e-3)), np.tile(labels, 2)
    machine = SVC(C=100.0)
    apart = cross_validated_temperature(machine, both, LabelledRows(both, twice), 3)
    clips = LabelledRows(both, twice, clips=np.tile(np.arange(200), 2))
    together = cross_validated_temperature(machine, both, clips, 3)
    machine.fit(both, twice)
    fresh = rng.standard_normal((200, 20))
    assert probabilities(machine, fresh, together).max(axis=1).mean() < 0.6
    assert probabilities(machine, fresh, apart).max(axis=1).mean() > 0.75
