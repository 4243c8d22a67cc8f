"""Several corpora as one: kept apart below, one table above, and one of them left out."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from serct.config.params import CheckParams, Params, SplitParams
from serct.config.section import validate
from serct.data.corpora import (
    Sources,
    build_corpus,
    obtain_corpus,
    read_corpus_params,
    scan_corpus,
    verify_corpus,
)
from serct.data.corpora.emodb import Emodb
from serct.data.corpora.joint import JointParams
from serct.data.corpora.nemo import Nemo
from serct.data.corpora.tess import Tess
from serct.data.download import no_progress
from serct.data.manifest import inspect_recordings
from serct.data.splitting import split_utterances
from serct.errors import DownloadError, ManifestError, ParamsError
from tests.recordings import write_recording

MEMBERS = {"tess": {"reader": "tess"}, "emodb": {"reader": "emodb"}}
CHECKS = CheckParams(silence_peak=0.0001, max_duration_s=600.0, max_rejected=0)
WORDS = ("back", "bar", "base", "bath")


def joint(**changes: Any) -> JointParams:
    given = {"reader": "joint", "members": MEMBERS, "emotions": None}
    return validate(JointParams, given | changes, "corpora.both")


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sources:
    """A mirror of both, small, which the readers take for the whole."""
    mirror = tmp_path / "mirror"
    for word in WORDS:
        for emotion in ("angry", "sad", "ps"):
            for actress in ("OAF", "YAF"):
                write_recording(mirror / "tess" / f"{actress}_{word}_{emotion}.wav", 24414)
    for name in ("03a01Wa", "03a01Ta", "03a01La", "08a02Wa", "08a02Ta", "09a02Wa", "09a02Ta"):
        write_recording(mirror / "emodb" / f"{name}.wav")
    for corpus, count in ((Tess, 24), (Emodb, 7)):
        monkeypatch.setattr(corpus, "originals", lambda self: {})
        monkeypatch.setattr(corpus, "num_utterances", count)
    return Sources(mirror=mirror, cache=tmp_path / "cache", offline=True)


def test_it_is_obtained_verified_and_scanned_as_one(tmp_path: Path, sources: Sources) -> None:
    obtain_corpus("both", joint(), tmp_path / "raw", sources, no_progress)
    assert verify_corpus("both", joint(), tmp_path / "raw", no_progress).startswith(
        "both: 31 utterances"
    )
    scan = scan_corpus(joint(), tmp_path / "raw")
    utterances, rejections = inspect_recordings(tmp_path / "raw", scan, "both", "mul", CHECKS)
    assert rejections == []
    assert Counter((u.corpus, u.language) for u in utterances) == {
        ("tess", "en"): 24,
        ("emodb", "de"): 7,
    }
    assert {u.speaker for u in utterances} == {
        "tess-OAF", "tess-YAF", "emodb-03", "emodb-08", "emodb-09",
    }  # fmt: skip
    assert {u.text_id for u in utterances if u.corpus == "emodb"} == {"emodb-a01", "emodb-a02"}
    assert {u.path.split("/")[0] for u in utterances} == {"tess", "emodb"}


def test_a_member_may_be_made_here(tmp_path: Path, sources: Sources) -> None:
    demo = {
        "reader": "demo", "language": "de", "num_speakers": 1, "num_texts": 1,
        "emotions": ["sad"],
    }  # fmt: skip
    params = joint(members={"emodb": {"reader": "emodb"}, "demo": demo})
    obtain_corpus("both", params, tmp_path / "raw", sources, no_progress)
    found = Counter(u.corpus for u in scan_corpus(params, tmp_path / "raw").utterances)
    assert found == {"emodb": 7, "demo": 1}


def test_emotions_that_are_not_wanted_are_left_out(tmp_path: Path, sources: Sources) -> None:
    params = joint(emotions=["angry", "sad"])
    obtain_corpus("both", params, tmp_path / "raw", sources, no_progress)
    scan = scan_corpus(params, tmp_path / "raw")
    assert Counter(clip.emotion for clip in scan.utterances) == {"angry": 11, "sad": 11}
    assert scan.rejections == ()


def test_the_corpus_protocol_leaves_each_out_once(tmp_path: Path, sources: Sources) -> None:
    params = joint(emotions=["angry", "sad"])
    obtain_corpus("both", params, tmp_path / "raw", sources, no_progress)
    scan = scan_corpus(params, tmp_path / "raw")
    utterances, _ = inspect_recordings(tmp_path / "raw", scan, "both", "mul", CHECKS)
    tested = []
    for fold in range(2):
        split = SplitParams(
            protocol="corpus", test_fraction=0.1, validation_fraction=0.1, num_folds=2, fold=fold
        )
        divided = split_utterances(utterances, split, seed=3)
        test = {u.corpus for u in divided if u.split == "test"}
        assert test.isdisjoint(u.corpus for u in divided if u.split != "test")
        tested += test
    assert sorted(tested) == ["emodb", "tess"]


def test_an_emotion_of_one_corpus_alone_cannot_be_left_out(
    tmp_path: Path, sources: Sources
) -> None:
    params = joint(emotions=["angry", "sad", "surprised"])
    obtain_corpus("both", params, tmp_path / "raw", sources, no_progress)
    scan = scan_corpus(params, tmp_path / "raw")
    utterances, _ = inspect_recordings(tmp_path / "raw", scan, "both", "mul", CHECKS)
    # The larger corpus is dealt first: fold 0 tests TESS, which alone has surprise.
    split = SplitParams(
        protocol="corpus", test_fraction=0.1, validation_fraction=0.1, num_folds=2, fold=0
    )
    with pytest.raises(ManifestError, match="is never trained on"):
        split_utterances(utterances, split, seed=3)


def test_what_a_member_lacks_is_named(tmp_path: Path, sources: Sources) -> None:
    missing = sources.mirror / "tess" / "OAF_bar_sad.wav"  # type: ignore[operator]
    missing.unlink()
    with pytest.raises(DownloadError, match="found 30 usable utterances, expected 31"):
        obtain_corpus("both", joint(), tmp_path / "raw", sources, no_progress)
    assert not (tmp_path / "raw").exists()


def test_a_missing_file_is_named_though_its_emotion_is_left_out(
    tmp_path: Path, sources: Sources
) -> None:
    (sources.mirror / "emodb" / "03a01La.wav").unlink()  # type: ignore[operator]
    with pytest.raises(DownloadError, match="found 30 usable utterances, expected 31"):
        obtain_corpus("both", joint(emotions=["angry"]), tmp_path / "raw", sources, no_progress)


WITH_NEMO = {"members": MEMBERS | {"nemo": {"reader": "nemo"}}, "optional": ["nemo"]}


def test_an_optional_member_that_cannot_be_had_is_left_out_with_a_warning(
    tmp_path: Path, sources: Sources, caplog: pytest.LogCaptureFixture
) -> None:
    params = joint(**WITH_NEMO)
    with caplog.at_level("WARNING", logger="serct"):
        obtain_corpus("three", params, tmp_path / "raw", sources, no_progress)
    assert "three: left out nemo, which is optional and cannot be had:" in caplog.text
    assert "SERCT_OFFLINE forbids the network" in caplog.text
    assert "`dvc repro -f download@three` tries again" in caplog.text
    assert {folder.name for folder in (tmp_path / "raw").iterdir()} == {"tess", "emodb"}
    assert verify_corpus("three", params, tmp_path / "raw", no_progress).startswith(
        "three: 31 utterances"
    )
    assert len(scan_corpus(params, tmp_path / "raw").utterances) == 31


def test_an_optional_member_that_is_there_is_one_like_the_others(
    tmp_path: Path, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_recording(tmp_path / "mirror" / "nemo" / "samples" / "KS0_anger_1.wav", 24000)
    monkeypatch.setattr(Nemo, "originals", lambda self: {})
    monkeypatch.setattr(Nemo, "num_utterances", 2)
    # Its files are wrong, not absent: nothing is left out silently.
    with pytest.raises(DownloadError, match="found 32 usable utterances, expected 33"):
        obtain_corpus("three", joint(**WITH_NEMO), tmp_path / "raw", sources, no_progress)
    monkeypatch.setattr(Nemo, "num_utterances", 1)
    obtain_corpus("three", joint(**WITH_NEMO), tmp_path / "raw", sources, no_progress)
    found = scan_corpus(joint(**WITH_NEMO), tmp_path / "raw").utterances
    assert Counter(u.corpus for u in found) == {"tess": 24, "emodb": 7, "nemo": 1}


def test_one_member_that_is_left_is_no_joint_corpus(tmp_path: Path, sources: Sources) -> None:
    params = joint(
        members={"tess": {"reader": "tess"}, "nemo": {"reader": "nemo"}}, optional=["nemo"]
    )
    with pytest.raises(DownloadError, match="tess alone of tess, nemo, expected at least 2") as got:
        obtain_corpus("two", params, tmp_path / "raw", sources, no_progress)
    assert "nemo: not found" in str(got.value)
    assert not (tmp_path / "raw").exists()


def test_a_member_that_is_not_optional_must_be_had(tmp_path: Path, sources: Sources) -> None:
    params = joint(**WITH_NEMO | {"optional": ["emodb"]})
    with pytest.raises(DownloadError, match="nemo: not found"):
        obtain_corpus("three", params, tmp_path / "raw", sources, no_progress)


def test_optional_names_members() -> None:
    with pytest.raises(ParamsError, match="optional names esd, expected names of members: tess, e"):
        joint(optional=["esd"])


def test_it_is_described() -> None:
    about = build_corpus("both", joint())
    assert (about.language, about.is_synthetic, about.num_utterances) == ("mul", False, 3335)
    demo = {
        "reader": "demo", "language": "en", "num_speakers": 1, "num_texts": 1,
        "emotions": ["angry"],
    }  # fmt: skip
    mixed = joint(members={"tess": {"reader": "tess"}, "demo": demo})
    about = build_corpus("mixed", mixed)
    assert (about.language, about.is_synthetic, about.num_utterances) == ("en", True, 2801)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ({"reader": "tess", "pitch": 1}, r"corpora\.both\.members\.tess\.pitch is not a known key"),
        ({"reader": "nope"}, r"members\.tess\.reader is 'nope': expected one of audformat, "),
        ({}, r"corpora\.both\.members\.tess\.reader is missing"),
        (
            {"reader": "joint", "members": MEMBERS, "emotions": None},
            "a member is joint itself, expected single corpora",
        ),
    ],
)
def test_mistakes_in_a_member_name_their_key(member: dict[str, Any], message: str) -> None:
    entry = {"reader": "joint", "members": MEMBERS | {"tess": member}, "emotions": None}
    with pytest.raises(ParamsError, match=message):
        read_corpus_params(Params({"corpora": {"both": entry}}), "both")


@pytest.mark.parametrize(
    "members", [{"tess": {"reader": "tess"}}, {"a/b": {"reader": "tess"}, "c": {"reader": "emodb"}}]
)
def test_one_member_and_unsafe_names_are_refused(members: dict[str, Any]) -> None:
    with pytest.raises(ParamsError, match="members"):
        joint(members=members)
