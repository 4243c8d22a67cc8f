"""Permuted groups of features: what a model does not use loses nothing, and what it uses, all."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.inspection import permutation_importance
from sklearn.metrics import balanced_accuracy_score

from serct.errors import CheckpointError
from serct.evaluation import importance
from serct.evaluation.importance import FeatureImportance, measure_importance, read_importance
from serct.models.classical.decisions import linear_discriminants
from serct.models.classical.estimator import Array, LabelledRows
from serct.models.classical.feature_classifier import FeatureClassifier, FeatureName
from serct.models.classical.speaker_normalization import SpeakerNormalization
from serct.models.records import IMPORTANCE, RUN, RunRecord, read_history
from serct.runtime.arrays import Floats

EMOTIONS = ("angry", "happy", "sad")
GROUPS = ("pitch", "pitch", "energy", "energy", "noise")


class Plain(FeatureClassifier):
    """The samples are the features, with one group each."""

    _decides_by = ("coef_", "intercept_")

    def __init__(
        self, groups: tuple[str, ...] = GROUPS, normalization: SpeakerNormalization | None = None
    ) -> None:
        super().__init__(3, normalization)
        self._groups = groups

    def _features(self, waveform: Floats) -> Array:
        return waveform.astype(np.float64)

    def _feature_params(self) -> dict[str, Any]:
        return {}

    def _machine(self, num_emotions: int) -> Any:
        return linear_discriminants(num_emotions, "auto")

    def feature_names(self) -> tuple[FeatureName, ...]:
        return tuple(FeatureName(group, str(n)) for n, group in enumerate(self._groups))


def make_rows(num_rows: int, seed: int, offset: float = 0.0) -> tuple[Array, Array]:
    """The first two features say the same, the emotion; the others are noise."""
    random = np.random.default_rng(seed)
    labels = np.arange(num_rows) % 3
    rows = random.standard_normal((num_rows, 5))
    rows[:, :2] = 10.0 * labels[:, None] + 0.1 * rows[:, :2] + offset
    return rows, labels


def fitted(model: Plain, speakers: tuple[str, ...] = ()) -> Plain:
    rows, labels = make_rows(90, 0)
    model.fit(LabelledRows(rows, labels, speakers))
    return model


def test_the_group_that_decides_loses_what_chance_leaves() -> None:
    rows, labels = make_rows(300, 1)
    before = rows.copy()
    found = measure_importance(fitted(Plain()), rows, labels, [""] * 300, EMOTIONS, 3)
    assert found is not None
    assert (found.n, found.of, found.ua) == (300, 300, 1.0)
    assert next(iter(found.groups)) == "pitch"
    pitch = found.groups["pitch"]
    assert pitch.num_features == 2
    assert pitch.ua_lost == pytest.approx(2 / 3, abs=0.05), "one in three is right by chance"
    assert 0 < pitch.deviation < 0.05
    for group in ("energy", "noise"):
        assert found.groups[group].ua_lost == found.groups[group].deviation == 0
    np.testing.assert_array_equal(rows, before)


def test_alone_each_of_two_that_say_the_same_hides_the_other() -> None:
    groups = ("pitch", "first", "second", "pitch", "noise")
    random, labels = np.random.default_rng(0), np.arange(300) % 3
    rows = random.standard_normal((300, 5))
    rows[:, 1:3] += 2.0 * labels[:, None]
    together = Plain(("noise", "both", "both", "noise", "noise"))
    alone = Plain(groups)
    for model in (together, alone):
        model.fit(LabelledRows(rows, labels))
    one, two = (
        measure_importance(model, rows, labels, [""] * 300, EMOTIONS, 3)
        for model in (alone, together)
    )
    assert one is not None
    assert two is not None
    for name in ("first", "second"):
        assert one.groups[name].ua_lost < 0.7 * two.groups["both"].ua_lost


def test_groups_of_one_feature_lose_what_scikit_learn_says() -> None:
    random = np.random.default_rng(5)
    rows, labels = make_rows(240, 2)
    rows[:, 0] = labels + random.standard_normal(240)
    rows[:, 1] = 0.5 * labels + random.standard_normal(240)
    names = ("a", "b", "c", "d", "e")
    model = Plain(names)
    model.fit(LabelledRows(rows, labels))
    found = measure_importance(model, rows, labels, [""] * 240, EMOTIONS, 3)

    def ua_of(_: object, changed: Array, actual: Array) -> float:
        return float(balanced_accuracy_score(actual, model.predict(changed).argmax(axis=1)))

    expected = permutation_importance(
        model._estimator, rows, labels, scoring=ua_of, n_repeats=50, random_state=0
    )
    assert found is not None
    for name, mean, deviation in zip(
        names, expected.importances_mean, expected.importances_std, strict=True
    ):
        tolerance = 4 * deviation / np.sqrt(importance.NUM_REPEATS) + 1e-9
        assert found.groups[name].ua_lost == pytest.approx(mean, abs=tolerance)


def test_seeds_decide_and_large_parts_are_thinned_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance, "MAX_UTTERANCES", 60)
    model, (rows, labels) = fitted(Plain()), make_rows(300, 1)
    rows[:, :2] += np.random.default_rng(0).normal(0, 4, (300, 2))
    first, again, other = (
        measure_importance(model, rows, labels, [""] * 300, EMOTIONS, seed) for seed in (3, 3, 4)
    )
    assert first == again != other
    assert first is not None
    assert (first.n, first.of) == (60, 300)


def test_a_model_for_speakers_adapts_to_them_here_too() -> None:
    model = Plain(normalization=SpeakerNormalization(0.01))
    fitted(model, ("ann",) * 45 + ("bob",) * 45)
    rows, labels = make_rows(60, 1, offset=100.0)
    found = measure_importance(model, rows, labels, ["eve"] * 60, EMOTIONS, 3)
    assert found is not None
    assert found.ua == 1.0
    unknown = measure_importance(model, rows, labels, [""] * 60, EMOTIONS, 3)
    assert unknown is not None
    assert unknown.ua < 0.5


def test_features_without_names_have_no_importance() -> None:
    rows, labels = make_rows(30, 1)
    assert measure_importance(fitted(Plain(())), rows, labels, [""] * 30, EMOTIONS, 3) is None


def test_training_writes_it_and_damage_is_refused(trained: dict[str, Path], tmp_path: Path) -> None:
    folder = trained["mfcc_svm"]
    listed = RunRecord.read(folder / RUN).files
    found = read_importance(folder, listed, "", CheckpointError)
    assert found == FeatureImportance.read(folder / IMPORTANCE)
    assert found is not None
    assert set(found.groups) == {"energy", "spectrum", "changes of energy", "changes of spectrum"}
    assert sum(each.num_features for each in found.groups.values()) == 30 * 9
    for name in ("serct", "svm"):
        assert IMPORTANCE not in RunRecord.read(trained[name] / RUN).files
        assert not (trained[name] / IMPORTANCE).exists()
    for name in (RUN, "history.csv", IMPORTANCE):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / IMPORTANCE).write_text("{}", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"importance\.json: damaged"):
        read_history(tmp_path)
