"""Features relative to their speaker, and what enrolment makes of recordings of one mood."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.svm import SVC

from serct.models.classical.enrolment import Variety
from serct.models.classical.estimator import ClassicalState, LabelledRows
from serct.models.classical.feature_classifier import FeatureClassifier
from serct.models.classical.speaker_normalization import SpeakerNormalization


def test_where_a_speaker_lies_is_taken_out() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((60, 3))
    speakers = ["a"] * 20 + ["b"] * 20 + ["c"] * 20
    norm = SpeakerNormalization(relevance_factor=4.0)
    norm.fit(features, speakers)
    own = rng.standard_normal((5000, 3))
    plain = norm(own, own.mean(axis=0), len(own))
    moved = norm(own + 100, own.mean(axis=0) + 100, len(own))
    # The average speaker still counts for 4 of 5,004 recordings.
    np.testing.assert_allclose(plain, moved, atol=0.1)
    np.testing.assert_allclose(moved.mean(axis=0), 0, atol=0.1)


def test_an_unknown_speaker_is_the_average_one_and_more_recordings_count_for_more() -> None:
    features = np.array([[0.0], [2.0], [4.0], [6.0]])
    norm = SpeakerNormalization(relevance_factor=1.0)
    norm.fit(features, ["a", "a", "b", "b"])
    assert norm(np.array([[3.0]]), np.array([77.0]), 0).tolist() == [[0.0]]
    mean = np.array([13.0])
    one, three = (norm(mean[None], mean, count)[0, 0] for count in (1, 3))
    # Its mean is taken to be 8 and 10.5.
    assert (one, three) == (5.0, 2.5)


class Plain(FeatureClassifier):
    """What it is given are the features."""

    def _feature_params(self) -> dict[str, float]:
        return {}

    def _features(self, waveform: np.ndarray) -> np.ndarray:
        return waveform.astype(np.float64)

    def _machine(self, num_emotions: int) -> SVC:
        return SVC(class_weight="balanced")


class Linear(Plain):
    """The same with discriminants, whose decision values are linear."""

    def _machine(self, num_emotions: int) -> LinearDiscriminantAnalysis:
        priors = np.full(num_emotions, 1 / num_emotions)
        return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=priors)


@pytest.mark.parametrize("kind", [Plain, Linear])
def test_a_speaker_is_not_mistaken_for_an_emotion(kind: type[Plain]) -> None:
    """A low speaker's high is lower than a high speaker's low: only enrolment can tell."""
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 40)

    def speak(semitones: float) -> np.ndarray:
        pitch = semitones + 3 * labels + 0.3 * rng.standard_normal(len(labels))
        return pitch[:, None].astype(np.float32)

    rows = np.concatenate([speak(0), speak(12)])
    speakers = ["deep"] * len(labels) + ["high"] * len(labels)
    features = speak(24).astype(np.float64)
    model = kind(3, SpeakerNormalization(relevance_factor=1.0))
    model.fit(LabelledRows(model.extract_features(rows), np.tile(labels, 2), speakers))
    # Odd numbers apart: both emotions are among them.
    enrolled = model.predict(features, model.enrol(features[1::3]))
    assert (enrolled.argmax(axis=1) == labels).all()
    mixed = np.concatenate([features, speak(-7).astype(np.float64)])[::-1]
    names = (["tall"] * len(labels) + ["small"] * len(labels))[::-1]
    both = model.predict_by_speaker(mixed, names)
    assert (both.argmax(axis=1) == np.tile(labels, 2)[::-1]).all()
    nameless = model.predict_by_speaker(mixed, [""] * len(mixed))
    np.testing.assert_array_equal(nameless, model.predict(mixed))
    unknown = model.predict(features).argmax(axis=1)
    assert len(set(unknown)) == 1, "all that stands out is that the speaker is another"
    np.testing.assert_array_equal(
        model.predict(features, model.enrol(features[:0])).argmax(1), unknown
    )
    plain = kind(3)
    plain.fit(LabelledRows(plain.extract_features(rows), np.tile(labels, 2), speakers))
    answers = plain.predict(features, model.enrol(features))
    np.testing.assert_array_equal(answers, plain.predict(features))
    with pytest.raises(ValueError, match="does not adapt to a speaker"):
        plain.enrol(features)


def three_moods(num_each: int, at: float, rng: np.random.Generator) -> np.ndarray:
    """Recordings of a speaker at some place, in three moods. [3 * num_each, 2]."""
    moods = np.repeat([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]], num_each, axis=0)
    return at + moods + rng.standard_normal(moods.shape)


def fitted(rng: np.random.Generator) -> Linear:
    rows = np.concatenate([three_moods(20, at, rng) for at in (-3.0, 0.0, 3.0)])
    labels = np.tile(np.repeat([0, 1, 2], 20), 3)
    model = Linear(3, SpeakerNormalization(relevance_factor=4.0))
    model.fit(LabelledRows(rows, labels, np.repeat(["a", "b", "c"], 60).tolist()))
    return model


def test_enrolment_with_the_mean_of_all_is_the_prediction_by_speaker() -> None:
    rng = np.random.default_rng(0)
    model = fitted(rng)
    rows = three_moods(8, 20.0, rng)
    expected = model.predict_by_speaker(rows, ["dora"] * len(rows))
    np.testing.assert_array_equal(model.predict(rows, model.enrol(rows)), expected)
    # Window by window, in any order, the sums are the same.
    windows = [model.enrol(row[None]) for row in rows[::-1]]
    added = sum(windows[1:], windows[0])
    assert added.count == len(rows)
    assert added.spread == pytest.approx(model.enrol(rows).spread)
    np.testing.assert_allclose(model.predict(rows, added), expected, atol=1e-9)
    # The closed form: all recordings count, against four of the average speaker.
    assert model.num_counted(added) == len(rows)
    assert model._normalization is not None
    by_hand = rows - (24 * rows.mean(axis=0) + 4 * model._normalization._mean) / 28
    np.testing.assert_allclose(model._normalization(rows, rows.mean(axis=0), 24), by_hand)


@pytest.mark.parametrize("at", [-20.0, 0.0, 20.0])
def test_recordings_of_one_mood_count_as_one(at: float) -> None:
    rng = np.random.default_rng(1)
    model = fitted(rng)
    rows = three_moods(12, at, rng)
    for mood in range(3):
        narrow = model.enrol(rows[12 * mood :][:12])
        assert model.variety(narrow) < 0.2
        assert model.num_counted(narrow) < 3
    assert model.variety(model.enrol(rows)) == 1
    assert model.num_counted(model.enrol(rows)) == 36
    one, none = model.enrol(rows[:1]), model.enrol(rows[:0])
    assert [model.num_counted(each) for each in (one, none)] == [1, 0]


def test_a_model_of_an_older_version_counts_all_recordings() -> None:
    rng = np.random.default_rng(2)
    model = fitted(rng)
    state = model.state()
    old = {name: value for name, value in state.tensors.items() if name != "variety"}
    assert old.keys() == {"temperature", "voice_mean"}
    loaded = Linear(3, SpeakerNormalization(relevance_factor=4.0))
    loaded.load_state(ClassicalState(state.estimator, old))
    rows = three_moods(12, 5.0, rng)
    assert loaded.num_counted(loaded.enrol(rows[:12])) == 12
    again = Linear(3, SpeakerNormalization(relevance_factor=4.0))
    again.load_state(state)
    enrolled = again.enrol(rows[:12])
    np.testing.assert_array_equal(again.predict(rows, enrolled), model.predict(rows, enrolled))
    assert again.num_counted(enrolled) == model.num_counted(enrolled) < 3


def test_speakers_of_one_emotion_each_give_no_measure_of_variety() -> None:
    decisions = np.random.default_rng(0).standard_normal((20, 2))
    labels = np.repeat([0, 1], 10)
    assert Variety.measure(decisions, labels, ["a"] * 10 + ["b"] * 10) is None
    assert Variety.measure(decisions[:2], labels[9:11], ["a"] * 2) is None
    moved = decisions + 9 * labels[:, None]
    found = Variety.measure(moved, labels, ["a"] * 20)
    assert found is not None
    within = (decisions[:10].var(0, ddof=1) + decisions[10:].var(0, ddof=1)).sum() / 2
    between = np.stack([moved[:10].mean(0), moved[10:].mean(0)]).var(0).sum()
    assert found.one_emotion == pytest.approx(within)
    assert found.all_emotions == pytest.approx(within + between)
