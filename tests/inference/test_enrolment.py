"""What people are told about their recordings."""

from pathlib import Path

import numpy as np
import pytest

from serct.evaluation.classifiers import AdaptiveClassifier
from serct.inference.enrolment import Adaptation, Speaker, adaptation
from serct.models.checkpoint import load_card
from tests.models.test_feature_classifier import fitted, three_moods


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
        f"these 6 recordings sound like one mood ({mood}), so they count for little: record "
        "yourself in at least 3 moods"
    )
    assert 1 <= found.counts_as < 3.5


def test_few_recordings_are_little_to_adapt_to(judge) -> None:
    assert judge(1, 0, 0).warning == (
        "1 recording with 2.0 s of speech: little to adapt to; record yourself in at least 3 moods"
    )
    assert judge(1, 1, 1).warning.startswith("3 recordings with 6.0 s of speech: little")
    assert judge(0, 0, 0) == Adaptation(0, 0, 0.0, 0, None)
