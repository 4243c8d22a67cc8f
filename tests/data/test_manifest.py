"""Manifests are stable, and every unusable file is named."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serct.config.params import CheckParams
from serct.data.manifest import (
    Rejection,
    Scan,
    Utterance,
    check_rejections,
    inspect_recordings,
    manifest_digest,
    read_manifest,
    write_manifest,
)
from serct.data.splitting import split_utterances
from serct.errors import ManifestError
from tests.data.test_splitting import corpus, params

CHECKS = CheckParams(silence_peak=1e-4, max_duration_s=10.0, max_rejected=0)


def test_round_trip_and_digest(tmp_path: Path) -> None:
    divided = split_utterances(corpus(10), params(), 3)
    path = tmp_path / "m.csv"
    write_manifest(path, divided)
    assert read_manifest(path) == divided
    as_flac = [replace(u, path=u.path.replace(".wav", ".flac")) for u in divided]
    assert manifest_digest(as_flac) == manifest_digest(reversed(divided))
    assert manifest_digest(divided[1:]) != manifest_digest(divided)


def test_unreadable_manifests(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"none\.csv: no such file; the manifest stage"):
        read_manifest(tmp_path / "none.csv")
    (tmp_path / "m.csv").write_text("path,emotion\na,b\n")
    with pytest.raises(ManifestError, match=r"columns are \('path', 'emotion'\)"):
        read_manifest(tmp_path / "m.csv")
    write_manifest(tmp_path / "m.csv", [])
    with pytest.raises(ManifestError, match=r"m\.csv: no rows; the manifest stage writes it"):
        read_manifest(tmp_path / "m.csv")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("emotion", "gloomy", "emotion is 'gloomy', expected one of angry, disgusted"),
        ("gender", "x", "gender is 'x', expected one of f, m, nothing"),
        ("split", "dev", "split is 'dev', expected one of train, validation, test, nothing"),
        ("path", "", "path '', expected one inside the corpus' folder"),
        ("path", "/etc/1.wav", "path '/etc/1.wav', expected one inside"),
        ("path", "../1.wav", r"path '\.\./1\.wav', expected one inside"),
        ("path", "angry/0000.wav", r"angry/0000\.wav is listed twice"),
        ("duration_s", "long", r"duration_s is 'long' and sample_rate '16000', expected numbers"),
        ("duration_s", "nan", "duration_s is nan and sample_rate 16000, expected numbers"),
        ("sample_rate", "1.5", r"duration_s is .* sample_rate '1\.5', expected numbers such as"),
        ("speaker", 'a"b', r'a quote \("\) inside a field'),
        ("speaker", "a,b", "12 fields, expected 11 as in the header"),
        ("speaker", "a\0b", "a NUL character, expected text in UTF-8"),
        ("speaker", '"a', "a quote .* opens a field and none closes it"),
    ],
)
def test_every_row_of_a_manifest_is_checked(
    tmp_path: Path, column: str, value: str, message: str
) -> None:
    path = tmp_path / "m.csv"
    write_manifest(path, corpus(2))
    lines = path.read_text().splitlines()
    cells = lines[2].split(",")
    cells[lines[0].split(",").index(column)] = value
    path.write_text("\n".join([*lines[:2], ",".join(cells), *lines[3:]]) + "\n")
    with pytest.raises(ManifestError, match=rf"m\.csv: row 3: {message}"):
        read_manifest(path)


def clips_of(root: Path) -> Scan:
    return Scan(
        tuple(
            Utterance(
                path=str(p.relative_to(root)), speaker="", gender="", text_id="",
                emotion=p.parent.name,
            )
            for p in root.rglob("*.wav")
        )
    )  # fmt: skip


def test_every_unusable_file_is_named(tones: Path, tmp_path: Path) -> None:
    root = tmp_path / "broken"
    shutil.copytree(tones, root)
    whole = (root / "angry" / "s0_00.wav").read_bytes()
    (root / "angry" / "cut.wav").write_bytes(whole[: len(whole) // 2])
    (root / "angry" / "empty.wav").write_bytes(b"")
    (root / "angry" / "text.wav").write_text("hello " * 100)
    shutil.copy(root / "happy" / "s1_01.wav", root / "happy" / "twice.wav")
    shutil.copy(root / "happy" / "s2_02.wav", root / "sad" / "two_labels.wav")
    utterances, rejections = inspect_recordings(root, clips_of(root), "x", "en", CHECKS)
    reasons = {r.path: r.reason for r in rejections}
    assert set(reasons) == {
        "angry/cut.wav", "angry/empty.wav", "angry/text.wav", "happy/twice.wav",
        "happy/s2_02.wav", "sad/two_labels.wav",
    }  # fmt: skip
    assert reasons["angry/cut.wav"].startswith("cut off")
    assert reasons["happy/twice.wav"] == "the same recording as happy/s1_01.wav"
    assert "labelled happy and sad" in reasons["sad/two_labels.wav"]
    assert len(utterances) == 35
    with pytest.raises(ManifestError, match="6 unusable files") as caught:
        check_rejections("x", rejections, 0)
    assert all(path in str(caught.value) for path in reasons)
    check_rejections("x", rejections, 6)


def test_tolerance_is_exact() -> None:
    one = [Rejection("a.wav", "silent")]
    check_rejections("x", one, 1)
    with pytest.raises(ManifestError, match=r"x: 1 unusable files.* 0:\n  a\.wav: silent"):
        check_rejections("x", one, 0)


@pytest.mark.parametrize("seed", range(5))
def test_random_bytes_in_a_manifest_are_an_error(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "m.csv"
    row = Utterance(path="a/0.wav", speaker="s", gender="", text_id="", emotion="angry")
    write_manifest(path, [replace(row, path=f"a/{number}.wav") for number in range(90)])
    content, chance = path.read_bytes(), np.random.default_rng(seed)
    first = int(chance.integers(len(content) - 500))
    path.write_bytes(content[:first] + chance.bytes(500) + content[first + 500 :])
    with pytest.raises(ManifestError, match=r"m\.csv"):
        read_manifest(path)


def test_what_makes_a_recording_usable_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wave = np.sin(np.arange(8000) / 9) * np.linspace(0.1, 1, 8000)
    (tmp_path / "angry").mkdir()
    soundfile.write(tmp_path / "angry" / "loud.wav", 3 * wave, 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "angry" / "plain.wav", 0.5 * wave[::-1], 16_000)
    inverted = np.stack((0.4 * wave**3, -0.39 * wave**3), axis=1)
    soundfile.write(tmp_path / "angry" / "inverted.wav", inverted, 16_000)
    utterances, rejections = inspect_recordings(tmp_path, clips_of(tmp_path), "x", "en", CHECKS)
    assert (len(utterances), rejections) == (3, [])
    said = sorted(record.getMessage() for record in caplog.records)
    assert said == [
        "x: angry/inverted.wav: channels 1 and 2 cancel each other: channel 1 was used",
        "x: angry/loud.wav: samples reach 2.992: scaled down by 9.5 dB to stay within -1 to 1",
    ]
