"""EMO-DB: everything is in the eight letters of a name."""

import os
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from serct.config.params import CheckParams
from serct.data.corpora import CorpusParams, Sources, emodb, obtain_corpus, scan_corpus
from serct.data.corpora.emodb import Emodb
from serct.data.download import no_progress
from serct.data.manifest import inspect_recordings
from serct.data.reading.verification import read_originals
from serct.errors import DownloadError
from tests.recordings import write_recording

EMODB = CorpusParams(reader="emodb")
CHECKS = CheckParams(silence_peak=0.0001, max_duration_s=600.0, max_rejected=0)
MIRROR = os.environ.get("SERCT_MIRROR", "")
needs_mirror = pytest.mark.skipif(
    not (MIRROR and Path(MIRROR, "emodb").is_dir()), reason="SERCT_MIRROR holds no emodb"
)


@pytest.mark.parametrize(
    ("name", "speaker", "gender", "text_id", "emotion"),
    [
        ("03a01Wa", "03", "m", "a01", "angry"),
        ("08b10Lb", "08", "f", "b10", "bored"),
        ("09a02Ec", "09", "f", "a02", "disgusted"),
        ("10b09Ad", "10", "m", "b09", "fearful"),
        ("12a05Fa", "12", "m", "a05", "happy"),
        ("13a07Ta", "13", "f", "a07", "sad"),
        ("16b03Nd", "16", "f", "b03", "neutral"),
    ],
)
def test_name(tmp_path, name, speaker, gender, text_id, emotion):
    write_recording(tmp_path / "wav" / f"{name}.wav")
    [clip] = scan_corpus(EMODB, tmp_path).utterances
    assert clip.path == f"wav/{name}.wav"
    assert (clip.speaker, clip.gender, clip.text_id) == (speaker, gender, text_id)
    assert (clip.emotion, clip.split) == (emotion, "")


def test_five_women_and_five_men():
    assert Counter(emodb._GENDERS.values()) == {"f": 5, "m": 5}


@pytest.mark.parametrize("name", ["04a01Fa", "03a03Fa", "03a01Xa", "03a01fa", "erklaerung"])
def test_foreign_names_are_refused(tmp_path, name):
    write_recording(tmp_path / "03a01Fa.wav")
    write_recording(tmp_path / "wav" / f"{name}.wav")
    [rejection] = scan_corpus(EMODB, tmp_path).rejections
    assert rejection.path == f"wav/{name}.wav"
    assert "expected one like 03a01Fa" in rejection.reason


def test_only_recordings_are_taken_from_the_archive(tmp_path, monkeypatch):
    write_recording(tmp_path / "03a01Fa.wav")
    monkeypatch.setattr(Emodb, "originals", lambda self: {})
    monkeypatch.setattr(Emodb, "num_utterances", 1)
    (tmp_path / "mirror").mkdir()
    with zipfile.ZipFile(tmp_path / "mirror" / "download.zip", "w") as file:
        file.write(tmp_path / "03a01Fa.wav", "wav/03a01Fa.wav")
        file.writestr("erklaerung.txt", "text")
        file.writestr("lablaut/03a01Fa.lablaut", "text")
    sources = Sources(mirror=tmp_path / "mirror", cache=tmp_path / "cache", offline=True)
    obtain_corpus("emodb", EMODB, tmp_path / "raw", sources, no_progress)
    assert [path.name for path in tmp_path.glob("raw/**/*.*")] == ["03a01Fa.wav"]


def test_list_of_originals_is_complete_and_plausible():
    originals = read_originals("emodb")
    assert len(originals) == 535
    assert sum(original.num_bytes for original in originals.values()) == 47_626_698
    assert len({original.audio_sha256 for original in originals.values()}) == 535
    assert all(emodb._FILE_NAME.fullmatch(stem) for stem in originals)


@needs_mirror
def test_the_real_corpus_scans_whole():
    scan = scan_corpus(EMODB, Path(MIRROR, "emodb"))
    assert scan.rejections == ()
    assert Counter(clip.emotion for clip in scan.utterances) == {
        "angry": 127,
        "bored": 81,
        "disgusted": 46,
        "fearful": 69,
        "happy": 71,
        "sad": 62,
        "neutral": 79,
    }
    assert len({clip.speaker for clip in scan.utterances}) == 10
    assert len({clip.text_id for clip in scan.utterances}) == 10


@needs_mirror
def test_the_real_corpus_is_obtained_verified_and_without_doubles(tmp_path):
    sources = Sources(mirror=Path(MIRROR), cache=tmp_path / "cache", offline=True)
    obtain_corpus("emodb", EMODB, tmp_path / "raw", sources, no_progress)
    scan = scan_corpus(EMODB, tmp_path / "raw")
    utterances, rejections = inspect_recordings(tmp_path / "raw", scan, "emodb", "de", CHECKS)
    assert (len(utterances), rejections) == (535, [])


@needs_mirror
def test_a_missing_a_damaged_and_a_swapped_file_are_all_named(tmp_path):
    sources = Sources(mirror=tmp_path / "mirror", cache=tmp_path / "cache", offline=True)
    folder = tmp_path / "mirror" / "emodb" / "wav"
    folder.mkdir(parents=True)
    for path in sorted(Path(MIRROR, "emodb", "wav").iterdir()):
        folder.joinpath(path.name).symlink_to(path)
    one, two, three = sorted(folder.iterdir())[:3]
    one.unlink()
    content = two.read_bytes()
    two.unlink()
    two.write_bytes(content[: len(content) // 2])
    other = three.resolve().with_name("16b10Wb.flac")
    three.unlink()
    three.symlink_to(other)
    with pytest.raises(DownloadError, match="found 534 usable utterances, expected 535") as caught:
        obtain_corpus("emodb", EMODB, tmp_path / "raw", sources, no_progress)
    message = str(caught.value)
    assert f"{one.stem}.wav: missing" in message
    assert f"wav/{two.name}: " in message
    assert f"wav/{three.name}: its content is not the original's" in message
    assert message.endswith(f"The files came from {tmp_path / 'mirror' / 'emodb'}")
    assert not (tmp_path / "raw").exists()
