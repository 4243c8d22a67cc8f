"""Conditions: what each does to signals whose result is known, and that a run repeats it."""

import re
from typing import Any

import numpy as np
import pytest

from serct.config.reader import read_params
from serct.errors import ParamsError
from serct.evaluation.conditions import Scene, StatedCondition, condition_names, read_conditions
from serct.runtime.arrays import Floats
from tests.conftest import ROOT
from tests.pipeline.test_import_cost import heavy_after

RATE = 16_000
STATED = read_params(ROOT / "params.yaml").robustness.conditions


def tone(hertz: float, seconds: float = 1.0, amplitude: float = 0.5) -> Floats:
    steps = np.arange(round(seconds * RATE))
    return (amplitude * np.sin(2 * np.pi * hertz * steps / RATE)).astype(np.float32)


def speech_like(seed: int, seconds: float = 2.0) -> Floats:
    """Harmonics of a moving pitch under syllables: a codec finds something to do."""
    random, steps = np.random.default_rng(seed), np.arange(round(seconds * RATE)) / RATE
    pitch = 150 + 40 * np.sin(2 * np.pi * 0.7 * steps + random.uniform(0, 6))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    voiced = sum(np.sin(k * phase) / k for k in range(1, 20))
    syllables = np.clip(np.sin(2 * np.pi * 3 * steps + random.uniform(0, 6)), 0, 1)
    return (0.1 * voiced * syllables + 0.001 * random.standard_normal(len(steps))).astype(
        np.float32
    )


def scene(seed: int = 0) -> Scene:
    return Scene(np.random.default_rng(seed), lambda count: [speech_like(n) for n in range(count)])


def change(waveform: Floats, where: Scene | None = None, **entry: Any) -> Floats:
    [condition] = read_conditions({"tested": entry})
    return condition.apply(waveform, RATE, where or scene())


def loudest_hz(waveform: Floats) -> float:
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return float(spectrum.argmax() * RATE / len(waveform))


def power_db(waveform: Floats) -> float:
    return float(10 * np.log10(np.mean(np.square(waveform, dtype=np.float64)) + 1e-20))


def test_a_telephone_passes_its_band_alone_and_nothing_above_4_khz() -> None:
    inside = change(tone(1000), condition="telephone")
    assert power_db(inside[2000:-2000]) == pytest.approx(power_db(tone(1000)), abs=0.2)
    for hertz in (100, 3700, 5000):
        assert power_db(change(tone(hertz), condition="telephone")[2000:-2000]) < -45
    added = inside[2000:-2000] - tone(1000)[2000:-2000]
    # 8 bits of the mu-law leave a signal about 38 dB above its rounding (ITU-T G.712: at least 33).
    assert power_db(tone(1000)) - power_db(added) == pytest.approx(38, abs=2)
    spectrum = np.square(np.abs(np.fft.rfft(inside)))
    assert spectrum[4300:].sum() < 1e-6 * spectrum.sum()


@pytest.mark.parametrize(("colour", "slope_db"), [("white", 0.0), ("pink", -3.01)])
def test_noise_has_its_ratio_and_its_colour(colour: str, slope_db: float) -> None:
    clip = tone(400.0, seconds=4.0)
    noise = change(clip, condition="noise", colour=colour, snr_db=10.0) - clip
    assert power_db(clip) - power_db(noise) == pytest.approx(10, abs=0.01)
    spectrum = np.square(np.abs(np.fft.rfft(noise)))
    hertz = np.fft.rfftfreq(len(noise), 1 / RATE)
    octaves = [
        10 * np.log10(spectrum[(hertz >= low) & (hertz < 2 * low)].mean())
        for low in (250, 500, 1000, 2000)
    ]
    assert np.diff(octaves).mean() == pytest.approx(slope_db, abs=0.3)


def test_the_same_noise_is_added_at_each_strength() -> None:
    clip = tone(400.0)
    soft, loud = (
        change(clip, condition="noise", colour="white", snr_db=snr_db) - clip
        for snr_db in (20.0, 0.0)
    )
    np.testing.assert_allclose(10 * soft, loud, atol=1e-4)


def test_babble_has_its_ratio_and_is_made_of_all_others_at_one_level() -> None:
    clip = tone(3000.0, seconds=1.5)
    others = [tone(500.0, amplitude=0.001), tone(1500.0, amplitude=0.9)]
    asked = []

    def draw(count: int) -> list[Floats]:
        asked.append(count)
        return others

    where = Scene(np.random.default_rng(0), draw)
    babble = change(clip, where, condition="babble", num_recordings=2, snr_db=10.0) - clip
    assert asked == [2]
    assert power_db(clip) - power_db(babble) == pytest.approx(10, abs=0.01)
    spectrum = np.abs(np.fft.rfft(babble * np.hanning(len(babble))))
    low, high = (spectrum[round(hertz * 1.5)] for hertz in (500, 1500))
    assert low / high == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("name", ["noise", "babble"])
def test_nothing_is_added_to_silence(name: str) -> None:
    entries: dict[str, dict[str, Any]] = {
        "noise": {"colour": "pink"},
        "babble": {"num_recordings": 3},
    }
    entry = entries[name]
    changed = change(np.zeros(1000, np.float32), condition=name, snr_db=0.0, **entry)
    assert not changed.any()
    alone = Scene(np.random.default_rng(0), lambda count: [])
    clip = tone(400.0)
    assert np.array_equal(
        change(clip, alone, condition="babble", num_recordings=3, snr_db=0.0), clip
    )


def test_a_room_decays_by_60_db_in_its_time_behind_the_direct_sound() -> None:
    click = np.zeros(RATE, np.float32)
    click[0] = 1.0
    responses = np.stack([
        change(click, scene(seed), condition="room", decay_s=0.5, direct_db=6.0)
        for seed in range(64)
    ])  # fmt: skip
    np.testing.assert_allclose(responses[:, 0], 1, atol=1e-5)
    energy = np.square(responses[:, 1:], dtype=np.float64)
    np.testing.assert_allclose(10 * np.log10(energy.sum(axis=1)), -6, atol=0.01)
    by_time = energy.mean(axis=0)
    early, late = by_time[:320].mean(), by_time[4000:4320].mean()
    assert 10 * np.log10(early / late) == pytest.approx(30, abs=1)
    assert not responses[:, round(0.5 * RATE) + 1 :].round(5).any()


@pytest.mark.parametrize(
    ("codec", "kbit_s"), [("opus", 12.0), ("opus", 16.0), ("mp3", 24.0), ("mp3", 32.0)]
)
def test_a_codec_keeps_time_and_its_bit_rate_is_measured(codec: str, kbit_s: float) -> None:
    clip, where = speech_like(7), scene()
    changed = change(clip, where, condition="codec", codec=codec, kbit_s=kbit_s)
    assert len(changed) == len(clip)
    # MP3 has frames of one size; Opus needs less for the pauses between syllables.
    least = {"opus": 0.75, "mp3": 1.0}[codec]
    assert least * kbit_s < where.measured["kbit/s"] < 1.05 * kbit_s
    size = 2 * len(clip)
    correlation = np.fft.irfft(np.fft.rfft(changed, size) * np.conj(np.fft.rfft(clip, size)))
    assert correlation.argmax() == 0
    assert correlation.max() / np.linalg.norm(clip) / np.linalg.norm(changed) > 0.9
    assert not np.allclose(changed, clip, atol=1e-3)


def test_speed_changes_tempo_and_pitch_together() -> None:
    for factor in (0.9, 1.1):
        changed = change(tone(400.0), condition="speed", factor=factor)
        assert len(changed) == pytest.approx(RATE / factor, abs=1)
        assert loudest_hz(changed) == pytest.approx(400 * factor, abs=1.5)


@pytest.mark.parametrize("semitones", [-2.0, 1.0, 2.0])
def test_pitch_moves_and_tempo_stays(semitones: float) -> None:
    clip = np.concatenate((tone(400.0), tone(1000.0)))
    changed = change(clip, condition="pitch", semitones=semitones)
    factor = 2 ** (semitones / 12)
    assert len(changed) == len(clip)
    assert loudest_hz(changed[:15_000]) == pytest.approx(400 * factor, rel=0.01)
    assert loudest_hz(changed[17_000:]) == pytest.approx(1000 * factor, rel=0.01)


def test_level_and_silence_are_exact() -> None:
    clip = tone(400.0)
    np.testing.assert_allclose(change(clip, condition="level", gain_db=-20.0), clip / 10, rtol=1e-6)
    longer = change(clip, condition="silence", seconds=0.5)
    assert np.array_equal(longer[:RATE], clip)
    assert longer[RATE:].tolist() == [0.0] * (RATE // 2)


@pytest.fixture(scope="module")
def stated() -> list[StatedCondition]:
    return read_conditions(STATED)


def test_each_file_is_a_condition_of_params_yaml(stated: list[StatedCondition]) -> None:
    assert {condition.entry["condition"] for condition in stated} == set(condition_names())


def test_each_is_the_same_in_each_run_and_takes_any_recording(
    stated: list[StatedCondition],
) -> None:
    shortest = np.full(1, 0.1, np.float32)
    for condition in stated:
        first, second = (condition.apply(tone(400.0, 0.2), RATE, scene(5)) for _ in range(2))
        assert np.array_equal(first, second), condition.label
        for rate in (8000, 48_000):
            changed = condition.apply(shortest, rate, scene())
            assert changed.dtype == np.float32, condition.label
            assert len(changed) >= 1, condition.label
            assert np.isfinite(changed).all(), condition.label


@pytest.mark.slow
def test_none_needs_torch() -> None:
    """Models of scikit-learn are tested without it."""
    before, after = heavy_after(
        "import numpy as np; from serct.evaluation.conditions import Scene, read_conditions",
        "from serct.config.reader import read_params; from pathlib import Path\n"
        "clip = np.random.default_rng(0).standard_normal(8000).astype('float32') / 9\n"
        "for each in read_conditions(read_params(Path('params.yaml')).robustness.conditions):\n"
        "    each.apply(clip, 16000, Scene(np.random.default_rng(0), lambda count: [clip]))",
    )
    assert (before, after) == ([], ["av"])


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"condition": "rain"}, "x.condition is 'rain', expected one of: babble, codec, level,"),
        ({"colour": "white"}, "x.condition is None, expected one of: babble,"),
        ({"condition": "noise", "snr_db": 3.0}, "x.colour is missing"),
        ({"condition": "noise", "colour": "red", "snr_db": 3.0}, "x.colour is 'red': "),
        ({"condition": "speed", "factor": 9.0}, "x.factor is 9.0: .*less than or equal to 2"),
        ({"condition": "telephone", "snr_db": 3.0}, "x.snr_db is not a known key"),
    ],
)
def test_a_mistake_is_named(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError, match=rf"params\.yaml: robustness\.conditions\.{message}"):
        read_conditions({"left_out": None, "x": entry})


def test_two_that_are_the_same_are_refused() -> None:
    entry: dict[str, Any] = {"condition": "level", "gain_db": -20.0}
    message = re.escape("robustness.conditions.b: level -20 dB is there already")
    with pytest.raises(ParamsError, match=message):
        read_conditions({"a": entry, "b": entry})
