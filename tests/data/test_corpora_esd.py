"""ESD: both layouts, labels from numbers checked against folders, and its licence."""

import hashlib
import shutil
import sys
import types
import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath

import pytest

from serct.data.corpora import Sources, esd, obtain_corpus, scan_corpus
from serct.data.corpora.esd import Esd, EsdParams
from serct.data.download import no_progress
from serct.data.reading.verification import Original, read_originals
from serct.errors import BackendUnavailableError, DownloadError
from tests.recordings import write_recording

ENGLISH = EsdParams(reader="esd", language="en", licence_signed=False)
CHINESE = EsdParams(reader="esd", language="zh", licence_signed=False)
SIGNED = EsdParams(reader="esd", language="en", licence_signed=True)
# Emotion by number, with the names that the corpus gives its folders.
FOLDERS = ("Neutral", "Angry", "Happy", "Sad", "Surprise")
EMOTIONS = ("neutral", "angry", "happy", "sad", "surprised")


def write_flat(root):
    """The layout of today: five clips of one speaker."""
    for index, folder in enumerate(FOLDERS):
        write_recording(root / "0011" / folder / f"0011_{350 * index + 1:06d}.wav")
    (root / "0011" / "0011.txt").write_text("0011_000001\tText.\tNeutral\n", "utf-16-le")


def write_split(root):
    """The layout of the first release: the same five clips."""
    for index, folder in enumerate(FOLDERS):
        name = f"0011_{350 * index + 1:06d}.wav"
        write_recording(root / "0011" / folder / "evaluation" / name)


@pytest.mark.parametrize("write", [write_flat, write_split])
@pytest.mark.parametrize("parent", ["", "Emotion Speech Dataset"])
def test_both_layouts_give_the_same_clips(tmp_path, write, parent):
    write(tmp_path / parent)
    scan = scan_corpus(ENGLISH, tmp_path)
    assert scan.rejections == ()
    found = {
        (PurePosixPath(clip.path).stem, clip.emotion, clip.text_id, clip.gender, clip.split)
        for clip in scan.utterances
    }
    assert found == {
        (f"0011_{350 * index + 1:06d}", emotion, "000", "m", "")
        for index, emotion in enumerate(EMOTIONS)
    }


def test_text_is_the_number_within_the_emotion(tmp_path):
    for number in (1, 350, 351, 700, 1750):
        write_recording(tmp_path / f"0012_{number:06d}.wav")
    scan = scan_corpus(ENGLISH, tmp_path)
    assert [(clip.text_id, clip.emotion) for clip in scan.utterances] == [
        ("000", "neutral"),
        ("349", "neutral"),
        ("000", "angry"),
        ("349", "angry"),
        ("349", "surprised"),
    ]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("0011/Happy/0011_000001.wav", "folder named Happy, but its number means neutral"),
        ("0012/Neutral/0011_000001.wav", "folder of speaker 0012, but its name says 0011"),
        ("0011/Neutral/0011_001751.wav", "number 1751, expected 1 to 1750"),
        ("0011/Neutral/0011_000000.wav", "number 0, expected 1 to 1750"),
        ("0011/Neutral/hello.wav", "not a name of ESD"),
    ],
)
def test_contradictions_are_refused(tmp_path, path, reason):
    write_recording(tmp_path / "0011" / "Neutral" / "0011_000002.wav")
    write_recording(tmp_path / path)
    scan = scan_corpus(ENGLISH, tmp_path)
    assert len(scan.utterances) == 1
    [rejection] = scan.rejections
    assert rejection.path == path
    assert reason in rejection.reason


def test_languages_are_told_apart_by_speaker(tmp_path):
    for speaker in range(1, 21):
        write_recording(tmp_path / f"{speaker:04d}" / "Neutral" / f"{speaker:04d}_000001.wav")
    for params, speakers in ((CHINESE, range(1, 11)), (ENGLISH, range(11, 21))):
        clips = scan_corpus(params, tmp_path).utterances
        assert [clip.speaker for clip in clips] == [f"{speaker:04d}" for speaker in speakers]
        assert Counter(clip.gender for clip in clips) == {"f": 5, "m": 5}
    genders = {clip.speaker: clip.gender for clip in scan_corpus(ENGLISH, tmp_path).utterances}
    assert (genders["0012"], genders["0019"], genders["0020"]) == ("m", "f", "m")


def test_both_layouts_in_one_folder_give_each_clip_once(tmp_path):
    write_flat(tmp_path)
    write_split(tmp_path)
    scan = scan_corpus(ENGLISH, tmp_path)
    assert len(scan.utterances) == 5
    assert all("evaluation" not in clip.path for clip in scan.utterances)


def obtain(tmp_path, params, offline=False):
    sources = Sources(mirror=tmp_path / "mirror", cache=tmp_path / "cache", offline=offline)
    obtain_corpus("esd_en", params, tmp_path / "raw", sources, no_progress)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(Esd, "num_utterances", 5)


def test_unsigned_licence_is_explained(tmp_path):
    with pytest.raises(DownloadError, match="signed licence") as caught:
        obtain(tmp_path, ENGLISH)
    message = str(caught.value)
    for part in (
        Esd.homepage,
        "corpora.esd_en.licence_signed: true",
        "folder esd_en or esd or ESD",
        f"the mirror {tmp_path / 'mirror'}",
        f"the cache {tmp_path / 'cache'}",
    ):
        assert part in message


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("place", ["mirror/esd", "cache/Emotion Speech Dataset"])
def test_folder_put_by_hand_is_found_and_only_the_language_is_taken(tmp_path, place):
    write_flat(tmp_path / place)
    write_recording(tmp_path / place / "0001" / "Neutral" / "0001_000001.wav")
    obtain(tmp_path, ENGLISH, offline=True)
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["0011"]


@pytest.mark.usefixtures("small")
def test_archive_put_by_hand_is_found(tmp_path):
    write_flat(tmp_path / "files" / "Emotion Speech Dataset")
    (tmp_path / "mirror").mkdir()
    shutil.make_archive(str(tmp_path / "mirror" / "ESD"), "zip", tmp_path / "files")
    with zipfile.ZipFile(tmp_path / "mirror" / "ESD.zip", "a") as file:
        file.writestr("__MACOSX/Emotion Speech Dataset/0011/Angry/._0011_000351.wav", b"x")
    obtain(tmp_path, ENGLISH)
    assert len(scan_corpus(ENGLISH, tmp_path / "raw").utterances) == 5


def test_wrong_count_is_refused(tmp_path):
    write_flat(tmp_path / "mirror" / "esd")
    with pytest.raises(DownloadError, match="found 5 usable utterances, expected 17500"):
        obtain(tmp_path, ENGLISH)


def test_offline_forbids_the_drive(tmp_path):
    with pytest.raises(DownloadError, match="SERCT_OFFLINE forbids the network"):
        obtain(tmp_path, SIGNED, offline=True)


def test_without_gdown_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(BackendUnavailableError, match=r"pip install 'serct\[esd\]'"):
        obtain(tmp_path, SIGNED)


@pytest.mark.usefixtures("small")
def test_drive_download_is_unpacked(tmp_path, monkeypatch):
    write_flat(tmp_path / "files" / "Emotion Speech Dataset")
    archive = shutil.make_archive(str(tmp_path / "served"), "zip", tmp_path / "files")

    def download(id, output, resume):
        assert (id, resume) == (esd._DRIVE_ID, True)
        shutil.copy(archive, output)

    monkeypatch.setitem(sys.modules, "gdown", types.SimpleNamespace(download=download))
    obtain(tmp_path, SIGNED)
    assert len(scan_corpus(SIGNED, tmp_path / "raw").utterances) == 5
    shutil.rmtree(tmp_path / "raw")
    monkeypatch.setitem(sys.modules, "gdown", None)
    obtain(tmp_path, SIGNED)  # from the cache


@pytest.mark.parametrize("served", [None, b"<html>Quota exceeded</html>"])
def test_drive_that_gives_nothing_useful(tmp_path, monkeypatch, served):
    def download(id, output, resume):
        if served is None:
            raise RuntimeError("too many users")
        Path(output).write_bytes(served)

    monkeypatch.setitem(sys.modules, "gdown", types.SimpleNamespace(download=download))
    with pytest.raises(DownloadError, match=r"too many users.*quota|neither a zip nor a tar"):
        obtain(tmp_path, SIGNED)
    assert not (tmp_path / "cache" / "esd.zip").exists(), "the next try downloads again"


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_known_checksums_hold_for_the_file_and_for_a_lossless_copy(tmp_path, monkeypatch, suffix):
    original = write_recording(tmp_path / "0001_000001.wav")
    known = Original(
        path=PurePosixPath(original.name),
        num_bytes=original.stat().st_size,
        sha256=hashlib.sha256(original.read_bytes()).hexdigest(),
        audio_sha256="",
    )
    monkeypatch.setattr(Esd, "originals", lambda self: {"0001_000001": known})
    monkeypatch.setattr(Esd, "num_utterances", 2)
    folder = tmp_path / "mirror" / "esd" / "0001" / "Neutral"
    copy = write_recording(folder / f"0001_000001{suffix}")
    write_recording(folder / f"0001_000002{suffix}")
    sources = Sources(mirror=tmp_path / "mirror", cache=tmp_path / "cache", offline=True)
    obtain_corpus("esd_zh", CHINESE, tmp_path / "raw", sources, no_progress)
    write_recording(copy, seconds=0.06)
    with pytest.raises(DownloadError, match=f"0001_000001{suffix}: its content is not"):
        obtain_corpus("esd_zh", CHINESE, tmp_path / "raw", sources, no_progress)


def test_list_of_originals_is_plausible():
    originals = read_originals("esd_zh_0001-0005")
    assert len(originals) == 8750
    assert Counter(stem[:4] for stem in originals) == {f"000{n}": 1750 for n in range(1, 6)}
    assert all(esd._problem(original.path) is None for original in originals.values())
