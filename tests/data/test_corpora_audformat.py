"""Databases in audformat, written by the package audformat itself."""

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import audformat
import numpy as np
import pandas as pd
import pytest
import soundfile

from serct.config.params import Params
from serct.data.corpora import Sources, build_corpus, obtain_corpus, read_corpus_params, scan_corpus
from serct.data.corpora.audformat import AudformatParams
from serct.data.download import no_progress
from serct.data.manifest import Scan, Utterance
from serct.errors import BackendUnavailableError, CorpusError
from tests.recordings import write_recording

LABELS = {
    "wav/03a01Fa.wav": "happiness",
    "wav/03a02Wa.wav": "anger",
    "wav/08a01Ta.wav": "sadness",
    "wav/08a02Na.wav": None,
    "wav/16a01Wb.wav": "anger",
}
SPEAKERS = {
    3: {"gender": "male", "age": 31, "language": "deu"},
    8: {"gender": "female", "age": 34, "language": "deu"},
    16: {"gender": "female", "age": 31, "language": "deu"},
}


def header() -> audformat.Database:
    """An empty database with the schemes of EMO-DB 1.2.0 and later."""
    db = audformat.Database(
        "emodb", source="http://emodb.bilderbar.info", usage="unrestricted",
        languages=["deu"], license="CC0-1.0",
    )  # fmt: skip
    db.schemes["duration"] = audformat.Scheme("time")
    db.schemes["emotion"] = audformat.Scheme(labels=["anger", "happiness", "sadness"])
    db.schemes["confidence"] = audformat.Scheme("float", minimum=0, maximum=1)
    db.schemes["speaker"] = audformat.Scheme(labels=SPEAKERS)
    db.schemes["transcription"] = audformat.Scheme(labels={"a01": "Der ...", "a02": "Das ..."})
    for split in ("train", "test"):
        db.splits[split] = audformat.Split(type=split)
    return db


def add(
    db: audformat.Database, table: str, index: Any, split: str | None = None, **columns: Any
) -> None:
    """Add a table; a column a__b has the name a.b and the scheme that its last part names."""
    db[table] = audformat.Table(index, split_id=split)
    for name, values in columns.items():
        column = name.replace("__", ".")
        scheme = column.rpartition(".")[2]
        db[table][column] = audformat.Column(scheme_id=scheme if scheme in db.schemes else None)
        db[table][column].set(values)


def emodb() -> audformat.Database:
    db = header()
    files = list(LABELS)
    filewise = audformat.filewise_index
    add(
        db, "files", filewise(files), duration=pd.to_timedelta([0.05] * 5, unit="s"),
        speaker=[3, 3, 8, 8, 16], transcription=["a01", "a02", "a01", "a02", "a01"],
    )  # fmt: skip
    add(
        db, "emotion", filewise(files), emotion=list(LABELS.values()),
        emotion__confidence=[0.9, 0.95, 1.0, None, 0.8],
    )  # fmt: skip
    gold = "emotion.categories.{}.gold_standard"
    add(db, gold.format("train"), filewise(files[:3]), "train", emotion=list(LABELS.values())[:3])
    add(db, gold.format("test"), filewise(files[4:]), "test", emotion=["anger"])
    return db


def save(db: audformat.Database, folder: Path, storage: str = "csv") -> Path:
    db.save(str(folder), storage_format=storage)
    for file in db.files:
        write_recording(folder / file)
    return folder


def entry(path: Path, **keys: Any) -> AudformatParams:
    params = Params({"corpora": {"mine": {"reader": "audformat", "path": str(path), **keys}}})
    found = read_corpus_params(params, "mine")
    assert isinstance(found, AudformatParams)
    return found


def obtain(tmp_path: Path, path: Path, **keys: Any) -> Scan:
    sources = Sources(mirror=None, cache=tmp_path / "cache", offline=True)
    params = entry(path, **keys)
    obtain_corpus("mine", params, tmp_path / "raw", sources, no_progress)
    return scan_corpus(params, tmp_path / "raw")


def test_labels_speakers_words_and_splits_come_from_the_tables(tmp_path, caplog):
    scan = obtain(tmp_path, save(emodb(), tmp_path / "db"))
    found = [(u.path, u.emotion, u.speaker, u.gender, u.text_id, u.split) for u in scan.utterances]
    assert found == [
        ("wav/03a01Fa.wav", "happy", "3", "m", "a01", "train"),
        ("wav/03a02Wa.wav", "angry", "3", "m", "a02", "train"),
        ("wav/08a01Ta.wav", "sad", "8", "f", "a01", "train"),
        ("wav/16a01Wb.wav", "angry", "16", "f", "a01", "test"),
    ]
    assert {u.language for u in scan.utterances} == {"de"}
    assert scan.rejections == ()
    assert "mine: 1 rows without an emotion are left out" in caplog.text
    copied = {str(path.relative_to(tmp_path / "raw")) for path in (tmp_path / "raw").rglob("*.*")}
    tables = {f"db.{name}.csv" for name in emodb().tables}
    assert copied == {"db.yaml", *tables, *(u.path for u in scan.utterances)}
    about = build_corpus("mine", entry(tmp_path / "db"))
    assert (about.language, about.licence, about.num_utterances) == ("de", "CC0-1.0", None)


@pytest.mark.parametrize("storage", ["csv", "parquet"])
def test_tables_of_both_kinds_say_the_same(tmp_path, storage):
    scan = obtain(tmp_path, save(emodb(), tmp_path / "db", storage))
    assert [u.emotion for u in scan.utterances] == ["happy", "angry", "sad", "angry"]


class Bomb:
    """Leaves a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.mark,)


def test_a_pickle_is_never_opened(tmp_path):
    source, mark = save(emodb(), tmp_path / "db"), tmp_path / "exploded"
    bomb = pickle.dumps(Bomb(mark))
    for table in emodb().tables:
        (source / f"db.{table}.pkl").write_bytes(bomb)
    params = entry(source)
    obtain(tmp_path, source)
    assert not list((tmp_path / "raw").glob("*.pkl"))
    # Nor where somebody puts one later.
    (tmp_path / "raw" / "db.emotion.pkl").write_bytes(bomb)
    assert len(scan_corpus(params, tmp_path / "raw").utterances) == 4
    assert not mark.exists()
    (source / "db.emotion.csv").unlink()
    with pytest.raises(CorpusError, match=r"table emotion: no db\.emotion\.parquet and no db\.emo"):
        obtain(tmp_path, source)
    assert not mark.exists()
    # The package itself does open it: without the care above, the mark would be there.
    audformat.Database.load(str(source))["files"].load(str(source / "db.files"))
    assert mark.exists()


def test_a_header_is_plain_values(tmp_path):
    source, mark = save(emodb(), tmp_path / "db"), tmp_path / "exploded"
    header = source / "db.yaml"
    text = header.read_text("utf-8")
    header.write_text(f"{text}author: !!python/object/apply:os.mkdir ['{mark}']\n", "utf-8")
    with pytest.raises(CorpusError, match=r"db\.yaml: not readable: could not determine"):
        obtain(tmp_path, source)
    assert not mark.exists()
    header.write_text(text.replace("  emotion:\n    type", "  ../../emotion:\n    type"), "utf-8")
    with pytest.raises(CorpusError, match=r"'\.\./\.\./emotion' cannot name a table"):
        obtain(tmp_path, source)
    header.write_text("{name: x, source: y, usage: research, tables: 1}", "utf-8")
    with pytest.raises(CorpusError, match="misc_tables and tables are not tables by name"):
        obtain(tmp_path, source)
    header.write_text("tables: [1]", "utf-8")
    with pytest.raises(CorpusError, match="not a header of audformat, expected the keys name, so"):
        obtain(tmp_path, source)
    header.unlink()
    with pytest.raises(CorpusError, match=r"db\.yaml: no such file, expected the header of an aud"):
        obtain(tmp_path, source)


def test_dimensions_are_refused(tmp_path):
    db = emodb()
    db.schemes["arousal"] = audformat.Scheme("float", minimum=-1, maximum=1)
    add(db, "affect", audformat.filewise_index(list(LABELS)), arousal=[0.1, 0.2, 0.3, 0.4, 0.5])
    source = save(db, tmp_path / "db")
    expected = (
        r"column arousal of table affect has the type float, expected names of emotions \(str"
    )
    with pytest.raises(CorpusError, match=expected):
        obtain(tmp_path, source, table="affect", emotion="arousal")


def test_which_tables_and_columns(tmp_path):
    source = save(emodb(), tmp_path / "db")
    gold = "emotion.categories.{}.gold_standard"
    only = obtain(tmp_path, source, table=[gold.format("train"), gold.format("test")], splits={})
    assert [(u.emotion, u.split) for u in only.utterances] == [
        ("happy", ""), ("angry", ""), ("sad", ""), ("angry", ""),
    ]  # fmt: skip
    assert len(obtain(tmp_path, source, splits={}).utterances) == 4
    other = {gold.format("train"): "test", "test": "validation"}
    swapped = obtain(tmp_path, source, splits=other, language="fr", text="emotion")
    assert [u.split for u in swapped.utterances] == ["test", "test", "test", "validation"]
    # The language of params.yaml is the corpus', not that of single utterances.
    assert {(u.language, u.text_id) for u in swapped.utterances[:1]} == {("", "happiness")}
    for keys, expected in (
        ({"table": "words"}, r"no table words, expected one of: emotion, emotion\.cat"),
        ({"emotion": "mood"}, r"tables with mood: none, expected one; set corpora\.mine\.table or"),
        ({"table": "files"}, r"table files has no column for emotion, expected one; set corp"),
        ({"splits": {"dev": "test"}}, r"corpora\.mine\.splits names dev, expected splits or tab"),
        ({"splits": {"train": "train", gold.format("test"): "test", "emotion": "test"}},
         r"the splits overlap; say in corpora\.mine\.splits which count, or \{\} for none:\n  wav"),
    ):  # fmt: skip
        with pytest.raises(CorpusError, match=expected):
            obtain(tmp_path, source, **keys)


def test_several_tables_without_a_split_are_a_question(tmp_path):
    db = emodb()
    add(db, "raters", audformat.filewise_index(list(LABELS)), emotion=["anger"] * 5)
    source = save(db, tmp_path / "db")
    with pytest.raises(
        CorpusError, match=r"tables with emotion: emotion, raters, expected one; se"
    ):
        obtain(tmp_path, source)
    both = obtain(tmp_path, source, table=["emotion", "raters"])
    assert [u.path for u in both.utterances] == [
        "wav/03a02Wa.wav",
        "wav/08a02Na.wav",
        "wav/16a01Wb.wav",
    ]
    assert {r.path: r.reason for r in both.rejections} == {
        "wav/03a01Fa.wav": "labelled angry and happy", "wav/08a01Ta.wav": "labelled angry and sad",
    }  # fmt: skip


def test_languages_of_the_header(tmp_path):
    for codes, expected in (
        ([], r"languages: none, expected one, or .*; set corpora\.mine\.language"),
        (["deu", "eng"], "languages: de, en, expected one"),
    ):
        db = emodb()
        db.languages = codes
        source = save(db, tmp_path / "db")
        with pytest.raises(CorpusError, match=expected):
            obtain(tmp_path, source)
        assert build_corpus("mine", entry(source)).language == ("mul" if codes else "und")
    db = emodb()
    db.languages = ["cmn"]
    scan = obtain(tmp_path, save(db, tmp_path / "db"))
    assert {u.language for u in scan.utterances} == {"zh"}
    db.languages = ["deu", "eng"]
    add(db, "spoken", audformat.filewise_index(list(LABELS)), language=["deu", "eng"] * 2 + ["xx1"])
    scan = obtain(tmp_path, save(db, tmp_path / "db"))
    assert [u.language for u in scan.utterances] == ["de", "en", "de", "xx1"]
    assert {u.language for u in obtain(tmp_path, tmp_path / "db", language="fr").utterances} == {""}


def test_what_cannot_be_used_is_refused_row_by_row(tmp_path):
    db = header()
    db.schemes["emotion"] = audformat.Scheme("str")
    files = ["./a.wav", "gone.wav", "notes.xyz", "/etc/passwd", "../b.wav", "odd.wav"]
    words = [*["anger"] * 5, "contempt"]
    add(db, "emotion", audformat.filewise_index(files), emotion=words)
    db.save(str(tmp_path / "db"), storage_format="csv")
    for name in ("a.wav", "odd.wav"):
        write_recording(tmp_path / "db" / name)
    (tmp_path / "db" / "notes.xyz").write_text("no recording")
    write_recording(tmp_path / "b.wav")
    scan = obtain(tmp_path, tmp_path / "db")
    assert [u.path for u in scan.utterances] == ["a.wav"]
    reasons = {r.path: r.reason for r in scan.rejections}
    outside = "expected a path inside the database, relative to it"
    assert reasons.pop("../b.wav") == reasons.pop("/etc/passwd") == outside
    assert reasons.pop("gone.wav") == "there is no such file"
    assert reasons.pop("notes.xyz").startswith(".xyz: a format that is not read")
    assert reasons.pop("odd.wav").startswith("unknown emotion 'contempt', expected one of angry")
    assert not reasons
    (tmp_path / "db" / "db.emotion.csv").write_text("file,emotion\n,anger\n")
    with pytest.raises(CorpusError, match="table emotion: not readable: a row names no file"):
        obtain(tmp_path, tmp_path / "db")


def test_parts_of_a_file_become_files(tmp_path):
    rate = 16000
    samples = np.random.default_rng(0).integers(-9000, 9000, (3 * rate, 2), dtype=np.int16)
    db = header()
    rows = [
        ("day/long.wav", 0.25, 1.0, "anger"), ("day/long.wav", 1.0, None, "sadness"),
        ("day/long.wav", 2.5, 3.5, "sadness"), ("whole.wav", 0.0, 3.0, "happiness"),
        ("whole.wav", 0.0, 0.5, None),
    ]  # fmt: skip
    files, starts, ends, words = zip(*rows, strict=True)
    seconds = [pd.NaT if end is None else pd.to_timedelta(end, unit="s") for end in ends]
    index = audformat.segmented_index(files, pd.to_timedelta(starts, unit="s"), seconds)
    add(db, "emotion", index, emotion=list(words))
    add(db, "files", audformat.filewise_index(["day/long.wav", "whole.wav"]), speaker=[3, 8])
    db.save(str(tmp_path / "db"), storage_format="csv")
    (tmp_path / "db" / "day").mkdir()
    for file in ("day/long.wav", "whole.wav"):
        soundfile.write(tmp_path / "db" / file, samples, rate, subtype="PCM_16")
    scan = obtain(tmp_path, tmp_path / "db")
    assert [(u.path, u.emotion, u.speaker) for u in scan.utterances] == [
        ("day/long_1000-end.flac", "sad", "3"),
        ("day/long_250-1000.flac", "angry", "3"),
        ("whole.wav", "happy", "8"),
    ]
    for path, first, last in (("250-1000", 0.25, 1.0), ("1000-end", 1.0, 3.0)):
        cut, found_rate = soundfile.read(tmp_path / "raw/day" / f"long_{path}.flac", dtype="int16")
        assert found_rate == rate
        np.testing.assert_array_equal(cut, samples[int(first * rate) : int(last * rate)])
    assert not (tmp_path / "raw" / "day" / "long.wav").exists()
    [late] = scan.rejections
    assert late.path == "day/long.wav from 2.500 s to 3.500 s"
    assert late.reason.endswith("the file has 3.000 s, expected a part of it")


def test_speakers_described_in_a_table_of_their_own(tmp_path):
    db = header()
    db["speaker"] = audformat.MiscTable(pd.Index(["NA", "ben"], name="speaker", dtype="string"))
    db["speaker"]["gender"] = audformat.Column()
    db["speaker"]["gender"].set(["female", "other"])
    db.schemes["speaker"] = audformat.Scheme("str", labels="speaker")
    files = audformat.filewise_index(["a.wav", "b.wav", "c.wav"])
    add(db, "emotion", files, emotion=["anger"] * 3, speaker=["NA", "ben", None])
    scan = obtain(tmp_path, save(db, tmp_path / "db", "parquet"))
    assert [(u.speaker, u.gender) for u in scan.utterances] == [("NA", "f"), ("ben", ""), ("", "")]


def test_a_member_of_a_joint_corpus_keeps_its_language(tmp_path):
    source = save(emodb(), tmp_path / "db")
    members = {"a": {"reader": "audformat", "path": str(source)}}
    members["b"] = members["a"] | {"language": "fr"}
    params = Params(
        {"corpora": {"both": {"reader": "joint", "emotions": None, "members": members}}}
    )
    joint = read_corpus_params(params, "both")
    sources = Sources(mirror=None, cache=tmp_path / "cache", offline=True)
    obtain_corpus("both", joint, tmp_path / "raw", sources, no_progress)
    found: set[Utterance] = set(scan_corpus(joint, tmp_path / "raw").utterances)
    assert {(u.corpus, u.language) for u in found} == {("a", "de"), ("b", "fr")}


def test_without_the_package(tmp_path, monkeypatch):
    source = save(emodb(), tmp_path / "db")
    monkeypatch.setitem(sys.modules, "audformat", None)
    with pytest.raises(BackendUnavailableError, match=r"pip install 'serct\[audformat\]'"):
        obtain(tmp_path, source)


def test_words_mean_what_the_entry_says(tmp_path):
    path = save(emodb(), tmp_path / "db")
    found = obtain(tmp_path, path, labels={"Happiness": None, "sadness": "neutral"})
    assert [u.emotion for u in found.utterances] == ["angry", "neutral", "angry"]
    assert found.notes == (
        "labelled happiness: 1 utterances, left out",
        "labelled sadness: 1 utterances, taken as neutral",
    )
