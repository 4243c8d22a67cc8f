"""A recording is known in any encoding, and two takes of a sentence are two recordings."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from serct.config.params import CheckParams
from serct.data import duplicates
from serct.data.corpora import demo
from serct.data.duplicates import agreement, compute_contour, find_equal, reduce_rate
from serct.data.manifest import Rejection, Scan, Utterance, inspect_recordings
from serct.runtime.arrays import Floats

CHECKS = CheckParams(silence_peak=1e-4, max_duration_s=10.0, max_rejected=0)
Wave = tuple[Floats, int]


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Wave]:
    """One sentence in several emotions, by one synthetic speaker."""
    paths = demo.speak_examples(tmp_path_factory.mktemp("spoken"), "en")
    return {emotion: soundfile.read(path, dtype="float32") for emotion, path in paths.items()}


def coded(kind: str, subtype: str, **quality: float) -> Callable[[Wave], Wave]:
    def change(wave: Wave) -> Wave:
        buffer = io.BytesIO()
        soundfile.write(buffer, *wave, format=kind, subtype=subtype, **quality)
        buffer.seek(0)
        decoded: Wave = soundfile.read(buffer, dtype="float32")
        return decoded

    return change


def resampled(rate: int) -> Callable[[Wave], Wave]:
    return lambda wave: (soxr.resample(wave[0], wave[1], rate), rate)


def chained(*changes: Callable[[Wave], Wave]) -> Callable[[Wave], Wave]:
    def change(wave: Wave) -> Wave:
        for each in changes:
            wave = each(wave)
        return wave

    return change


def padded(before_s: float, behind_s: float) -> Callable[[Wave], Wave]:
    return lambda wave: (
        np.pad(wave[0], (round(before_s * wave[1]), round(behind_s * wave[1]))), wave[1]
    )  # fmt: skip


CHANGES: dict[str, Callable[[Wave], Wave]] = {
    "mp3": coded("MP3", "MPEG_LAYER_III", compression_level=0.9),
    "ogg": coded("OGG", "VORBIS", compression_level=0.9),
    "opus": chained(resampled(16_000), coded("OGG", "OPUS")),
    "gsm": chained(resampled(8000), coded("WAV", "GSM610")),
    "adpcm": coded("WAV", "IMA_ADPCM"),
    "telephone": chained(resampled(8000), coded("WAV", "ULAW")),
    "quiet": lambda wave: (wave[0] / 4, wave[1]),
    "inverted": lambda wave: (-wave[0], wave[1]),
    "noisy": lambda wave: (
        wave[0] + np.random.default_rng(0).normal(0, 0.002, len(wave[0])).astype(np.float32),
        wave[1],
    ),
    "padded": padded(0.05, 0.0),
    "padded_behind": padded(0.0, 0.3),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_recording_is_found_in_another_encoding(spoken: dict[str, Wave], change: str) -> None:
    waves = list(spoken.values())
    waves += [CHANGES[change](wave) for wave in waves]
    contours = [compute_contour(*wave) for wave in waves]
    found = find_equal(contours, lambda number: reduce_rate(*waves[number]))
    assert found == [(number, number + len(spoken)) for number in range(len(spoken))]


def test_one_sentence_spoken_twice_is_two_recordings(spoken: dict[str, Wave]) -> None:
    low = [reduce_rate(*wave) for wave in spoken.values()]
    for number, one in enumerate(low):
        assert agreement(one, one) == pytest.approx(1)
        assert all(agreement(one, other) < 0.5 for other in low[:number])


def test_tones_and_noise_are_not_confused() -> None:
    # A common tone is no common recording: the noise beside it differs.
    random = np.random.default_rng(0)
    times = np.arange(8000) / 16_000
    waves = [
        (0.3 * np.sin(2 * np.pi * 300 * times) + random.normal(0, 0.01, 8000)).astype(np.float32)
        for _ in range(40)
    ]
    contours = [compute_contour(wave, 16_000) for wave in waves]
    loads: list[int] = []

    def load(number: int) -> Floats:
        loads.append(number)
        return reduce_rate(waves[number], 16_000)

    assert find_equal(contours, load) == []
    assert agreement(waves[0], waves[1]) < 0.5


def test_a_recording_is_compared_with_few_others() -> None:
    same = [compute_contour(np.ones(4000, np.float32), 4000)] * 500
    assert len(duplicates._candidates(same)) < 500 * 33


@pytest.mark.parametrize("num_samples", [1, 2, 50])
def test_the_shortest_recordings(num_samples: int) -> None:
    waves = [np.ones(num_samples, np.float32), np.zeros(num_samples, np.float32)]
    contours = [compute_contour(wave, 16_000) for wave in waves]
    assert all(np.isfinite(contour.points).all() for contour in contours)
    find_equal(contours, lambda number: reduce_rate(waves[number], 16_000), [(0, 1)])


def inspect(root: Path) -> tuple[list[str], list[Rejection]]:
    scan = Scan(
        tuple(
            Utterance(
                path=str(path.relative_to(root)), speaker="", gender="", text_id="",
                emotion=path.parent.name,
            )
            for path in root.rglob("*.*")
        )
    )  # fmt: skip
    utterances, rejections = inspect_recordings(root, scan, "x", "en", CHECKS)
    return [u.path for u in utterances], rejections


def put(path: Path, wave: Wave, **how: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, *wave, **how)


def test_copies_of_two_labels_take_their_encodings_with_them(
    spoken: dict[str, Wave], tmp_path: Path
) -> None:
    for name in ("angry/a.wav", "sad/b.wav"):
        put(tmp_path / name, spoken["angry"])
    put(tmp_path / "angry" / "c.ogg", spoken["angry"], format="OGG")
    put(tmp_path / "happy" / "d.wav", spoken["happy"])
    kept, rejections = inspect(tmp_path)
    assert kept == ["happy/d.wav"]
    reason = "one recording labelled angry and sad: angry/a.wav, sad/b.wav, angry/c.ogg"
    assert {(r.path, r.reason) for r in rejections} == {
        (name, reason) for name in ("angry/a.wav", "sad/b.wav", "angry/c.ogg")
    }


def test_one_file_of_each_recording_stays(spoken: dict[str, Wave], tmp_path: Path) -> None:
    for name in ("angry", "happy"):
        put(tmp_path / name / "a.wav", spoken[name])
        put(tmp_path / name / "a.mp3", spoken[name])
    put(tmp_path / "angry" / "0_telephone.wav", CHANGES["telephone"](spoken["angry"]))
    put(tmp_path / "angry" / "other.ogg", spoken["angry"], format="OGG")
    put(tmp_path / "sad" / "s.wav", spoken["sad"])
    put(tmp_path / "neutral" / "n.ogg", spoken["sad"], format="OGG")
    kept, rejections = inspect(tmp_path)
    assert kept == ["angry/a.wav", "happy/a.wav"]
    reason = "the same recording as {}/a.wav in another encoding"
    two_labels = "one recording labelled neutral and sad: sad/s.wav, neutral/n.ogg"
    assert [(r.path, r.reason) for r in rejections] == [
        ("angry/0_telephone.wav", reason.format("angry")),
        ("angry/a.mp3", reason.format("angry")),
        ("angry/other.ogg", reason.format("angry")),
        ("happy/a.mp3", reason.format("happy")),
        ("neutral/n.ogg", two_labels),
        ("sad/s.wav", two_labels),
    ]


def test_different_recordings_of_one_name(spoken: dict[str, Wave], tmp_path: Path) -> None:
    put(tmp_path / "sad" / "a.wav", spoken["sad"])
    put(tmp_path / "sad" / "a.flac", spoken["happy"])
    put(tmp_path / "sad" / "b.flac", spoken["angry"])
    kept, rejections = inspect(tmp_path)
    assert kept == ["sad/b.flac"]
    reason = "different recordings of one name: sad/a.flac, sad/a.wav; rename all but one"
    assert sorted((r.path, r.reason) for r in rejections) == [
        ("sad/a.flac", reason), ("sad/a.wav", reason)
    ]  # fmt: skip
