"""What is noted of a prediction is what it says, and falls into one bin."""

import numpy as np
import pytest

from serct.evaluation.observation import (
    NO_SPEECH,
    QUANTITIES,
    SNR_RANGE_DB,
    UNCERTAIN,
    Observation,
    Outcome,
    Signal,
    SignalMeter,
    count,
    measure_signal,
)

EMOTIONS = ("angry", "sad")


def observed(emotion: str = "sad", confidence: float | None = 0.5, **more: float) -> Observation:
    signal = Signal(more.get("level_dbfs", -20.0), more.get("snr_db", 10.0))
    return Observation(emotion, confidence, more.get("duration_s", 2.0), 1.0, signal)


class TestSignal:
    @pytest.mark.parametrize("rate", [8000, 16_000, 22_050])
    def test_level_and_ratio_are_those_of_the_frames(self, rate: int) -> None:
        # At 22,050 Hz a frame is no whole number of samples.
        ends = np.rint(np.arange(101) * 0.032 * rate).astype(int)
        frames = np.arange(100) % 3 == 0
        pcm = np.zeros(ends[-1], np.int16)
        for spoken, start, end in zip(frames, ends[:-1], ends[1:], strict=True):
            pcm[start:end] = 3277 if spoken else 328
        found = measure_signal(pcm, frames, rate)
        assert found.level_dbfs == pytest.approx(-20, abs=0.01)
        assert found.snr_db == pytest.approx(20, abs=0.02)

    def test_of_hours_as_of_minutes(self) -> None:
        rng = np.random.default_rng(0)
        pcm = rng.integers(-999, 999, 16_000 * 150).astype(np.int16)
        frames = rng.random(int(np.ceil(150 / 0.032))) < 0.5
        num = np.minimum(np.arange(len(pcm)) // 512, len(frames) - 1)
        speech = frames[num]
        expected = [np.mean(np.square(pcm[each], dtype=float)) for each in (speech, ~speech)]
        found = measure_signal(pcm, frames, 16_000)
        assert found.level_dbfs == pytest.approx(10 * np.log10(expected[0] / 32768**2), abs=1e-4)
        assert found.snr_db == pytest.approx(10 * np.log10(expected[0] / expected[1]), abs=1e-4)

    def test_in_parts_as_at_once(self) -> None:
        # A second of 22,050 Hz is no whole number of frames, four seconds are.
        rng, rate = np.random.default_rng(0), 22_050
        pcm = rng.integers(-999, 999, 4 * rate * 3 - 77).astype(np.int16)
        frames = rng.random(int(np.ceil(len(pcm) / rate / 0.032))) < 0.5
        meter = SignalMeter(rate)
        for part in range(3):
            samples = pcm[4 * rate * part : 4 * rate * (part + 1)]
            meter.add(samples, frames[125 * part : 125 * (part + 1)])
        whole = measure_signal(pcm, frames, rate)
        assert meter.signal.level_dbfs == pytest.approx(whole.level_dbfs, abs=1e-9)
        assert meter.signal.snr_db == pytest.approx(whole.snr_db, abs=1e-9)

    def test_without_frames_of_one_kind(self) -> None:
        pcm = np.full(1024, 3277, np.int16)
        assert measure_signal(pcm, np.array([False, False]), 16_000) == Signal(None, None)
        found = measure_signal(pcm, np.array([True, True]), 16_000)
        assert found.level_dbfs == pytest.approx(-20, abs=0.01)
        assert found.snr_db is None

    def test_digital_silence_is_the_end_of_the_range(self) -> None:
        pcm = np.repeat(np.array([100, 0], np.int16), 512)
        assert measure_signal(pcm, np.array([True, False]), 16_000).snr_db == SNR_RANGE_DB[1]
        assert measure_signal(pcm, np.array([False, True]), 16_000) == Signal(None, None)

    def test_a_last_frame_behind_the_end_has_no_samples(self) -> None:
        found = measure_signal(np.full(512, 3277, np.int16), np.array([True, False]), 16_000)
        assert found.snr_db is None


class TestBins:
    @pytest.mark.parametrize(
        "quantity",
        [each for each in QUANTITIES if not isinstance(each, Outcome)],
        ids=lambda each: each.name,
    )
    def test_an_edge_belongs_to_the_bin_below_as_in_prometheus(self, quantity) -> None:  # type: ignore[no-untyped-def]
        bins = quantity.bins(EMOTIONS)
        assert list(quantity.edges) == sorted(set(quantity.edges))
        assert len(set(bins)) == len(quantity.edges) + 1
        for number, edge in enumerate(quantity.edges):
            several = {
                "confidence": edge, "duration": edge, "speech": edge, "level": edge, "snr": edge,
            }  # fmt: skip
            value = several[quantity.name]
            each = Observation("sad", value, value, value, Signal(value, value))
            assert bins[quantity.place(each, EMOTIONS)] == f"<= {edge:g}"
            above = np.nextafter(value, np.inf)
            each = Observation("sad", above, above, above, Signal(above, above))
            assert quantity.place(each, EMOTIONS) == number + 1

    def test_names_are_unique(self) -> None:
        assert len({each.name for each in QUANTITIES}) == len(QUANTITIES)
        assert len({each.metric for each in QUANTITIES}) == len(QUANTITIES)

    def test_counts_are_by_bin_and_leave_out_what_has_no_value(self) -> None:
        nobody = Observation(NO_SPEECH, None, 3.0, 0.0, Signal(None, None))
        found = count([observed(), observed("angry", 0.97), observed(UNCERTAIN), nobody], EMOTIONS)
        assert found["emotion"] == {"angry": 1, "sad": 1, UNCERTAIN: 1, NO_SPEECH: 1}
        assert {name: num for name, num in found["confidence"].items() if num} == {
            "<= 0.5": 2,
            "<= 0.98": 1,
        }
        assert sum(found["duration"].values()) == 4
        assert sum(found["level"].values()) == sum(found["snr"].values()) == 3
