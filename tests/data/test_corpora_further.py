"""RAVDESS, nEMO, CREMA-D, SAVEE, EMOVO, IEMOCAP: official layouts and the oddities of each."""

import hashlib
import io
import re
import zipfile
from collections import Counter
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath

import numpy as np
import pytest
import soundfile

from serct.data.corpora import (
    CorpusParams,
    Sources,
    build_corpus,
    crema_d,
    obtain_corpus,
    scan_corpus,
)
from serct.data.corpora.crema_d import CremaD
from serct.data.corpora.iemocap import Iemocap
from serct.data.corpora.nemo import Nemo
from serct.data.download import no_progress
from serct.data.reading.verification import Original, read_originals
from serct.errors import CorpusError, DownloadError
from tests.recordings import write_recording
from tests.web import QuietHandler, in_background

RAVDESS = CorpusParams(reader="ravdess")
NEMO = CorpusParams(reader="nemo")
CREMA_D = CorpusParams(reader="crema_d")
SAVEE = CorpusParams(reader="savee")
EMOVO = CorpusParams(reader="emovo")
IEMOCAP = CorpusParams(reader="iemocap")


@pytest.mark.parametrize(
    ("params", "path", "speaker", "gender", "text_id", "emotion"),
    [
        (RAVDESS, "Actor_12/03-01-06-01-02-01-12.wav", "12", "f", "02", "fearful"),
        (RAVDESS, "Actor_01/03-01-02-02-01-02-01.wav", "01", "m", "01", "calm"),
        (NEMO, "samples/KS0_surprised_10.wav", "KS0", "m", "10", "surprised"),
        (NEMO, "nEMO-main/samples/EB0_fear_90.flac", "EB0", "f", "90", "fearful"),
        (CREMA_D, "AudioWAV/1001_DFA_ANG_XX.wav", "1001", "m", "DFA", "angry"),
        (CREMA_D, "1002_IEO_NEU_HI.flac", "1002", "f", "IEO", "neutral"),
        (CREMA_D, "AudioWAV/1040_ITH_SAD_X.wav", "1040", "m", "ITH", "sad"),
        (SAVEE, "AudioData/DC/sa03.wav", "DC", "m", "", "sad"),
        (SAVEE, "AudioData/KL/su15.wav", "KL", "m", "", "surprised"),
        (SAVEE, "ALL/JE_a01.wav", "JE", "m", "", "angry"),
        (EMOVO, "EMOVO/f1/gio-f1-b2.wav", "f1", "f", "b2", "happy"),
        (EMOVO, "EMOVO/M3/RAB-m3-N5.WAV", "m3", "m", "n5", "angry"),
    ],
)
def test_name(tmp_path, params, path, speaker, gender, text_id, emotion):
    write_recording(tmp_path / path, audio_format="FLAC" if path.endswith("flac") else "WAV")
    [clip] = scan_corpus(params, tmp_path).utterances
    assert (clip.path, clip.speaker, clip.gender) == (path, speaker, gender)
    assert (clip.text_id, clip.emotion, clip.split) == (text_id, emotion, "")


@pytest.mark.parametrize(
    ("params", "good", "bad"),
    [
        (RAVDESS, "03-01-06-01-02-01-12", "03-01-06-01-02-01-25"),
        (RAVDESS, "03-01-06-01-02-01-12", "03-01-09-01-02-01-12"),
        (NEMO, "KS0_anger_1", "KS0_disgust_1"),
        (NEMO, "KS0_anger_1", "KS1_anger_1"),
        (NEMO, "KS0_anger_1", "KS0_anger_91"),
        (CREMA_D, "1001_DFA_ANG_XX", "1092_DFA_ANG_XX"),
        (CREMA_D, "1001_DFA_ANG_XX", "1001_DFA_SUR_XX"),
        (SAVEE, "DC_a01", "a01"),
        (SAVEE, "DC_a01", "DC_x01"),
        (EMOVO, "gio-f1-b2", "gio-f4-b2"),
        (EMOVO, "gio-f1-b2", "gio-f1-b4"),
    ],
)
def test_foreign_names_are_refused(tmp_path, params, good, bad):
    write_recording(tmp_path / f"{good}.wav")
    write_recording(tmp_path / f"{bad}.wav")
    scan = scan_corpus(params, tmp_path)
    assert [clip.path for clip in scan.utterances] == [f"{good}.wav"]
    [rejection] = scan.rejections
    assert (rejection.path, "expected one like" in rejection.reason) == (f"{bad}.wav", True)


def test_ravdess_leaves_out_songs_films_and_the_copy(tmp_path):
    for name in (
        "03-01-03-01-02-01-07",
        "03-01-03-01-02-02-07",
        "03-02-03-01-02-01-07",
        "01-01-03-01-02-01-07",
    ):
        write_recording(tmp_path / f"{name}.wav")
    scan = scan_corpus(RAVDESS, tmp_path)
    assert [clip.path for clip in scan.utterances] == ["03-01-03-01-02-01-07.wav"]
    assert scan.rejections == ()


def test_ravdess_is_balanced_but_for_neutral_and_the_copy():
    emotions = Counter(
        PurePosixPath(stem).name[6:8] for stem in build_corpus("ravdess", RAVDESS).originals()
    )
    assert emotions == {"01": 96, "03": 191} | dict.fromkeys(
        ("02", "04", "05", "06", "07", "08"), 192
    )
    everything = read_originals("ravdess").values()
    copies = [file for file in everything if "03-01-03-01-02-0" in file.path.name]
    assert len({file.sha256 for file in copies if file.path.stem.endswith("-07")}) == 1


def test_nemo_has_nine_actors_and_90_sentences_each_in_every_emotion():
    corpus = build_corpus("nemo", NEMO)
    files = corpus.originals()
    assert len({file.sha256 for file in files.values()}) == corpus.num_utterances == 4481
    clips = [corpus.parse(file.path) for file in files.values()]
    assert Counter(clip.emotion for clip in clips) == {
        "neutral": 809, "sad": 769, "happy": 749, "angry": 749, "fearful": 736, "surprised": 669,
    }  # fmt: skip
    sizes = Counter(clip.speaker for clip in clips)
    assert (len(sizes), sizes["MP0"], sizes["MK0"], max(sizes.values())) == (9, 256, 450, 540)
    assert {(clip.text_id, clip.emotion) for clip in clips} == {
        (str(number), emotion)
        for number in range(1, 91)
        for emotion in {clip.emotion for clip in clips}
    }


def test_nemo_is_unpacked_from_an_archive_of_its_repository(tmp_path, monkeypatch):
    content = write_recording(tmp_path / "made" / "KS0_anger_1.wav").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    original = Original(PurePosixPath("samples/KS0_anger_1.wav"), len(content), digest, "")
    monkeypatch.setattr(Nemo, "originals", lambda self: {"KS0_anger_1": original})
    monkeypatch.setattr(Nemo, "num_utterances", 1)
    (tmp_path / "mirror").mkdir()
    with zipfile.ZipFile(tmp_path / "mirror" / "nEMO-main.zip", "w") as archive:
        archive.writestr("nEMO-main/data.tsv", "file_id")
        archive.writestr("nEMO-main/samples/KS0_anger_1.wav", content)
    sources = Sources(mirror=tmp_path / "mirror", cache=tmp_path / "cache", offline=True)
    obtain_corpus("nemo", NEMO, tmp_path / "raw", sources, no_progress)
    assert [path.name for path in tmp_path.glob("raw/**/*.*")] == ["KS0_anger_1.wav"]


def test_crema_d_has_91_actors_and_12_sentences():
    corpus = build_corpus("crema_d", CREMA_D)
    files = corpus.originals()
    assert len(files) == corpus.num_utterances == 7438
    assert all(crema_d._FILE_NAME.fullmatch(stem) for stem in files)
    assert len({stem[:4] for stem in files}) == 91
    assert len(crema_d._WOMEN) == 43
    assert len({file.sha256 for file in files.values()}) == 7438


def test_what_crema_d_leaves_out_is_silence_or_a_copy():
    files = read_originals("crema_d")
    silent = files["1076_MTI_SAD_XX"]
    wav = io.BytesIO()
    num_samples = (silent.num_bytes - 44) // 2
    soundfile.write(wav, np.zeros(num_samples, np.int16), 16000, format="WAV", subtype="PCM_16")
    assert hashlib.sha256(wav.getvalue()).hexdigest() == silent.sha256
    counts = Counter(file.sha256 for file in files.values())
    doubled = {stem for stem, file in files.items() if counts[file.sha256] == 2}
    assert doubled > CremaD.left_out - {"1076_MTI_SAD_XX"}
    assert len(doubled - CremaD.left_out) == 3


def test_crema_d_is_downloaded_file_by_file_and_verified(tmp_path, monkeypatch):
    served = tmp_path / "served"
    files = {}
    for stem in ("1001_DFA_ANG_XX", "1002_IEO_NEU_HI", "1091_WSI_SAD_XX"):
        content = write_recording(served / f"{stem}.wav").read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        files[stem] = Original(PurePosixPath(f"{stem}.wav"), len(content), digest, "")

    class Files(QuietHandler, SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(served))

    monkeypatch.setattr(CremaD, "originals", lambda self: files)
    monkeypatch.setattr(CremaD, "num_utterances", 3)
    sources = Sources(mirror=None, cache=tmp_path / "cache", offline=False)
    with in_background(ThreadingHTTPServer(("127.0.0.1", 0), Files)) as address:
        monkeypatch.setattr(crema_d, "_FILES", f"http://{address}")
        obtain_corpus("crema_d", CREMA_D, tmp_path / "raw", sources, no_progress)
    assert [clip.emotion for clip in scan_corpus(CREMA_D, tmp_path / "raw").utterances] == [
        "angry",
        "neutral",
        "sad",
    ]
    # The second time nothing is asked of anyone.
    offline = Sources(mirror=None, cache=tmp_path / "cache", offline=True)
    obtain_corpus("crema_d", CREMA_D, tmp_path / "again", offline, no_progress)


def test_crema_d_takes_the_wavs_of_a_clone_and_not_its_mp3s(tmp_path, monkeypatch):
    clone = tmp_path / "mirror" / "CREMA-D"
    write_recording(clone / "AudioWAV" / "1001_DFA_ANG_XX.wav")
    write_recording(clone / "AudioMP3" / "1001_DFA_ANG_XX.mp3", audio_format="FLAC")
    monkeypatch.setattr(CremaD, "originals", lambda self: {})
    monkeypatch.setattr(CremaD, "num_utterances", 1)
    sources = Sources(mirror=tmp_path / "mirror", cache=tmp_path / "cache", offline=True)
    obtain_corpus("crema_d", CREMA_D, tmp_path / "raw", sources, no_progress)
    assert [path.name for path in tmp_path.glob("raw/**/*.*")] == ["1001_DFA_ANG_XX.wav"]


def test_both_layouts_of_savee_in_one_folder_give_each_clip_once(tmp_path):
    write_recording(tmp_path / "AudioData" / "DC" / "sa01.wav")
    content = (tmp_path / "AudioData" / "DC" / "sa01.wav").read_bytes()
    (tmp_path / "DC_sa01.wav").write_bytes(content)
    write_recording(tmp_path / "AudioData" / "JE" / "sa01.wav", seconds=0.1)
    scan = scan_corpus(SAVEE, tmp_path)
    assert {clip.speaker: clip.path for clip in scan.utterances} == {
        "DC": "DC_sa01.wav",
        "JE": "AudioData/JE/sa01.wav",
    }
    assert scan.rejections == ()


def write_iemocap(root, labels):
    """Write one dialogue of session 1 with a turn for each label."""
    lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
    for number, (turn, label) in enumerate(labels.items()):
        lines += [
            f"[{number}.2901 - {number}.9357]\t{turn}\t{label}\t[2.5000, 2.5000, 2.5000]",
            "C-E2:\tNeutral;\t()",
            "",
        ]
        write_recording(root / "Session1/sentences/wav/Ses01F_impro01" / f"{turn}.wav")
    path = root / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines), "utf-8")
    write_recording(root / "Session1/dialog/wav/Ses01F_impro01.wav")


def test_iemocap_keeps_four_classes_and_joins_excited_with_happy(tmp_path):
    write_iemocap(
        tmp_path,
        {
            "Ses01F_impro01_F000": "neu",
            "Ses01F_impro01_M000": "exc",
            "Ses01F_impro01_M001": "hap",
            "Ses01F_impro01_FXX0": "fru",
            "Ses01F_impro01_F002": "xxx",
            "Ses01F_impro01_F003": "ang",
            "Ses01F_impro01_F004": "sad",
        },
    )
    scan = scan_corpus(IEMOCAP, tmp_path)
    assert scan.rejections == ()
    found = {PurePosixPath(c.path).stem[-4:]: (c.emotion, c.gender) for c in scan.utterances}
    assert found == {
        "F000": ("neutral", "f"),
        "M000": ("happy", "m"),
        "M001": ("happy", "m"),
        "F003": ("angry", "f"),
        "F004": ("sad", "f"),
    }
    assert {clip.speaker for clip in scan.utterances} == {"session-1"}


def test_iemocap_names_turns_that_nobody_labelled(tmp_path):
    write_iemocap(tmp_path, {"Ses01F_impro01_F000": "neu"})
    write_recording(tmp_path / "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F009.wav")
    [rejection] = scan_corpus(IEMOCAP, tmp_path).rejections
    assert rejection.path.endswith("_F009.wav")
    assert rejection.reason == "no evaluation names it"


def test_iemocap_without_labels_says_what_is_missing(tmp_path):
    write_recording(tmp_path / "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav")
    with pytest.raises(CorpusError, match="EmoEvaluation"):
        scan_corpus(IEMOCAP, tmp_path)


def test_iemocap_takes_its_labels_along(tmp_path, monkeypatch):
    write_iemocap(tmp_path / "mirror" / "IEMOCAP_full_release", {"Ses01F_impro01_F000": "neu"})
    monkeypatch.setattr(Iemocap, "num_utterances", 1)
    sources = Sources(mirror=tmp_path / "mirror", cache=tmp_path / "cache", offline=True)
    obtain_corpus("iemocap", IEMOCAP, tmp_path / "raw", sources, no_progress)
    names = {path.name for path in tmp_path.glob("raw/**/*.*")}
    assert names == {"Ses01F_impro01_F000.wav", "Ses01F_impro01.txt"}


@pytest.mark.parametrize("params", [SAVEE, EMOVO, IEMOCAP])
def test_what_only_people_can_get_says_so_even_online(tmp_path, params):
    sources = Sources(mirror=None, cache=tmp_path / "cache", offline=False)
    with pytest.raises(
        DownloadError, match=re.escape(build_corpus("x", params).homepage)
    ) as caught:
        obtain_corpus(params.reader, params, tmp_path / "raw", sources, no_progress)
    assert f"the cache {tmp_path / 'cache'}" in str(caught.value)
    assert not (tmp_path / "raw").exists()
