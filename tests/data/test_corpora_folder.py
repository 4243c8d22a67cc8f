"""Anyone's own recordings: by folders or by table, and what is refused."""

import os
import sys
import unicodedata
from pathlib import Path

import pytest

from serct.data.corpora import Sources, build_corpus, obtain_corpus, scan_corpus
from serct.data.corpora.folder import FolderParams
from serct.data.download import no_progress
from serct.data.manifest import Rejection
from serct.errors import CorpusError, DownloadError
from tests.recordings import write_recording


def params(path, table=None, speaker=None):
    return FolderParams(
        reader="folder", path=str(path), language="fr", table=table, speaker=speaker
    )


def obtain(tmp_path, path=None, table=None, speaker=None):
    sources = Sources(mirror=None, cache=tmp_path / "cache", offline=True)
    corpus = params(path or tmp_path / "mine", table, speaker)
    obtain_corpus("mine", corpus, tmp_path / "raw", sources, no_progress)
    return scan_corpus(corpus, tmp_path / "raw")


def test_folders_named_after_emotions(tmp_path):
    mine = tmp_path / "mine"
    for name in ("Anger/a.wav", "happy/anna/b.flac", "sad/ben/c.WAV"):
        write_recording(mine / name)
    (mine / "happy" / "notes.txt").write_text("not audio")
    (mine / "happy" / ".DS_Store").write_text("not audio")
    scan = obtain(tmp_path)
    found = [(clip.path, clip.emotion, clip.speaker, clip.split) for clip in scan.utterances]
    assert found == [
        ("Anger/a.wav", "angry", "", ""),
        ("happy/anna/b.flac", "happy", "anna", ""),
        ("sad/ben/c.WAV", "sad", "ben", ""),
    ]
    assert scan.rejections == ()
    assert not (tmp_path / "raw" / "happy" / "notes.txt").exists()
    about = build_corpus("mine", params(mine))
    assert (about.language, about.is_synthetic, about.num_utterances) == ("fr", False, None)


def test_copies_are_independent_of_what_happens_at_home(tmp_path):
    original = write_recording(tmp_path / "mine" / "sad" / "a.wav")
    obtain(tmp_path)
    before = (tmp_path / "raw" / "sad" / "a.wav").read_bytes()
    with original.open("r+b") as file:
        file.write(b"changed in place")
    assert (tmp_path / "raw" / "sad" / "a.wav").read_bytes() == before


def test_a_corpus_that_comes_divided(tmp_path):
    for name in ("train/sad/a.wav", "Test/sad/ben/b.wav", "validation/sad/c.wav"):
        write_recording(tmp_path / "mine" / name)
    found = {(clip.path, clip.split, clip.speaker) for clip in obtain(tmp_path).utterances}
    assert found == {
        ("train/sad/a.wav", "train", ""),
        ("Test/sad/ben/b.wav", "test", "ben"),
        ("validation/sad/c.wav", "validation", ""),
    }


def test_without_a_test_part_it_is_ours_to_divide(tmp_path):
    write_recording(tmp_path / "mine" / "train" / "sad" / "a.wav")
    assert [clip.split for clip in obtain(tmp_path).utterances] == [""]


def test_what_cannot_be_used_is_refused_file_by_file(tmp_path):
    mine = tmp_path / "mine"
    write_recording(mine / "sad" / "a.wav")
    write_recording(mine / "gloomy" / "b.wav")
    write_recording(mine / "c.wav")
    write_recording(mine / "train" / "d.wav")
    (mine / "sad" / "phone.xyz").write_bytes(b"x")
    scan = obtain(tmp_path)
    assert [clip.path for clip in scan.utterances] == ["sad/a.wav"]
    reasons = {r.path: r.reason for r in scan.rejections}
    assert list(reasons) == ["c.wav", "gloomy/b.wav", "sad/phone.xyz", "train/d.wav"]
    assert "unknown emotion 'gloomy', expected one of angry, disgusted" in reasons["gloomy/b.wav"]
    assert "in no folder named after an emotion" in reasons["c.wav"]
    assert "in no folder named after an emotion" in reasons["train/d.wav"]
    assert ".xyz: a format that is not read" in reasons["sad/phone.xyz"]


def test_nothing_usable_is_an_error_that_says_why(tmp_path):
    write_recording(tmp_path / "mine" / "gloomy" / "b.wav")
    with pytest.raises(
        DownloadError, match=r"found 0 usable utterances(?s:.*)unknown emotion 'gloomy'"
    ):
        obtain(tmp_path)
    assert not (tmp_path / "raw").exists()


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write_recording(tmp_path / "mine" / "sad" / "a.wav")
    assert len(obtain(tmp_path, "~/mine").utterances) == 1


def test_missing_folder(tmp_path):
    with pytest.raises(CorpusError, match=r"corpora\.mine\.path is .*no such folder"):
        obtain(tmp_path, tmp_path / "nowhere")
    with pytest.raises(
        CorpusError, match=rf"path is 'x', relative to {Path.cwd()}: no such folder"
    ):
        obtain(tmp_path, "x")


def paths_of(scan):
    return [clip.path for clip in scan.utterances]


def test_links_are_followed_and_broken_ones_named(tmp_path, caplog):
    mine, away = tmp_path / "mine", tmp_path / "away"
    inside = write_recording(mine / "sad" / "a.wav")
    write_recording(away / "happy" / "anna" / "h.wav")
    write_recording(away / "single.wav")
    (mine / "sad" / "again.wav").symlink_to(inside)
    (mine / "sad" / "b.wav").symlink_to(away / "single.wav")
    (mine / "happy").symlink_to(away / "happy")
    (mine / "happy_too").symlink_to(away / "happy")
    (mine / "sad" / "gone.wav").symlink_to(tmp_path / "gone.wav")
    (mine / "angry").symlink_to(tmp_path / "nowhere")
    (away / "happy" / "anna" / "loop").symlink_to(away / "happy")
    (mine / "sad" / "up").symlink_to(tmp_path)
    scan = obtain(tmp_path)
    assert paths_of(scan) == ["happy/anna/h.wav", "sad/a.wav", "sad/again.wav", "sad/b.wav"]
    assert f"{mine}/happy_too: the same folder as {mine}/happy, whose files count" in caplog.text
    reasons = {r.path: r.reason for r in scan.rejections}
    assert list(reasons) == ["angry", "happy/anna/loop", "sad/gone.wav", "sad/up"]
    gone = f"a link to '{tmp_path}/gone.wav', which cannot be opened (No such file or directory)"
    assert reasons["sad/gone.wav"] == gone
    assert reasons["sad/up"] == f"a link to '{tmp_path}', a folder that holds this one"
    raw = tmp_path / "raw"
    assert not any(path.is_symlink() for path in raw.rglob("*"))
    assert paths_of(scan_corpus(params(mine), mine)) == paths_of(scan)


def test_every_file_left_out_is_named(tmp_path):
    mine = tmp_path / "mine"
    write_recording(mine / "sad" / "a.WAV")
    for name in ("a.txt", "a.TextGrid", "README", "LICENSE.old", "x.csv", ".hidden", "Thumbs.db"):
        (mine / "sad" / name).write_text("no recording")
    for name in ("a.unheard", "take7", "all.zip", "a.wav.part"):
        (mine / "sad" / name).write_text("what is it?")
    os.mkfifo(mine / "sad" / "pipe.wav")
    scan = obtain(tmp_path)
    assert paths_of(scan) == ["sad/a.WAV"]
    reasons = {r.path: r.reason for r in scan.rejections}
    names = ["a.unheard", "a.wav.part", "all.zip", "pipe.wav", "take7"]
    assert list(reasons) == [f"sad/{name}" for name in names]
    assert reasons["sad/take7"].startswith("no suffix: a format that is not read, convert it to")
    assert reasons["sad/pipe.wav"] == "neither a file nor a folder"
    assert not (tmp_path / "raw" / "sad" / "all.zip").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
def test_names_that_are_not_utf8_are_named_with_escapes(tmp_path):
    mine = tmp_path / "mine"
    write_recording(mine / "sad" / "a.wav")
    spare = [write_recording(mine / "sad" / "b.wav"), write_recording(mine / "angry" / "c.wav")]
    spare[0].rename(os.fsdecode(os.fsencode(mine) + b"/sad/caf\xe9.wav"))
    spare[1].parent.rename(os.fsdecode(os.fsencode(mine) + b"/\xff"))
    scan = obtain(tmp_path)
    assert paths_of(scan) == ["sad/a.wav"]
    reason = "its name is not UTF-8"
    assert [(r.path, r.reason) for r in scan.rejections] == [
        ("\\xff/c.wav", reason), ("sad/caf\\xe9.wav", reason)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("level", "speakers"),
    [
        (1, ["", "ben", "session1", "session2"]),
        ("last", ["", "anna", "anna", "ben"]),
        ("path", ["", "ben", "session1/anna", "session2/anna"]),
    ],
)
def test_which_of_several_folders_names_the_speaker(tmp_path, level, speakers):
    for name in ("a.wav", "ben/b.wav", "session1/anna/c.wav", "session2/anna/d.wav"):
        write_recording(tmp_path / "mine" / "train" / "sad" / name)
    with pytest.raises(CorpusError) as caught:
        obtain(tmp_path)
    assert str(caught.value) == (
        "train/sad/session1/anna/c.wav: 2 folders below the emotion, and 2 files like it; which "
        "names the speaker? Set speaker in the corpus' entry of params.yaml: 1 (session1), last "
        "(anna), or path (session1/anna); a wrong choice puts one person on both sides of a split"
    )
    scan = obtain(tmp_path, speaker=level)
    assert sorted(clip.speaker for clip in scan.utterances) == speakers


def test_a_folder_that_is_no_emotion_is_named_before_the_speaker_is_asked_for(tmp_path):
    for name in ("sad/a.wav", "dev/sad/anna/b.wav"):
        write_recording(tmp_path / "mine" / name)
    [rejection] = obtain(tmp_path).rejections
    assert rejection.reason.startswith("unknown emotion 'dev', expected one of angry")


def test_a_file_without_permission_is_named_with_the_others(tmp_path, monkeypatch):
    mine = tmp_path / "mine"
    for name in ("a.wav", "b.wav"):
        write_recording(mine / "sad" / name)
    # Root may read everything.
    monkeypatch.setattr(os, "access", lambda path, mode: path.name != "b.wav")
    [rejection] = obtain(tmp_path).rejections
    assert rejection == Rejection("sad/b.wav", "cannot be read (permission denied)")


def test_a_folder_that_is_not_as_deep_as_said(tmp_path):
    for name in ("ben/b.wav", "session1/anna/c.wav"):
        write_recording(tmp_path / "mine" / "sad" / name)
    scan = obtain(tmp_path, speaker=2)
    assert [clip.speaker for clip in scan.utterances] == ["anna"]
    assert [(r.path, r.reason) for r in scan.rejections] == [
        ("sad/ben/b.wav", "1 folders below the emotion, but speaker in params.yaml is 2")
    ]


def write_table(tmp_path, text, encoding="utf-8"):
    (tmp_path / "mine").mkdir(exist_ok=True)
    (tmp_path / "mine" / "labels.csv").write_text(text, encoding)


def test_table(tmp_path):
    for name in ("x/1.wav", "x/2.wav", "x/3.wav", "x/unlisted.wav"):
        write_recording(tmp_path / "mine" / name)
    write_table(
        tmp_path,
        "path, emotion,speaker,gender,text,comment\n"
        "x/2.wav,Joy,ben,Male,hello,fine\n"
        "x\\1.wav, sad ,anna,f,,\n"
        "./x/3.wav,neutral,,,,\n",
        "utf-8-sig",
    )
    scan = obtain(tmp_path, table="labels.csv")
    assert [
        (clip.path, clip.emotion, clip.speaker, clip.gender, clip.text_id)
        for clip in scan.utterances
    ] == [
        ("x/1.wav", "sad", "anna", "f", ""),
        ("x/2.wav", "happy", "ben", "m", "hello"),
        ("x/3.wav", "neutral", "", "", ""),
    ]
    assert scan.rejections == ()
    assert not (tmp_path / "raw" / "x" / "unlisted.wav").exists()


def test_a_table_as_spreadsheets_leave_it(tmp_path, caplog):
    for name in ("1.wav", "2.wav"):
        write_recording(tmp_path / "mine" / name)
    write_table(
        tmp_path,
        ",,,,,\n\ufeffPath,EMOTION,Speaker\u200b,Gender, speaker_id,\n1.wav,ａｎｇｒｙ,anna,Ｆ,7,\n"
        ",,,,,\n   \n2.wav,Pleasant surprise\u200b,ben,,7,\n , ,,,,\n",
    )
    scan = obtain(tmp_path, table="labels.csv")
    found = [(u.path, u.emotion, u.speaker, u.gender) for u in scan.utterances]
    assert found == [("1.wav", "angry", "anna", "f"), ("2.wav", "surprised", "ben", "")]
    assert scan.rejections == ()
    assert "mine: columns of labels.csv that are not used: speaker_id; known are" in caplog.text


def test_rows_that_cannot_be_used_are_refused(tmp_path):
    for name in (*("1.wav", "2.wav", "3.wav", "4.txt"), *(".6.wav", "8/a.wav")):
        write_recording(tmp_path / "mine" / name, audio_format="WAV")
    write_table(
        tmp_path,
        "path,emotion,gender\n1.wav,sad,f\n2.wav,gloomy,f\n3.wav,sad,x\n4.TXT,sad,f\n5.wav,sad,f\n"
        ".6.wav,sad,f\n7,sad,f\n8,sad,f\n8/a.wav,sad,f\n",
    )
    scan = obtain(tmp_path, table="labels.csv")
    assert [clip.path for clip in scan.utterances] == ["1.wav", "8/a.wav"]
    reasons = {r.path: r.reason for r in scan.rejections}
    assert "but it is hidden, and hidden files are no part of a corpus" in reasons[".6.wav"]
    assert "there is no such file" in reasons["7"]
    assert "but it is a folder" in reasons["8"]
    assert "unknown emotion 'gloomy'" in reasons["2.wav"]
    assert "gender is 'x', expected f, m" in reasons["3.wav"]
    assert ".txt: a format that is not read" in reasons["4.TXT"]
    assert "there is no such file" in reasons["5.wav"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,emotion\n1.wav,sad\n", "no column path, found file, emotion"),
        ("", "no column emotion or path"),
        ("path,emotion\n1.wav,sad\n1.wav,happy\n", r"1\.wav is listed 2 times, in rows 2, 3"),
        ("path,emotion\n1.wav,sad\n./1.WAV,happy\n", r"1\.wav is listed 2 times, in rows 2, 3"),
        ("path,emotion\n1.wav,sad\n2.wav\n", "row 3: 1 fields, expected 2 as in the header"),
        ('path,emotion\n1.wav,"sad\n2.wav,sad\n', r"row 2: a quote \(\"\) opens a field and none"),
        ("path,emotion,emotion\n", "row 1: column emotion stands in the header twice"),
        ("path,emotion\n1.wav,s\0d\n", "row 2: a NUL character"),
        ("path,emotion\n../1.wav,sad\n", r"row 2: path '\.\./1\.wav', expected one inside"),
        ("path,emotion\n/etc/1.wav,sad\nC:\\1.wav,sad\n,sad\n", r"row 2(?s:.*)row 3(?s:.*)row 4"),
    ],
)
def test_malformed_tables(tmp_path, text, message):
    write_recording(tmp_path / "mine" / "1.wav")
    write_table(tmp_path, text)
    with pytest.raises(CorpusError, match=message):
        obtain(tmp_path, table="labels.csv")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("text", ["path,emotion\r{}.wav,sad\r", "path\temotion\r\n{}.wav\tsad",
    "sep=;\npath;emotion\n{}.wav;sad\n"])  # fmt: skip
def test_tables_of_other_programs(tmp_path, text, encoding):
    write_recording(tmp_path / "mine" / "ü.wav")
    (tmp_path / "mine" / "labels.csv").write_bytes(text.format("ü").encode(encoding))
    assert paths_of(obtain(tmp_path, table="labels.csv")) == ["ü.wav"]


def test_files_are_found_however_their_names_are_spelled(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "ü") for form in ("NFC", "NFD"))
    mine = tmp_path / "mine"
    for name in (f"{decomposed}.wav", "Case.wav", "two.wav", "TWO.wav"):
        write_recording(mine / name)
    write_table(
        tmp_path,
        f"path,emotion\n{composed}.wav,sad\ncase.WAV,sad\ntwo.wav,sad\nTwo.wav,sad\nno.wav,sad\n",
    )
    scan = obtain(tmp_path, table="labels.csv")
    assert paths_of(scan) == ["Case.wav", "two.wav", f"{decomposed}.wav"]
    assert [(r.path, r.reason) for r in scan.rejections] == [
        (
            "Two.wav",
            "labels.csv row 5: listed in the table, but several files are named like it: TWO.wav, "
            "two.wav",
        ),
        ("no.wav", "labels.csv row 6: listed in the table, but there is no such file"),
    ]


def test_recordings_that_the_table_lacks_are_counted(tmp_path, caplog):
    for name in ("1.wav", "2.wav", "3.flac"):
        write_recording(tmp_path / "mine" / name)
    write_table(tmp_path, "path,emotion\n1.wav,sad\n")
    with caplog.at_level("WARNING", "serct"):
        obtain(tmp_path, table="labels.csv")
    message = "mine: 2 recordings are not in the table labels.csv and left out:\n  2.wav\n  3.flac"
    assert message in caplog.text


def test_a_recording_that_is_spelled_like_a_listed_one_is_not_listed(tmp_path, caplog):
    for name in ("1.wav", "1.WAV"):
        write_recording(tmp_path / "mine" / name)
    write_table(tmp_path, "path,emotion\n1.wav,sad\n")
    assert paths_of(obtain(tmp_path, table="labels.csv")) == ["1.wav"]
    assert (
        "mine: 1 recordings are not in the table labels.csv and left out:\n  1.WAV" in caplog.text
    )


def test_table_that_cannot_be_read(tmp_path):
    write_recording(tmp_path / "mine" / "1.wav")
    (tmp_path / "mine" / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "mine" / "pipe.csv")
    for name, reason in {
        "folder.csv": "it is a folder", "pipe.csv": "neither a file nor a folder",
        "no.csv": "there is no such file",
    }.items():  # fmt: skip
        with pytest.raises(CorpusError, match=rf"{name}: no such table \({reason}\)"):
            obtain(tmp_path, table=name)
    with pytest.raises(CorpusError, match=r"labels\.csv: no such table"):
        obtain(tmp_path, table="labels.csv")
    write_table(tmp_path, "path,emotion\nä.wav,sad\n", "latin-1")
    with pytest.raises(CorpusError, match=r"labels\.csv: not UTF-8"):
        obtain(tmp_path, table="labels.csv")
    with pytest.raises(CorpusError, match="expected one inside the corpus' folder"):
        obtain(tmp_path, table="../labels.csv")


def test_a_table_divides_the_corpus(tmp_path):
    words = {"a": "train", "b": "TEST", "c": "dev", "d": "", "e": "held out"}
    for name in words:
        write_recording(tmp_path / "mine" / f"{name}.wav")
    rows = [f"{name}.wav,sad,{word}" for name, word in words.items()]
    (tmp_path / "mine" / "labels.csv").write_text("\n".join(["path,emotion,split", *rows]))
    scan = obtain(tmp_path, table="labels.csv")
    assert [(u.path, u.split) for u in scan.utterances] == [
        ("a.wav", "train"), ("b.wav", "test"), ("c.wav", "validation"), ("d.wav", ""),
    ]  # fmt: skip
    [rejection] = scan.rejections
    assert "split is 'held out', expected train, validation, test or nothing" in rejection.reason
