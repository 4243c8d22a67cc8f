"""The models that extract features of a clip and classify them with scikit-learn."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.svm import SVC

from serct.config.params import Params
from serct.models import read_model_params
from serct.models.classical.enrolment import Variety
from serct.models.classical.estimator import ClassicalState, LabelledRows
from serct.models.classical.feature_classifier import FeatureClassifier
from serct.models.classical.speaker_normalization import SpeakerNormalization

RATE_HZ = 16_000
Build = Callable[[str], FeatureClassifier]


@pytest.fixture
def build(tiny_params: Params) -> Build:
    def build_one(name: str) -> FeatureClassifier:
        model = read_model_params(tiny_params, name).build(tiny_params.train, 3, RATE_HZ)
        assert isinstance(model, FeatureClassifier)
        return model

    return build_one


def clip(seed: int = 0, num_samples: int = 8000) -> np.ndarray:
    rng = np.random.default_rng(seed)
    colour = np.convolve(rng.standard_normal(num_samples), np.ones(8) / 8, mode="same")
    return (0.1 * colour).astype(np.float32)


def tone(hertz: float, num_samples: int = 16_000) -> np.ndarray:
    """A buzz of ten harmonics."""
    seconds = np.arange(num_samples) / RATE_HZ
    waves = [np.sin(2 * np.pi * n * hertz * seconds) / n for n in range(1, 11)]
    return (0.1 * np.sum(waves, axis=0)).astype(np.float32)


@pytest.mark.parametrize("name", ["mfcc_svm", "functionals_lda"])
@pytest.mark.parametrize(
    "change",
    [
        lambda waveform: 0.125 * waveform,
        lambda waveform: np.append(waveform, np.zeros(5000, np.float32)),
        lambda waveform: waveform + np.float32(0.05),
    ],
    ids=["level", "zeros behind", "constant"],
)
def test_easy_cues_change_no_feature(build: Build, name: str, change) -> None:
    model, waveform = build(name), clip()
    found = model._features(change(waveform))
    expected = model._features(waveform)
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()
    assert np.abs(model._features(clip(1)) - expected).max() > 0.02 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["mfcc_svm", "functionals_lda"])
@pytest.mark.parametrize("num_samples", [1, 50, 700])
def test_any_length_has_features(build: Build, name: str, num_samples: int) -> None:
    model = build(name)
    sizes = set()
    for waveform in (clip(0, num_samples), np.zeros(num_samples, np.float32), clip()):
        features = model._features(waveform)
        assert np.isfinite(features).all()
        sizes.add(features.shape)
    assert len(sizes) == 1


@pytest.mark.parametrize("name", ["mfcc_svm", "functionals_lda", "functionals_lda_speaker"])
def test_tells_colours_of_noise_apart(build: Build, name: str) -> None:
    model = build(name)
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1, 2], 12)
    rows = np.stack(
        [np.convolve(rng.standard_normal(4000), np.ones(2 + 6 * k), mode="same") for k in labels]
    ).astype(np.float32)
    model.fit(LabelledRows(model.extract_features(rows[:27]), labels[:27]))
    probabilities = model.predict_proba(rows[27:])
    assert (probabilities.argmax(axis=1) == labels[27:]).all()
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(9))
    assert model.num_features == model.extract_features(rows[:1]).shape[1]


@pytest.mark.parametrize("name", ["mfcc_svm", "functionals_lda", "functionals_lda_speaker"])
def test_a_saved_one_answers_alike(trained: dict[str, Path], name: str) -> None:
    from serct.models.checkpoint import load_model

    folder = trained[name]
    one, other = load_model(folder)[0], load_model(folder)[0]
    assert isinstance(one, FeatureClassifier)
    assert isinstance(other, FeatureClassifier)
    rows = np.stack([clip(seed) for seed in range(3)])
    np.testing.assert_array_equal(one.predict_proba(rows), other.predict_proba(rows))
    assert {path.name for path in folder.iterdir()} >= {"model.skops", "weights.safetensors"}


def test_pitch_is_relative_to_the_clip(build: Build) -> None:
    from serct.models.functionals_lda import FunctionalsLda

    model = build("functionals_lda")
    assert isinstance(model, FunctionalsLda)
    loud = np.zeros(201)
    for hertz in (100.0, 200.0, 280.0):
        buzz = np.append(tone(hertz), tone(2 * hertz))[:32_000].astype(np.float64)
        pitches, is_voiced = model._pitches(buzz, loud, 160)
        assert is_voiced.mean() > 0.9
        low, high = np.quantile(pitches, (0.2, 0.8))
        assert high - low == pytest.approx(12, abs=0.2), "an octave, in semitones"
        assert np.median(pitches) == pytest.approx(0)
    _, is_voiced = model._pitches(tone(100).astype(np.float64), np.array([0.0, -40, 0]), 160)
    assert is_voiced.tolist() == [True, False, True], "what is soft has no pitch"


def test_a_course_tells_how_a_contour_runs() -> None:
    from serct.models.functionals_lda import _course

    time = np.linspace(-1, 1, 400)
    rising, falling = _course(5 * time), _course(-5 * time)
    assert rising[:3] == pytest.approx([5, 0, 0], abs=1e-9)
    assert falling[[0, 3, 4]] == pytest.approx([-5, 0, 10 / 399])
    arched = _course(1.5 * time**2)
    assert arched[:3] == pytest.approx([0, 1, 0], abs=1e-9), "Legendre's second polynomial"
    np.testing.assert_allclose(_course(5 * time + 100), rising, atol=1e-9)


def test_rhythm_counts_stretches_of_voice() -> None:
    from serct.models.functionals_lda import _rhythm

    is_voiced = np.repeat([False, True, False, True], [20, 10, 40, 30])
    share, a_second, mean, spread = _rhythm(is_voiced)
    assert (share, a_second) == (0.4, 2.0)
    assert (mean, spread) == (pytest.approx(0.2), pytest.approx(0.1))
    assert _rhythm(np.zeros(10, bool)).tolist() == [0, 0, 0, 0]


def test_modulation_peaks_at_the_speed_of_swelling() -> None:
    from serct.models.functionals_lda import _modulation

    seconds = np.arange(800) / 100
    for speed, expected in ((1.0, 0), (3.0, 1), (6.0, 2), (12.0, 3), (24.0, 4)):
        bands = np.tile(10 * np.sin(2 * np.pi * speed * seconds), (40, 1))
        strengths = _modulation(bands).reshape(5, 8)
        assert (strengths.argmax(axis=0) == expected).all(), speed


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
