"""Utterances begin and end where somebody speaks, however the stream is cut into messages."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serct.data.preparing import resample
from serct.data.voice_activity import load_network
from serct.serving.streams import utterances
from serct.serving.streams.speech import SpeechProbabilities
from serct.serving.streams.utterances import Ended, SampleQueue, Started, UtteranceFinder


def speech(spoken: Path, rate: int) -> np.ndarray:
    samples, own = soundfile.read(spoken, dtype="float32")
    return resample(samples, own, rate, "soxr")


def silence(seconds: float, rate: int) -> np.ndarray:
    return np.zeros(round(seconds * rate), np.float32)


def found(stream: np.ndarray, rate: int, step: int) -> list[Started | Ended]:
    finder = UtteranceFinder(rate, 0.5)
    events: list[Started | Ended] = []
    for first in range(0, len(stream), step):
        events += finder.add(stream[first : first + step])
    return events + list(finder.end())


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
def test_frames_are_those_of_the_whole_stream(spoken: Path, rate: int) -> None:
    stream = speech(spoken, rate)
    finder = SpeechProbabilities(rate)
    cuts = np.sort(np.random.default_rng(0).integers(0, len(stream), 20))
    streamed = np.concatenate([finder.add(part) for part in np.split(stream, cuts)])
    [whole] = load_network()([resample(stream, rate, 16_000, "soxr")])
    # What the resampler holds back at the end.
    assert len(whole) - 5 <= len(streamed) <= len(whole)
    np.testing.assert_allclose(streamed, whole[: len(streamed)], atol=1e-3)


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
def test_each_utterance_has_its_speech_and_a_little_more(spoken: Path, rate: int) -> None:
    one = speech(spoken, rate)
    length_s = len(one) / rate
    stream = np.concatenate(
        [silence(1, rate), one, silence(1.5, rate), one, silence(0.2, rate), one, silence(1, rate)]
    )
    events = found(stream, rate, rate // 10)
    kinds = [type(each).__name__ for each in events]
    assert kinds == ["Started", "Ended"] * 2, "0.2 s are no pause between utterances"
    first, second = (each for each in events if isinstance(each, Ended))
    for each, start_s, end_s in (
        (first, 1, 1 + length_s),
        (second, 2.5 + length_s, 2.7 + 3 * length_s),
    ):
        assert each.ended_by == "silence"
        assert start_s - 0.3 < each.start / rate < start_s + 0.1
        assert end_s - 0.2 < each.end / rate < end_s + 0.3
        np.testing.assert_array_equal(each.waveform, stream[each.start : each.end])
        # A whole number of milliseconds, from which a client finds the same samples.
        assert round(round(each.start / rate, 3) * rate) == each.start


def test_any_cut_finds_the_same(spoken: Path) -> None:
    one = speech(spoken, 16_000)
    stream = np.concatenate([silence(1, 16_000), one, silence(1, 16_000), one])
    events = [
        [(each.number, each.start, each.end, each.ended_by) for each in found(stream, 16_000, step)
         if isinstance(each, Ended)]
        for step in (160, 5000, 10**6)
    ]  # fmt: skip
    assert events[0] == events[1] == events[2]
    assert [each[-1] for each in events[0]] == ["silence", "stream"]


def test_silence_and_a_click_are_no_utterance(spoken: Path) -> None:
    stream = silence(5, 16_000)
    stream[30_000:30_400] = speech(spoken, 16_000)[8000:8400]  # 25 ms
    assert found(stream, 16_000, 1600) == []


def test_an_utterance_that_goes_on_too_long_is_divided_without_a_gap(
    spoken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(utterances, "MAX_FRAMES", 31)
    one = speech(spoken, 16_000)
    ended = [each for each in found(one, 16_000, 512) if isinstance(each, Ended)]
    assert [each.ended_by for each in ended[:-1]] == ["length"] * (len(ended) - 1)
    assert len(ended) >= 2
    for before, after in pairwise(ended):
        assert len(before.waveform) == 31 * 512
        assert 0 <= after.start - before.end <= 0.2 * 16_000


def test_memory_does_not_grow_with_the_stream(spoken: Path) -> None:
    finder = UtteranceFinder(16_000, 0.5)
    one = speech(spoken, 16_000)
    most = 0
    for part in (one, silence(1, 16_000)) * 10:
        for first in range(0, len(part), 1600):
            list(finder.add(part[first : first + 1600]))
        most = max(most, sum(map(len, finder._samples._blocks)))
    assert finder.number == 10
    assert most < len(one) + 16_000


def test_partial_predictions_are_due_each_hop_of_an_utterance(spoken: Path) -> None:
    finder = UtteranceFinder(16_000, 0.5)
    due = []
    one = np.resize(speech(spoken, 16_000), 4 * 16_000)
    for first in range(0, len(one), 1600):
        list(finder.add(one[first : first + 1600]))
        if finder.is_due:
            start, waveform = finder.take(1.0)
            assert len(waveform) <= 16_000
            due.append((start + len(waveform)) / 16_000)
    assert np.diff(due) == pytest.approx(0.5)
    assert len(due) >= 5


def test_the_queue_gives_any_samples_that_were_not_dropped() -> None:
    queue, stream = SampleQueue(), np.arange(100, dtype=np.float32)
    for first in range(0, 100, 7):
        queue.add(stream[first : first + 7])
        queue.drop_before(first - 30)
    for start, end in ((70, 100), (75, 76), (80, 80)):
        np.testing.assert_array_equal(queue.cut(start, end), stream[start:end])
