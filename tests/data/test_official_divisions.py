"""Divisions that others made: tables of parts, and the folds of EmoBox in all its layouts."""

import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from pipeline.manifest import manifest
from serct.config.params import Params, SplitParams
from serct.config.section import validate
from serct.data.corpora import CorpusParams, build_corpus, read_corpus_params
from serct.data.corpora.esd import EsdParams
from serct.data.corpora.joint import JointParams
from serct.data.manifest import Utterance, read_manifest
from serct.data.official import emobox
from serct.data.official.listing import assign
from serct.data.official.reading import division_files, take_parts
from serct.data.splitting import split_utterances
from serct.emotions import canonical_emotion
from serct.errors import ManifestError, ParamsError
from tests.recordings import write_recording

# Names as the corpora have them, in the layouts that SERCT reads and that EmoBox lists.
LAYOUTS = {
    "ravdess": (
        "Actor_12/03-01-06-01-02-01-12.wav",
        "downloads/ravdess/audio/Audio_Speech_Actors_01-24/Actor_12/03-01-06-01-02-01-12.wav",
        "Fearful",
    ),
    "emovo": ("EMOVO/F2/GIO-f2-b2.WAV", "downloads/emovo/f2/gio-f2-b2.wav", "gio"),
    "crema_d": (
        "AudioWAV/1052_WSI_ANG_XX.flac", "downloads/cremad/AudioWAV/1052_WSI_ANG_XX.wav", "ANG",
    ),
    "savee": ("AudioData/JE/n23.wav", "downloads/savee/JE_n23.wav", "n"),
    "emodb": ("wav/03a02Wb.flac", "downloads/emodb/wav/03a02Wb.wav", "anger"),
    "tess": ("OAF_should_fear.wav", "downloads/tess/OAF_should_fear.wav", "fear"),
    "iemocap": (
        "Session1/sentences/wav/Ses01F_impro04/Ses01F_impro04_F000.wav",
        "downloads/iemocap/Session1/sentences/wav/Ses01F_impro04/Ses01F_impro04_F000.wav", "neu",
    ),
}  # fmt: skip
MAPS = {
    "ravdess": {"Fearful": "Fear"}, "emovo": {"gio": "Happy"}, "crema_d": {"ANG": "Angry"},
    "savee": {"n": "Neutral"}, "emodb": {"anger": "Angry"}, "tess": {"fear": "Fear"},
    "iemocap": {"neu": "Neutral"},
}  # fmt: skip


def split(**given: object) -> SplitParams:
    values = {
        "protocol": "random", "path": None, "test_fraction": 0.1, "validation_fraction": 0.25,
        "num_folds": None, "fold": 0, **given,
    }  # fmt: skip
    return validate(SplitParams, values, "test")


def spoken(path: str, emotion: str, speaker: str = "s", **given: str) -> Utterance:
    return Utterance(path=path, speaker=speaker, gender="", text_id="", emotion=emotion, **given)


def utterances(num: int = 12, folder: str = "wav") -> list[Utterance]:
    return [
        spoken(
            path=f"{folder}/{number:02d}.wav", corpus="c", speaker=f"s{number % 3}",
            emotion=("angry", "happy")[number % 2], sha256=str(number),
        )
        for number in range(num)
    ]  # fmt: skip


def write_fold(root: Path, name: str, number: int, parts: dict[str, list[tuple[str, str]]],
               layout: str = "jsonl") -> None:  # fmt: skip
    """Write the files of a fold: lists of (wav, label) by part."""
    folder = root / "data" / name / f"fold_{number}"
    folder.mkdir(parents=True, exist_ok=True)
    for part, items in parts.items():
        keys = [f"{name}-{PurePosixPath(wav).stem.replace('_', '-')}" for wav, _ in items]
        if layout == "json":
            content = {
                key: {"wav": wav, "length": 1.5, "emo": word, "dataset": name, "channel": 1}
                for key, (wav, word) in zip(keys, items, strict=True)
            }
            path, text = folder / f"{name}_{part}_fold_{number}.json", json.dumps(content)
        else:
            wav_key, label_key = ("audio", "label") if layout == "twin" else ("wav", "emo")
            stem = f"fold{number}" if layout == "twin" else f"fold_{number}"
            path = folder / f"{name}_{part}_{stem}.jsonl"
            text = "\n".join(
                json.dumps({"key": key, "dataset": name, wav_key: wav, label_key: word})
                for key, (wav, word) in zip(keys, items, strict=True)
            )
        path.write_text(text)


def folder_corpus():
    return build_corpus("c", CorpusParams(reader="emodb"))


class TestTable:
    def table(self, tmp_path: Path, text: str) -> str:
        (tmp_path / "parts.csv").write_text(text)
        return str(tmp_path / "parts.csv")

    def take(self, path: str, **given: object) -> tuple[dict[str, str], list[str]]:
        params = split(protocol="file", path=path, **given)
        found, account = take_parts(utterances(), folder_corpus(), params, None)
        return {u.path: u.split for u in found}, account

    def test_each_row_is_one_part(self, tmp_path):
        rows = [f"wav/{n:02d}.wav,{('Train', 'test', 'dev')[n % 3]}" for n in range(12)]
        found, account = self.take(self.table(tmp_path, "\n".join(["path,split", *rows])))
        assert Counter(found.values()) == {"train": 4, "test": 4, "validation": 4}
        assert found["wav/04.wav"] == "test"
        assert account == [
            f"{tmp_path}/parts.csv: 12 (train 4, validation 4, test 4) of 12 (train 4, validation "
            "4, test 4) recordings found"
        ]

    def test_fold_alone_names_where_a_path_is_tested(self, tmp_path):
        rows = [f"wav/{n:02d}.flac,{n % 10}" for n in range(12)]
        path = self.table(tmp_path, "\n".join(["path,fold", *rows]))
        tested = [
            {name for name, part in self.take(path, num_folds=10, fold=k)[0].items()
             if part == "test"}
            for k in range(10)
        ]  # fmt: skip
        assert tested[1] == {"wav/01.wav", "wav/11.wav"}
        assert sum(map(len, tested)) == 12

    def test_many_folds_in_the_long_form(self, tmp_path):
        path = self.table(
            tmp_path, "path;fold;split\n00.wav;b;test\n01.wav;b;train\n00.wav;a;train\n01.wav;a;dev"
        )
        assert self.take(path, num_folds=2, fold=0)[0] == {
            "wav/00.wav": "train", "wav/01.wav": "validation",
        }  # fmt: skip
        assert self.take(path, num_folds=2, fold=1)[0] == {
            "wav/00.wav": "test", "wav/01.wav": "train",
        }  # fmt: skip

    def test_what_does_not_match_is_said(self, tmp_path):
        path = self.table(tmp_path, "path,split\nwav/00.wav,train\nwav/99.wav,test\n01.wav,test")
        _, account = self.take(path)
        assert "1 are not in the corpus:\n  wav/99.wav" in account[1]
        assert account[2].startswith("10 of the corpus are in no part and left out:\n")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("path,split\nwav/00.wav,held", "row 2: split is 'held', expected train"),
            ("path,part\nwav/00.wav,test", "no column split or fold, found path, part"),
            ("path,split\nx/77.wav,test", "none of the 1 recordings that it lists is in"),
            ("path,split\nwav/00.wav,test\nwav/00.wav,train", "wav/00.wav: test, train"),
            ("path,fold\nwav/00.wav,0\nwav/01.wav,1", "2 folds, but split.num_folds is null"),
            ("path,split\n", "no rows"),
        ],
    )
    def test_wrong_tables_are_refused(self, tmp_path, text, message):
        with pytest.raises(ManifestError, match=message):
            self.take(self.table(tmp_path, text))

    def test_missing_table(self, tmp_path):
        with pytest.raises(ManifestError, match="no such file"):
            division_files(folder_corpus(), split(protocol="file", path="none.csv"), None)


class TestParts:
    def test_validation_is_cut_from_training_alone(self):
        given = [replace(u, split="test" if n < 4 else "train")
                 for n, u in enumerate(utterances())]  # fmt: skip
        divided = split_utterances(given, split(protocol="file"), seed=3)
        assert {u.path for u in divided if u.split == "test"} == {u.path for u in given[:4]}
        assert Counter(u.split for u in divided) == {"train": 6, "validation": 2, "test": 4}

    def test_given_validation_stays(self):
        parts = ("train", "test", "validation")
        given = [replace(u, split=parts[n // 4]) for n, u in enumerate(utterances())]
        divided = split_utterances(given, split(protocol="file"), seed=3)
        assert {u.path: u.split for u in divided} == {u.path: u.split for u in given}

    def test_an_utterance_without_a_part_is_refused(self):
        given = [replace(u, split="test" if n < 4 else "") for n, u in enumerate(utterances())]
        with pytest.raises(ManifestError, match="8 of 12 utterances are in no part, wav/04"):
            split_utterances(given, split(protocol="file"), seed=3)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"path": "x.csv"}, "path is for the protocols file and emobox, not random"),
            ({"protocol": "emobox"}, "the emobox protocol needs path"),
            ({"protocol": "file", "num_folds": 5}, "a corpus' own division has no folds"),
        ],
    )
    def test_params(self, given, message):
        with pytest.raises(ParamsError, match=message):
            split(**given)


class TestEmoBox:
    @pytest.mark.parametrize("layout", ["jsonl", "json", "twin"])
    @pytest.mark.parametrize("reader", LAYOUTS)
    def test_names_of_every_corpus_match(self, tmp_path, reader, layout):
        ours, theirs, word = LAYOUTS[reader]
        corpus = build_corpus(reader, CorpusParams(reader=reader))
        parts = {"train": [("downloads/other/of-another.wav", word)], "test": [(theirs, word)]}
        write_fold(tmp_path, corpus.emobox, 1, parts, layout)
        (tmp_path / "data" / corpus.emobox / "label_map.json").write_text(json.dumps(MAPS[reader]))
        emotion = canonical_emotion(MAPS[reader][word])
        found, account = take_parts(
            [spoken(path=ours, emotion=emotion)], corpus,
            split(protocol="emobox", path=str(tmp_path)), None,
        )  # fmt: skip
        assert [(u.path, u.split) for u in found] == [(ours, "test")]
        assert len(account) == 2
        assert "1 are not in the corpus:\n  downloads/other/of-another.wav" in account[1]

    def test_two_languages_of_one_set(self, tmp_path):
        member = {"reader": "esd", "licence_signed": False}
        params = JointParams(
            reader="joint", emotions=None,
            members={f"esd_{each}": {**member, "language": each} for each in ("en", "zh")},
        )  # fmt: skip
        corpus = build_corpus("esd", params)
        parts = {
            "train": [("downloads/esd/0011/Angry/0011_000351.wav", "Angry")],
            "test": [("downloads/esd/0001/Sad/0001_001051.wav", "Sad")],
        }
        write_fold(tmp_path, "esd", 1, parts)
        mine = [
            spoken(path="esd_en/0011/Angry/train/0011_000351.wav", emotion="angry"),
            spoken(path="esd_zh/0001/Sad/0001_001051.wav", emotion="sad"),
        ]
        emo = split(protocol="emobox", path=str(tmp_path))
        found, account = take_parts(mine, corpus, emo, None)
        assert [u.split for u in found] == ["train", "test"]
        assert len(account) == 1

    def test_slips_of_a_map_are_read_and_said(self, tmp_path):
        parts = {"train": [("a/03a02Wb.wav", "anger"), ("a/03a01Nc.wav", "neutral")],
                 "test": [("08a01Lc.wav", "boredem"), ("09a01Ea.wav", "dusgusted")]}  # fmt: skip
        write_fold(tmp_path, "emodb", 1, parts)
        labels = {"anger": "Angry", "boredem": "Boredom", "Neutral": "Neutral"}
        (tmp_path / "data/emodb/label_map.json").write_text(json.dumps(labels))
        emotions = {"03a02Wb": "angry", "03a01Nc": "happy", "08a01Lc": "bored",
                    "09a01Ea": "disgusted"}  # fmt: skip
        mine = [spoken(path=f"{name}.wav", emotion=e) for name, e in emotions.items()]
        emo = split(protocol="emobox", path=str(tmp_path))
        found, account = take_parts(mine, folder_corpus(), emo, None)
        assert [u.split for u in found] == ["train", "train", "test", "test"]
        text = "\n".join(account)
        assert "label 'neutral' is not in its map, read as neutral" in text
        assert "label 'dusgusted' is not in its map, read as disgusted" in text
        assert "1 have another label, and keep ours:\n  03a01Nc.wav: neutral there, happy" in text

    def test_a_validation_part_of_its_own(self, tmp_path):
        parts = {part: [(f"{name}.wav", "anger")] for part, name in
                 (("train", "03a01Wa"), ("valid", "03a02Wa"), ("test", "03a04Wa"))}  # fmt: skip
        write_fold(tmp_path, "emodb", 1, parts)
        mine = [spoken(path=f"{name}.wav", emotion="angry")
                for name in ("03a01Wa", "03a02Wa", "03a04Wa")]  # fmt: skip
        emo = split(protocol="emobox", path=str(tmp_path))
        found, _ = take_parts(mine, folder_corpus(), emo, None)
        assert [u.split for u in found] == ["train", "validation", "test"]

    def test_predictions_in_its_form(self, tmp_path):
        parts = {"train": [("b/03a01Wa.wav", "anger")],
                 "test": [("b/08a01La.wav", "boredem"), ("b/03a02Fa.wav", "happy")]}  # fmt: skip
        write_fold(tmp_path, "emodb", 1, parts)
        assert list(emobox.tested_paths(tmp_path, "emodb", 0)) == [
            "emodb-08a01La", "emodb-03a02Fa",
        ]  # fmt: skip
        predicted = {"emodb-03a02Fa": "fearful", "emodb-08a01La": "bored"}
        assert emobox.as_submission(tmp_path, "emodb", 0, predicted) == [
            {"key": "emodb-08a01La", "pred": "Boredom"}, {"key": "emodb-03a02Fa", "pred": "Fear"},
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('{"key": "a", "wav": "a.wav"}', "recording 1: found key, wav, expected key, wav"),
            ("{", "line 1: not JSON"),
            ("[1]", "recording 1: expected a mapping"),
        ],
    )
    def test_damaged_folds_are_refused(self, tmp_path, text, message):
        write_fold(tmp_path, "emodb", 1, {"train": [("a.wav", "anger")], "test": []})
        (tmp_path / "data/emodb/fold_1/emodb_test_fold_1.jsonl").write_text(text)
        with pytest.raises(ManifestError, match=message):
            emobox.read_division(emobox.list_folds(tmp_path, "emodb")[0], "emodb")

    def test_where_it_is_looked_for(self, tmp_path):
        write_fold(tmp_path / "EmoBox", "emodb", 1, {"train": [], "test": []})
        assert emobox.find_checkout(Path("EmoBox"), tmp_path / "EmoBox") == tmp_path / "EmoBox"
        with pytest.raises(ManifestError, match="git clone https"):
            emobox.find_checkout(Path("nowhere"), tmp_path)
        nemo = build_corpus("nemo", CorpusParams(reader="nemo"))
        with pytest.raises(ManifestError, match="EmoBox has no folds for the reader nemo"):
            division_files(nemo, split(protocol="emobox", path=str(tmp_path / "EmoBox")), None)


def ravdess():
    return {
        f"Actor_{actor:02d}/03-01-{code}-01-01-0{take}-{actor:02d}": (str(actor), word)
        for actor in range(1, 5)
        for code, word in (("01", "Neutral"), ("05", "Angry"), ("08", "Surprised"))
        for take in (1, 2)
    }


def emovo():
    return {
        f"{actor}/{code}-{actor}-{text}": (actor, code)
        for actor in ("f1", "f2", "m1")
        for code in ("gio", "tri")
        for text in ("b1", "n5", "l2")
    }


def crema_d():
    return {
        f"AudioWAV/{actor}_{text}_{code}_XX": (str(actor), code)
        for actor in (1001, 1002, 1003)
        for code in ("ANG", "SAD")
        for text in ("DFA", "IEO")
    }


def esd():
    return {
        f"{speaker}/{word}/{speaker}_{first + number:06d}": (speaker, word)
        for speaker in ("0001", "0002", "0011", "0012")
        for word, first in (("Angry", 351), ("Sad", 1051))
        for number in range(3)
    }


@pytest.mark.parametrize("make", [ravdess, emovo, crema_d, esd])
def test_the_manifest_of_a_fold(tiny_params, tmp_path, monkeypatch, make):
    """From recordings and fold files to the stage's table, with one speaker tested at a time."""
    listed, name = make(), make.__name__
    speakers = list(dict.fromkeys(speaker for speaker, _ in listed.values()))
    entry: dict[str, object] = {"reader": name}
    if name == "esd":
        member = {"reader": "esd", "licence_signed": False}
        members = {"esd_en": {**member, "language": "en"}, "esd_zh": {**member, "language": "zh"}}
        entry = {"reader": "joint", "emotions": None, "members": members}
    own = build_corpus(name, read_corpus_params(Params({"corpora": {name: entry}}), name)).emobox
    for number, tested in enumerate(speakers, start=1):
        parts = {
            part: [
                (f"downloads/{own}/{path}.wav", word)
                for path, (speaker, word) in listed.items()
                if (speaker == tested) == (part == "test")
            ]
            for part in ("train", "test")
        }
        write_fold(tmp_path / "mirror/EmoBox", own, number, parts)
    folder_of = {path: f"esd_{'en' if path > '0011' else 'zh'}" if name == "esd" else ""
                 for path in listed}  # fmt: skip
    for path, folder in folder_of.items():
        write_recording(tmp_path / "raw" / folder / f"{path}.wav")
    monkeypatch.setenv("SERCT_MIRROR", str(tmp_path / "mirror"))
    params = tiny_params.replace(
        split=split(protocol="emobox", path="EmoBox", num_folds=len(speakers), fold=1)
    )
    params = Params({**params.data, "corpora": {name: entry}}, "params.yaml")
    manifest(params, name, tmp_path / "raw", tmp_path / "manifest.csv")
    found = read_manifest(tmp_path / "manifest.csv")
    assert len(found) == len(listed)
    tested = {u.path for u in found if u.split == "test"}
    assert tested == {
        f"{folder_of[path]}/{path}.wav".lstrip("/")
        for path, (speaker, _) in listed.items()
        if speaker == speakers[1]
    }
    assert {u.split for u in found} == {"train", "validation", "test"}
    assert not {u.speaker for u in found if u.path in tested} & {
        u.speaker for u in found if u.path not in tested
    }


MIRROR = os.environ.get("SERCT_MIRROR", "")
# Recordings of each set, all folds together, and of the test part of the first fold.
SIZES = {
    "tess": (2800, 700), "emodb": (535, 107), "ravdess": (1440, 240), "crema_d": (7442, 1856),
    "savee": (480, 120), "emovo": (588, 98), "iemocap": (5531, 1085),
}  # fmt: skip


@pytest.mark.skipif(
    not (Path(MIRROR) / "EmoBox/data").is_dir(), reason="no EmoBox checkout in SERCT_MIRROR"
)
@pytest.mark.parametrize("reader", SIZES)
def test_every_recording_of_the_real_folds_is_read(reader):
    """The reader of each corpus understands each listed name, and agrees with each label."""
    checkout = Path(MIRROR) / "EmoBox"
    corpus = build_corpus(reader, CorpusParams(reader=reader))
    folders = emobox.list_folds(checkout, corpus.emobox)
    first, *others = (emobox.read_division(folder, corpus.emobox) for folder in folders)
    assert len(first.listed) == SIZES[reader][0]
    assert sum(each.split == "test" for each in first.listed) == SIZES[reader][1]
    if reader == "iemocap":  # its labels are not in its names
        mine = [spoken(path=str(each.path), emotion=each.emotion) for each in first.listed]
    else:
        parsed = [corpus.parse(each.path) for each in first.listed if each.path.stem]
        mine = [found for found in parsed if isinstance(found, Utterance)]
    for division in (first, *others):
        found, account = assign(mine, division, corpus.recording_name)
        assert len(found) == SIZES[reader][0]
        assert not any("not in the corpus" in line or "another label" in line for line in account)


@pytest.mark.skipif(
    not (Path(MIRROR) / "EmoBox/data").is_dir(), reason="no EmoBox checkout in SERCT_MIRROR"
)
def test_both_languages_of_esd_are_in_its_real_folds():
    counts = Counter()
    for language in ("en", "zh"):
        params = EsdParams(reader="esd", language=language, licence_signed=False)
        corpus = build_corpus("esd", params)
        for number in range(5):
            paths = emobox.tested_paths(Path(MIRROR) / "EmoBox", "esd", number).values()
            found = [corpus.parse(path) for path in paths]
            assert not [each for each in found if isinstance(each, str)]
            counts[number] += sum(each is not None for each in found)
    assert set(counts.values()) == {7000}
