"""What words of a corpus mean is said in params.yaml: mapped, merged or left out, and counted."""

import pytest

from serct.config.params import Params
from serct.data.corpora import CorpusParams, read_corpus_params, scan_corpus
from serct.data.corpora.folder import FolderParams
from serct.data.corpora.joint import JointParams
from serct.errors import CorpusError, ParamsError
from tests.recordings import write_recording


def folder(path, **given):
    return FolderParams(reader="folder", path=str(path), language="en", **given)


def counts(scan):
    return sorted((u.path, u.emotion) for u in scan.utterances)


def test_words_are_mapped_merged_and_left_out(tmp_path):
    for name in ("Excited/a.wav", "happy/b.wav", "contempt/c.wav", "contempt/d.wav", "sad/e.wav"):
        write_recording(tmp_path / name)
    labels = {"excited": "happy", "CONTEMPT": None, "frustrated": "angry"}
    found = scan_corpus(folder(tmp_path, labels=labels), tmp_path)
    assert counts(found) == [("Excited/a.wav", "happy"), ("happy/b.wav", "happy"),
                             ("sad/e.wav", "sad")]  # fmt: skip
    assert found.rejections == ()
    assert found.notes == (
        "labelled excited: 1 utterances, taken as happy",
        "labelled contempt: 2 utterances, left out",
        "labels names frustrated, but no utterance is labelled so",
    )


def test_words_of_a_table_and_what_to_do_about_others(tmp_path):
    for name in "abc":
        write_recording(tmp_path / f"{name}.wav")
    rows = "path,emotion\na.wav,frustrated\nb.wav,Other\nc.wav,joy\n"
    (tmp_path / "labels.csv").write_text(rows)
    params = folder(tmp_path, table="labels.csv", labels={"other": None})
    found = scan_corpus(params, tmp_path)
    assert counts(found) == [("c.wav", "happy")]
    [rejection] = found.rejections
    assert "unknown emotion 'frustrated'" in rejection.reason
    assert "the key labels of the corpus' entry in params.yaml" in rejection.reason


def test_emotions_that_a_reader_gives_can_be_joined(tmp_path):
    for name in ("03a01La", "03a01Wa", "03a02Na"):
        write_recording(tmp_path / f"{name}.wav")
    params = CorpusParams(reader="emodb", labels={"bored": "neutral"})
    assert counts(scan_corpus(params, tmp_path)) == [
        ("03a01La.wav", "neutral"), ("03a01Wa.wav", "angry"), ("03a02Na.wav", "neutral"),
    ]  # fmt: skip


def test_each_member_of_a_joint_corpus_has_its_own(tmp_path):
    for member in ("one", "two"):
        for name in ("03a01La", "03a01Wa"):
            write_recording(tmp_path / member / f"{name}.wav")
    members = {"one": {"reader": "emodb", "labels": {"bored": None}}, "two": {"reader": "emodb"}}
    found = scan_corpus(JointParams(reader="joint", members=members, emotions=None), tmp_path)
    assert counts(found) == [
        ("one/03a01Wa.wav", "angry"), ("two/03a01La.wav", "bored"), ("two/03a01Wa.wav", "angry"),
    ]  # fmt: skip
    assert found.notes == ("one: labelled bored: 1 utterances, left out",)


def test_members_are_divided_together(tmp_path):
    members = {"one": {"reader": "emodb", "split": {"fold": 1}}, "two": {"reader": "emodb"}}
    with pytest.raises(ValueError, match="one has a split of its own, but members are divided"):
        JointParams(reader="joint", members=members, emotions=None)


def test_the_letters_of_iemocap(tmp_path):
    turns = {"F000": "ang", "F001": "fru", "F002": "xxx"}
    lines = [f"[0.0 - 1.0]\tSes01F_impro01_{t}\t{word}\t[2.5, 2.5, 2.5]\n"
             for t, word in turns.items()]  # fmt: skip
    evaluation = tmp_path / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    evaluation.parent.mkdir(parents=True)
    evaluation.write_text("".join(lines))
    for turn in turns:
        write_recording(tmp_path / f"Session1/sentences/wav/x/Ses01F_impro01_{turn}.wav")
    emotions = [u.emotion for u in scan_corpus(CorpusParams(reader="iemocap"), tmp_path).utterances]
    assert emotions == ["angry"]
    params = CorpusParams(reader="iemocap", labels={"fru": "angry"})
    assert [u.emotion for u in scan_corpus(params, tmp_path).utterances] == ["angry", "angry"]


@pytest.mark.parametrize("value", ["3.5", "-0.2", "4,0", " 2 "])
def test_dimensions_are_refused_in_a_sentence(tmp_path, value):
    for name in "ab":
        write_recording(tmp_path / f"{name}.wav")
    (tmp_path / "labels.csv").write_text(f"path;emotion\na.wav;{value}\nb.wav;1\n")
    with pytest.raises(CorpusError, match=r"the column emotion has numbers alone, .* in row 2: "
                       "dimensions such as valence and arousal are not read"):  # fmt: skip
        scan_corpus(folder(tmp_path, table="labels.csv"), tmp_path)


def test_a_map_to_no_emotion_is_refused(tiny_params):
    def read(labels):
        entry = {"reader": "folder", "path": "x", "language": "en", "labels": labels}
        corpora = {**tiny_params.data["corpora"], "mine": entry}
        params = Params({**tiny_params.data, "corpora": corpora}, "params.yaml")
        return read_corpus_params(params, "mine").labels

    assert read({"Excited ": "happy", "other": None}) == {"excited": "happy", "other": None}
    with pytest.raises(ParamsError, match=r"corpora.mine.labels.excited is 'joyful'"):
        read({"excited": "joyful"})
    with pytest.raises(ParamsError, match="two spellings of one word among Excited, excited"):
        read({"Excited": "happy", "excited": "angry"})
