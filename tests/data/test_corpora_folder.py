"""Anyone's own recordings: by folders or by table, and what is refused."""

import pytest

from serct.data.corpora import Sources, build_corpus, obtain_corpus, scan_corpus
from serct.data.corpora.folder import FolderParams
from serct.data.download import no_progress
from serct.errors import CorpusError, DownloadError
from tests.recordings import write_recording


def params(path, table=None):
    return FolderParams(reader="folder", path=str(path), language="fr", table=table)


def obtain(tmp_path, path=None, table=None):
    sources = Sources(mirror=None, cache=tmp_path / "cache", offline=True)
    corpus = params(path or tmp_path / "mine", table)
    obtain_corpus("mine", corpus, tmp_path / "raw", sources, no_progress)
    return scan_corpus(corpus, tmp_path / "raw")


def test_folders_named_after_emotions(tmp_path):
    mine = tmp_path / "mine"
    for name in ("Anger/a.wav", "happy/anna/b.flac", "sad/ben/2024/c.wav"):
        write_recording(mine / name)
    (mine / "happy" / "notes.txt").write_text("not audio")
    (mine / "happy" / ".DS_Store").write_text("not audio")
    scan = obtain(tmp_path)
    found = [(clip.path, clip.emotion, clip.speaker, clip.split) for clip in scan.utterances]
    assert found == [
        ("Anger/a.wav", "angry", "", ""),
        ("happy/anna/b.flac", "happy", "anna", ""),
        ("sad/ben/2024/c.wav", "sad", "ben", ""),
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
    (mine / "sad" / "phone.wv").write_bytes(b"x")
    scan = obtain(tmp_path)
    assert [clip.path for clip in scan.utterances] == ["sad/a.wav"]
    reasons = {r.path: r.reason for r in scan.rejections}
    assert list(reasons) == ["c.wav", "gloomy/b.wav", "sad/phone.wv", "train/d.wav"]
    assert "unknown emotion 'gloomy', expected one of angry, disgusted" in reasons["gloomy/b.wav"]
    assert "in no folder named after an emotion" in reasons["c.wav"]
    assert "in no folder named after an emotion" in reasons["train/d.wav"]
    assert ".wv: a format that is not read" in reasons["sad/phone.wv"]


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


def test_links_may_not_lead_elsewhere(tmp_path):
    inside = write_recording(tmp_path / "mine" / "sad" / "a.wav")
    outside = write_recording(tmp_path / "secret" / "b.wav")
    (tmp_path / "mine" / "sad" / "again.wav").symlink_to(inside)
    assert [clip.path for clip in obtain(tmp_path).utterances] == ["sad/a.wav", "sad/again.wav"]
    (tmp_path / "mine" / "sad" / "b.wav").symlink_to(outside)
    (tmp_path / "mine" / "happy").symlink_to(outside.parent)
    (tmp_path / "mine" / "sad" / "gone.wav").symlink_to(tmp_path / "gone.wav")
    with pytest.raises(CorpusError, match="links that lead elsewhere") as caught:
        obtain(tmp_path)
    assert str(caught.value).count("->") == 3


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
        "./x/3.wav,neutral\n",
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


def test_rows_that_cannot_be_used_are_refused(tmp_path):
    for name in ("1.wav", "2.wav", "3.wav", "4.txt"):
        write_recording(tmp_path / "mine" / name, audio_format="WAV")
    write_table(
        tmp_path,
        "path,emotion,gender\n1.wav,sad,f\n2.wav,gloomy,f\n3.wav,sad,x\n4.txt,sad,f\n5.wav,sad,f\n",
    )
    scan = obtain(tmp_path, table="labels.csv")
    assert [clip.path for clip in scan.utterances] == ["1.wav"]
    reasons = {r.path: r.reason for r in scan.rejections}
    assert "unknown emotion 'gloomy'" in reasons["2.wav"]
    assert "gender is 'x', expected f, m" in reasons["3.wav"]
    assert ".txt: a format that is not read" in reasons["4.txt"]
    assert "there is no such file" in reasons["5.wav"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,emotion\n1.wav,sad\n", "no column path, found file, emotion"),
        ("", "no column emotion or path"),
        ("path,emotion\n1.wav,sad\n1.wav,happy\n", r"1\.wav is listed 2 times"),
        ("path,emotion\n../1.wav,sad\n", r"row 2: path '\.\./1\.wav', expected one inside"),
        ("path,emotion\n/etc/1.wav,sad\nC:\\1.wav,sad\n,sad\n", r"row 2(?s:.*)row 3(?s:.*)row 4"),
    ],
)
def test_malformed_tables(tmp_path, text, message):
    write_recording(tmp_path / "mine" / "1.wav")
    write_table(tmp_path, text)
    with pytest.raises(CorpusError, match=message):
        obtain(tmp_path, table="labels.csv")


def test_table_that_cannot_be_read(tmp_path):
    write_recording(tmp_path / "mine" / "1.wav")
    with pytest.raises(CorpusError, match=r"labels\.csv: no such table"):
        obtain(tmp_path, table="labels.csv")
    write_table(tmp_path, "path,emotion\nä.wav,sad\n", "latin-1")
    with pytest.raises(CorpusError, match=r"labels\.csv: not UTF-8"):
        obtain(tmp_path, table="labels.csv")
    with pytest.raises(CorpusError, match="expected one inside the corpus' folder"):
        obtain(tmp_path, table="../labels.csv")
