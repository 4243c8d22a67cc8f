"""Splits are stable, stratified and without leaks."""

import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serct.config.params import SplitParams
from serct.data.manifest import Utterance
from serct.data.split_checks import check_splits, describe_members
from serct.data.splitting import split_utterances
from serct.errors import ManifestError


def utterance(number: int, emotion: str, speaker: str = "s", text: str = "t") -> Utterance:
    return Utterance(
        path=f"{emotion}/{number:04d}.wav", corpus="c", language="en", speaker=speaker, gender="f",
        text_id=text, emotion=emotion, duration_s=1.0, sample_rate=16000,
        sha256=f"{emotion}{number}", split="",
    )  # fmt: skip


def corpus(num_each: int, num_speakers: int = 5, num_texts: int = 10) -> list[Utterance]:
    return [
        utterance(n, emotion, f"s{n % num_speakers}", f"t{n % num_texts}")
        for emotion in ("angry", "happy", "sad")
        for n in range(num_each)
    ]


def params(protocol: Any = "random", num_folds: int | None = None, fold: int = 0) -> SplitParams:
    return SplitParams(
        protocol=protocol,
        test_fraction=0.1,
        validation_fraction=0.1,
        num_folds=num_folds,
        fold=fold,
    )


def test_thesis_sizes() -> None:
    divided = split_utterances(corpus(400), params(), seed=3)
    assert Counter(u.split for u in divided) == {"test": 120, "validation": 108, "train": 972}
    assert Counter((u.emotion, u.split) for u in divided)["sad", "test"] == 40


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 80), st.sampled_from(["random", "speaker", "text"]), st.integers(0, 99))
def test_every_utterance_stands_on_one_side_whatever_the_order(
    num_each: int, protocol: str, seed: int
) -> None:
    rows = corpus(num_each)
    divided = split_utterances(rows, params(protocol), seed)
    shuffled = rows.copy()
    random.Random(seed).shuffle(shuffled)
    assert split_utterances(shuffled, params(protocol), seed) == divided
    assert sorted(u.path for u in divided) == sorted(u.path for u in rows)
    for emotion in ("angry", "happy", "sad"):
        assert any(u.emotion == emotion and u.split == "train" for u in divided)


@pytest.mark.parametrize(("protocol", "key"), [("speaker", "speaker"), ("text", "text_id")])
def test_grouped_protocols_share_no_group(protocol: str, key: str) -> None:
    divided = split_utterances(corpus(100), params(protocol), seed=3)
    groups = {
        side: {getattr(u, key) for u in divided if u.split == side}
        for side in ("train", "validation", "test")
    }
    assert not groups["test"] & (groups["train"] | groups["validation"])
    assert not groups["train"] & groups["validation"]


@settings(max_examples=20, deadline=None)
@given(
    st.integers(9, 60), st.sampled_from(["random", "speaker", "text"]), st.integers(2, 5),
    st.integers(0, 99),
)  # fmt: skip
def test_folds_test_everything_once(
    num_each: int, protocol: str, num_folds: int, seed: int
) -> None:
    rows = corpus(num_each)
    tested: list[str] = []
    sizes = []
    for fold in range(num_folds):
        divided = split_utterances(rows, params(protocol, num_folds, fold), seed)
        assert sorted(u.path for u in divided) == sorted(u.path for u in rows)
        part = [u.path for u in divided if u.split == "test"]
        tested += part
        sizes.append(len(part))
    assert sorted(tested) == sorted(u.path for u in rows)
    if protocol == "random":
        assert max(sizes) - min(sizes) <= 1


def test_as_many_folds_as_speakers_leave_one_out() -> None:
    left_out = []
    for fold in range(5):
        divided = split_utterances(corpus(50), params("speaker", 5, fold), 3)
        (speaker,) = {u.speaker for u in divided if u.split == "test"}
        left_out.append(speaker)
    assert sorted(left_out) == ["s0", "s1", "s2", "s3", "s4"]


def test_speaker_and_text_at_once() -> None:
    # Every speaker says every text.
    rows = [
        utterance(10 * s + t, emotion, f"s{s}", f"t{t}")
        for emotion in ("angry", "happy")
        for s in range(4)
        for t in range(10)
    ]
    for fold in range(2):
        divided = split_utterances(rows, params("speaker_text", 2, fold), 3)
        test = [u for u in divided if u.split == "test"]
        rest = [u for u in divided if u.split != "test"]
        assert not {u.speaker for u in test} & {u.speaker for u in rest}
        assert not {u.text_id for u in test} & {u.text_id for u in rest}
        assert len(test) == len(rest) == len(rows) / 4


def test_two_speakers_leave_validation_to_the_training_one() -> None:
    divided = split_utterances(corpus(50, num_speakers=2), params("speaker"), seed=3)
    assert len({u.speaker for u in divided if u.split == "test"}) == 1
    trained = {u.speaker for u in divided if u.split == "train"}
    assert trained == {u.speaker for u in divided if u.split == "validation"}


def joined(sizes: dict[str, dict[str, int]]) -> list[Utterance]:
    """Utterances of a joint corpus: member, speaker, utterances of each emotion."""
    return [
        replace(
            utterance(n, emotion, f"{member}-{speaker}"),
            path=f"{member}/{speaker}/{emotion}{n}.wav", corpus=member,
            sha256=f"{member}{speaker}{emotion}{n}",
        )
        for member, speakers in sizes.items()
        for speaker, num_each in speakers.items()
        for emotion in ("angry", "happy", "sad")
        for n in range(num_each)
    ]  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.floats(0.05, 0.6), st.integers(3, 9))
def test_each_member_gives_speakers_to_each_part_and_a_pair_stays_in_training(
    seed: int, fraction: float, num_speakers: int
) -> None:
    rows = joined(
        {
            "pair": {"a": 300, "b": 200},
            "few": dict.fromkeys("abc", 4),
            "many": {str(n): 10 + n for n in range(num_speakers)},
        }
    )
    split = params("speaker").model_copy(update={"test_fraction": fraction})
    divided = split_utterances(rows, split, seed)
    sides = {
        member: {u.split for u in divided if u.corpus == member}
        for member in ("pair", "few", "many")
    }
    everywhere = {"train", "validation", "test"}
    assert sides == {"pair": {"train"}, "few": everywhere, "many": everywhere}
    assert len({(u.speaker, u.split) for u in divided}) == len({u.speaker for u in divided})


@pytest.mark.parametrize("seed", range(8))
def test_members_give_women_and_men_in_turn(seed: int) -> None:
    names = dict.fromkeys(("f1", "f2", "f3", "m1", "m2", "m3", "m4"), 10)
    rows = [
        replace(u, gender=u.speaker.split("-")[1][0])
        for u in joined({"one": names, "other": names})
    ]
    split = params("speaker").model_copy(update={"test_fraction": 0.2, "validation_fraction": 0.3})
    divided = split_utterances(rows, split, seed)
    for member in ("one", "other"):
        for side in ("test", "validation"):
            speakers = {
                u.speaker: u.gender for u in divided if (u.corpus, u.split) == (member, side)
            }
            assert sorted(speakers.values()) == ["f", "m"]


def test_pairs_alone_are_divided_as_one_corpus() -> None:
    rows = joined({"one": {"a": 9, "b": 9}, "other": {"c": 9, "d": 9}})
    divided = split_utterances(rows, params("speaker"), seed=3)
    sizes = Counter(u.split for u in divided)
    assert sizes == {"train": 54, "validation": 27, "test": 27}
    assert describe_members(divided) == [
        "one: train 27 of 1 speakers, validation 27 of 1 speakers, test 0 of 0 speakers",
        "other: train 27 of 1 speakers, validation 0 of 0 speakers, test 27 of 1 speakers",
    ]
    assert describe_members([u for u in divided if u.corpus == "one"]) == []


def test_the_seed_decides() -> None:
    rows = corpus(50)
    first, second = (split_utterances(rows, params(), seed) for seed in (3, 4))
    assert first != second


def test_the_layout_and_suffix_do_not_decide() -> None:
    rows = corpus(50)
    moved = [replace(u, path=f"Data/{u.path.removesuffix('.wav')}.flac") for u in rows]
    sides = {u.sha256: u.split for u in split_utterances(rows, params(), 3)}
    assert {u.sha256: u.split for u in split_utterances(moved, params(), 3)} == sides


def test_a_corpus_that_comes_divided_keeps_its_test_part() -> None:
    rows = [replace(u, split="test" if n % 5 == 0 else "train") for n, u in enumerate(corpus(20))]
    divided = split_utterances(rows, params(), 3)
    assert {u.path for u in divided if u.split == "test"} == {u.path for u in rows[::5]}
    assert any(u.split == "validation" for u in divided)


@pytest.mark.parametrize(
    ("rows", "protocol", "message"),
    [
        ([], "random", "no utterances"),
        ([*corpus(20), utterance(1, "bored")], "random", "'bored' has 1 utterances"),
        (
            [replace(u, speaker="") for u in corpus(20)],
            "speaker",
            r"60 utterances have no known speaker, .*\.wav",
        ),
        (corpus(20, num_speakers=1), "speaker", "only one: 's0'"),
    ],
)
def test_impossible_splits(rows: list[Utterance], protocol: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        split_utterances(rows, params(protocol), 3)


def test_folds_that_cannot_be() -> None:
    with pytest.raises(ManifestError, match="num_folds is 6, but the corpus has only 5 speakers"):
        split_utterances(corpus(50), params("speaker", 6), 3)
    for protocol, num_folds, fold, message in (
        ("random", 2, 2, "fold is 2, expected 0 to num_folds - 1"),
        ("random", None, 1, "but num_folds is null"),
        ("speaker_text", None, 0, "needs num_folds"),
    ):
        with pytest.raises(ValueError, match=message):
            params(protocol, num_folds, fold)


def test_leaks_are_found() -> None:
    divided = split_utterances(corpus(50), params(), 3)
    test = next(u for u in divided if u.split == "test")
    copied = [*divided, replace(test, path="copy.wav", split="train")]
    with pytest.raises(ManifestError, match=r"one recording is in several splits: .*copy\.wav"):
        check_splits(copied, "random")
    with pytest.raises(ManifestError, match="the speaker protocol is broken: s0"):
        check_splits(divided, "speaker")
    with pytest.raises(ManifestError, match="'sad' is never trained on"):
        check_splits([u for u in divided if (u.emotion, u.split) != ("sad", "train")], "random")
    with pytest.raises(ManifestError, match="the test part is empty"):
        check_splits([u for u in divided if u.split != "test"], "random")
