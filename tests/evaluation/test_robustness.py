"""UA under conditions: which utterances, beside which others, and what is compared."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from serct.data.dataset import ShardDataset
from serct.evaluation.conditions import StatedCondition, read_conditions
from serct.evaluation.evaluate import predict
from serct.evaluation.records import RobustnessMetrics
from serct.evaluation.robustness import (
    ChangedDataset,
    change_recording,
    choose_utterances,
    measure_robustness,
    num_predictions,
)
from serct.models.records import Card
from serct.runtime.arrays import Floats, Probabilities
from tests.evaluation.test_evaluate import ALL, Oracle
from tests.fake_results import make_card

CARD = Card.parse(json.dumps(make_card("tones", "serct")), "card.json")


def stated(**entries: dict[str, Any]) -> list[StatedCondition]:
    return read_conditions(entries)


@pytest.fixture(scope="module")
def tones_test(tone_shards: Path) -> ShardDataset:
    return ShardDataset(tone_shards, ALL)


def test_an_oracle_keeps_what_a_condition_leaves_and_loses_what_it_takes(
    tones_test: ShardDataset,
) -> None:
    """The tones are at 200, 600 and 1500 Hz: at half the speed the last two are the first two."""
    conditions = stated(
        softer={"condition": "level", "gain_db": -20.0},
        slower={"condition": "speed", "factor": 0.5},
        opus={"condition": "codec", "codec": "opus", "kbit_s": 32.0},
    )
    seen: list[int] = []

    def loudest(waveforms: Floats, num_valid: npt.NDArray[np.int64]) -> Probabilities:
        found = np.full((len(waveforms), 3), 0.01)
        for row, waveform in enumerate(waveforms):
            spectrum = np.abs(np.fft.rfft(waveform))
            hertz = spectrum.argmax() / len(waveform) * 16_000
            found[row, np.abs(np.array([1500.0, 600.0, 200.0]) - hertz).argmin()] = 1.0
        return np.asarray(found / found.sum(axis=1, keepdims=True))

    found = measure_robustness(
        CARD, loudest, tones_test, tones_test, conditions, 30, 8, seen.append
    )
    assert (found.n, found.of, found.ua) == (30, 36, 1.0)
    assert sum(seen) == num_predictions(tones_test, conditions, 30) == 4 * 30
    softer, slower, opus = found.conditions
    assert (softer.ua, softer.change, softer.changed, softer.measured) == (1.0, 0.0, 0.0, {})
    assert slower.ua == pytest.approx(1 / 3)
    assert slower.change == pytest.approx(-2 / 3)
    assert slower.changed == pytest.approx(2 / 3)
    assert slower.change_interval == pytest.approx((-2 / 3, -2 / 3))
    assert slower.entry == {"condition": "speed", "factor": 0.5}
    assert set(opus.measured) == {"kbit/s"}
    # All sound lower: only the lowest tone is still taken for itself.
    assert {emotion: total for emotion, (_, total) in slower.counts.items()} == dict.fromkeys(
        tones_test.emotions, 10
    )
    assert sum(right for right, _ in slower.counts.values()) == 10
    assert found.counts == dict.fromkeys(tones_test.emotions, (10, 10))
    again = RobustnessMetrics.parse(json.dumps(found.as_json()), "robustness.json")
    assert again == found


def test_unchanged_recordings_are_predicted_as_the_datasets_own(tones_test: ShardDataset) -> None:
    chosen = [5, 2, 30]
    same = ChangedDataset(tones_test, chosen, [tones_test.recording(index) for index in chosen])
    whole = predict(Oracle(3, [0, 1, 2]), tones_test, 8)
    np.testing.assert_array_equal(predict(Oracle(3, [0, 1, 2]), same, 8), whole[chosen])
    np.testing.assert_array_equal(
        same.batch([0, 1]).waveforms[0, : same.num_valid[0]],
        tones_test.batch([5]).waveforms[0, : same.num_valid[0]],
    )


def test_a_recording_may_become_longer_than_a_row(tones_test: ShardDataset) -> None:
    """Then it is predicted in windows, as such a recording is anywhere."""
    longer = np.tile(tones_test.recording(0), 5)
    dataset = ChangedDataset(tones_test, [0], [longer])
    assert len(longer) > tones_test.meta.num_samples
    assert dataset.lengths.tolist() == [len(longer)]
    np.testing.assert_array_equal(dataset.recording(0), longer)
    np.testing.assert_array_equal(dataset.clip(0), longer[: tones_test.meta.num_samples])


def test_the_choice_is_even_over_emotions_and_grows(tones_test: ShardDataset) -> None:
    few, more = choose_utterances(tones_test, 9), choose_utterances(tones_test, 20)
    assert np.bincount(tones_test.labels[few]).tolist() == [3, 3, 3]
    assert set(few) < set(more)
    assert few == sorted(few) == choose_utterances(tones_test, 9)
    assert choose_utterances(tones_test, 1000) == list(range(36))


def test_a_name_decides_what_is_drawn_and_others_are_other_speakers(
    tones_test: ShardDataset,
) -> None:
    [noise] = stated(noise={"condition": "noise", "colour": "white", "snr_db": 0.0})
    first, second = (change_recording(tones_test, 3, noise, tones_test)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    other = change_recording(tones_test, 4, noise, tones_test)[0]
    assert not np.array_equal(first[:2000], other[:2000])

    class OneSpeaker(ShardDataset):
        """All recordings are of the test utterance's speaker but one, which is silent."""

        def recording(self, index: int) -> npt.NDArray[np.int16]:
            found = super().recording(index)
            return found if self.speakers[index] == tones_test.speakers[3] else 0 * found

    training = OneSpeaker(tones_test.folder, ALL)
    [babble] = stated(babble={"condition": "babble", "num_recordings": 8, "snr_db": 0.0})
    changed, _ = change_recording(tones_test, 3, babble, training)
    np.testing.assert_array_equal(changed, tones_test.recording(3))
    training.speakers = [tones_test.speakers[3]] * len(training)
    changed, _ = change_recording(tones_test, 3, babble, training)
    assert not np.array_equal(changed, tones_test.recording(3))
