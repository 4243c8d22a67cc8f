"""Balance: closed forms of the ratios, whole counts that keep sums, and nothing without it."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serct.config.params import Params
from serct.config.section import merge
from serct.data.shards import IndexRow
from serct.errors import ParamsError
from serct.models import read_model_params
from serct.training.balance import MOST, Balance, whole_counts
from serct.training.batches import epoch_batches


def rows(*groups: tuple[str, str, str, int]) -> list[IndexRow]:
    """Rows of groups, each (corpus, speaker, emotion, number of clips)."""
    blank = IndexRow("u", "", "", "", "", "", "train", "", 0, 0, 0, 16000)
    return [
        dataclasses.replace(blank, corpus=corpus, speaker=speaker, label=emotion)
        for corpus, speaker, emotion, count in groups
        for _ in range(count)
    ]


# Two corpora of 60 and 30 clips, of one and of two speakers.
CLIPS = rows(
    ("big", "a", "angry", 40), ("big", "a", "sad", 20),
    ("small", "a", "angry", 10), ("small", "b", "angry", 4), ("small", "b", "sad", 16),
)  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "ratios"),
    [
        (("corpus",), [1, 1, 2, 2, 2]),
        # A speaker of the same name in another corpus is another one: 60, 10 and 20 clips.
        (("speaker",), [1, 1, 6, 3, 3]),
        # 60 clips are to count as 30 of two speakers: 60/60, 60/2/10, 60/2/20.
        (("corpus", "speaker"), [1, 1, 3, 1.5, 1.5]),
        # 54 angry clips, 36 sad ones.
        (("emotion",), [1, 1.5, 1, 1, 1.5]),
        # Half of each emotion's weight is a corpus': 40 and 14 angry clips, 20 and 16 sad ones.
        (("emotion", "corpus"), [1, 2, 40 / 14, 40 / 14, 2.5]),
        # The other way round: half of each corpus' weight is an emotion's.
        (("corpus", "emotion"), [1, 2, 40 / 14, 40 / 14, 2.5]),
        (("corpus", "speaker", "emotion"), [1, 2, 4, 5, 1.25]),
    ],
)
def test_ratios_are_those_of_the_formula(keys, ratios) -> None:
    expected = np.repeat(ratios, [40, 20, 10, 4, 16])
    np.testing.assert_allclose(Balance.of(CLIPS, keys).ratios, expected)


def test_no_clip_counts_more_than_the_bound() -> None:
    clips = rows(("big", "a", "sad", 900), ("tiny", "b", "sad", 3))
    balance = Balance.of(clips, ("corpus",))
    repeated = np.bincount(balance.repeat(np.random.default_rng(3)))
    assert MOST == 8
    assert Counter(repeated.tolist()) == {1: 900, 8: 3}


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.floats(0, 9)), min_size=1, max_size=60),
    st.integers(0, 99),
)
def test_counts_and_their_sums_are_rounded_up_or_down(
    found: list[tuple[int, float]], seed: int
) -> None:
    groups, expected = np.array([g for g, _ in found]), np.array([x for _, x in found])
    counts = whole_counts(expected, groups, np.random.default_rng(seed))
    assert np.abs(counts - expected).max() < 1 + 1e-5
    for group in set(groups.tolist()):
        own = groups == group
        assert abs(counts[own].sum() - expected[own].sum()) < 1 + 1e-5


def test_every_clip_is_kept_and_corpora_are_alike() -> None:
    positions = Balance.of(CLIPS, ("corpus", "speaker")).repeat(np.random.default_rng(3))
    assert set(positions) == set(range(len(CLIPS)))
    by_group = Counter((CLIPS[place].corpus, CLIPS[place].speaker) for place in positions)
    assert by_group == {("big", "a"): 60, ("small", "a"): 30, ("small", "b"): 30}


def test_the_loop_takes_as_many_steps_and_draws_alike() -> None:
    lengths = np.full(len(CLIPS), 16000)
    balance = Balance.of(CLIPS, ("corpus",))
    plain = epoch_batches(lengths, 16, 1, seed=3, epoch=1)
    epochs = [epoch_batches(lengths, 16, 1, 3, epoch, balance) for epoch in (1, 2)]
    for batches in epochs:
        assert [len(batch) for batch in batches] == [len(batch) for batch in plain]
        drawn = Counter(CLIPS[place].corpus for place in np.concatenate(batches))
        assert drawn == {"big": 45, "small": 45}
    # What is left out of one epoch is drawn in another.
    assert set(np.concatenate(epochs[0])) != set(np.concatenate(epochs[1]))
    again = epoch_batches(lengths, 16, 1, 3, 1, balance)
    np.testing.assert_array_equal(np.concatenate(again), np.concatenate(epochs[0]))


@pytest.mark.parametrize("model", ["serct", "functionals_lda"])
def test_without_balance_nothing_of_it_decides_a_model(tiny_params: Params, model: str) -> None:
    section = read_model_params(tiny_params, model)
    for value in ([], None):
        given = merge(tiny_params.data, {"train": {"balance": value}})
        train = Params(given).train_params(model)
        assert train.balance is None
        assert "balance" not in section.used_settings(train)
    train = Params(merge(given, {"train": {"balance": ["corpus"]}})).train_params(model)
    assert section.used_settings(train)["balance"] == ["corpus"]


def test_a_key_that_is_named_twice_or_not_known_is_refused(tiny_params: Params) -> None:
    for keys, message in ((["corpus", "corpus"], "at most once"), (["text"], "'speaker' or 'emo")):
        params = Params(merge(tiny_params.data, {"train": {"balance": keys}}))
        with pytest.raises(ParamsError, match=message):
            _ = params.train
