"""Predictors for one speaker, and what people are told about their recordings."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from serct import Predictor
from serct.errors import AudioError, SpeakerError
from serct.evaluation.classifiers import AdaptiveClassifier
from serct.inference.enrolment import Adaptation, Speaker, adaptation
from serct.models.checkpoint import load_card
from tests.models.test_enrolment import fitted, three_moods


@pytest.fixture
def judge(trained: dict[str, Path]):
    """Return what follows from numbers of recordings in three moods."""
    card = load_card(trained["functionals_lda_speaker"])
    rng = np.random.default_rng(0)
    model = fitted(rng)

    def judge(*counts: int) -> Adaptation:
        rows = three_moods(12, 1.0, rng).reshape(3, 12, 2)
        chosen = np.concatenate([mood[:count] for mood, count in zip(rows, counts, strict=True)])
        speaker = Speaker(model.enrol(chosen), len(chosen), 2.0 * len(chosen), card.fingerprint)
        return adaptation(AdaptiveClassifier(model), speaker, card)

    return judge


def test_varied_recordings_need_no_warning(judge) -> None:
    found = judge(2, 2, 2)
    assert found == Adaptation(6, 6, 12.0, 6.0, None)
    assert str(found) == "6 recordings of the speaker, 12.0 s of speech"


@pytest.mark.parametrize(
    ("counts", "mood"), [((6, 0, 0), "angry"), ((0, 6, 0), "happy"), ((0, 0, 6), "sad")]
)
def test_recordings_of_one_mood_are_said_to_be_that(
    judge, counts: tuple[int, int, int], mood: str
) -> None:
    found = judge(*counts)
    assert found.warning == (
        f"to the model these 6 recordings sound like one mood (most of all {mood}), so they count "
        "for little: record yourself in at least 3 moods"
    )
    assert 1 <= found.counts_as < 3.5


def test_few_recordings_are_little_to_adapt_to(judge) -> None:
    assert judge(1, 0, 0).warning == (
        "1 recording with 2.0 s of speech: little to adapt to; record yourself in at least 3 moods"
    )
    assert judge(1, 1, 1).warning.startswith("3 recordings with 6.0 s of speech: little")
    assert judge(0, 0, 0) == Adaptation(0, 0, 0.0, 0, None)


def test_only_an_adaptive_model_enrols_a_speaker(
    trained: dict[str, Path], spoken: Path, tmp_path: Path
) -> None:
    adaptive = Predictor.load(trained["functionals_lda_speaker"])
    samples, rate = soundfile.read(spoken)
    anna = adaptive.enrol([spoken, str(spoken)])
    assert anna.predict(samples, rate) != adaptive.predict(samples, rate)
    assert adaptive.speaker is adaptive.adaptation is None
    assert sum(anna.predict(samples, rate).values()) == pytest.approx(1)
    found = anna.adaptation
    assert found is not None
    assert found.num_recordings == 2
    assert found.num_windows == 2 * len(adaptive.plan_speech(
        adaptive.prepare(samples, rate), rate, "a"
    ).windows)  # fmt: skip
    assert found.speech_s == pytest.approx(2 * adaptive.analyse(samples, rate).speech_s)
    # One after another, or as arrays, it is the same speaker.
    for same in (
        adaptive.enrol([spoken]).enrol([spoken]),
        adaptive.enrol_waveforms([samples] * 2, rate),
    ):
        expected = pytest.approx(list(anna.predict(samples, rate).values()), abs=1e-6)
        assert list(same.predict(samples, rate).values()) == expected
    with pytest.raises(SpeakerError, match="does not adapt to a speaker; one that does"):
        Predictor.load(trained["functionals_lda"]).enrol([spoken])
    with pytest.raises(SpeakerError, match="expected at least one"):
        adaptive.enrol([])


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (None, r"r\.wav: not readable as audio"),
        (np.zeros(8000), r"r\.wav: .*silent"),
        (0.1 * np.random.default_rng(0).standard_normal(8000), r"r\.wav: no speech in its 0\.5 s"),
    ],
)
def test_what_no_speaker_is_enrolled_with(
    trained: dict[str, Path], tmp_path: Path, samples: np.ndarray | None, message: str
) -> None:
    path = tmp_path / "r.wav"
    path.write_bytes(b"no audio")
    if samples is not None:
        soundfile.write(path, samples, 16_000)
    with pytest.raises(AudioError, match=message):
        Predictor.load(trained["functionals_lda_speaker"]).enrol([path])


def test_a_speaker_is_of_one_model(trained: dict[str, Path], spoken: Path, tmp_path: Path) -> None:
    one = Predictor.load(trained["functionals_lda_speaker"])
    speaker = one.enrol([spoken]).speaker
    assert speaker is not None
    other = Predictor(one.classify, one.card.model_copy(update={"fingerprint": "f" * 64}))
    with pytest.raises(
        SpeakerError, match=r"expected functionals_lda_speaker \(fffffff\), .*again"
    ):
        other.for_speaker(speaker)
