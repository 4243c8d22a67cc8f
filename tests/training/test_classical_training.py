"""What scikit-learn's models are fitted to: clips as they are, changed, and of which part."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serct.config.params import Params
from serct.data.dataset import ShardDataset
from serct.models import read_model_params
from serct.models.classical.estimator import Array, ClassicalModel, LabelledRows
from serct.models.svm import SvmParams
from serct.runtime.devices import seed_everything
from serct.training.classical import fit_classical
from serct.training.fitted import Fitted

FASTER_OR_SLOWER = {"speed": 0.2, "noise": None}


@pytest.fixture
def sets(tone_shards: Path) -> tuple[ShardDataset, ShardDataset]:
    train_set = ShardDataset(tone_shards, ["train"])
    return train_set, ShardDataset(tone_shards, ["validation"], train_set.emotions)


@pytest.fixture
def train(
    tiny_params: Params, sets: tuple[ShardDataset, ShardDataset], monkeypatch: pytest.MonkeyPatch
):
    """Fit `svm`, whose rows are the samples themselves, and tell all it was fitted to."""

    build_svm = SvmParams.build

    def train_one(
        augment: dict[str, Any] | None, balance: tuple[str, ...] | None = None
    ) -> tuple[Fitted, list[LabelledRows], ClassicalModel]:
        fits: list[LabelledRows] = []
        built: list[ClassicalModel] = []

        def build(params: SvmParams, *args: Any) -> ClassicalModel:
            model = build_svm(params, *args)
            fit = model.fit

            def catch(clips: LabelledRows, show: Any = None) -> None:
                fits.append(clips)
                fit(clips, show)

            monkeypatch.setattr(model, "fit", catch)
            built.append(model)
            return model

        monkeypatch.setattr(SvmParams, "build", build)
        seed_everything(3, deterministic=False)
        model = read_model_params(tiny_params, "svm").model_copy(update={"pool": 1})
        how = tiny_params.train.model_copy(update={"augment": augment, "balance": balance})
        fitted = fit_classical(model, how, 3, *sets, lambda row: None)
        return fitted, fits, built[0]

    return train_one


def spoken(row: Array) -> int:
    return int(np.flatnonzero(row)[-1]) + 1


def test_the_validation_part_is_answered_before_it_is_learned(train, sets) -> None:
    train_set, validation_set = sets
    fitted, (first, second), model = train(None)
    assert len(first.rows) == len(train_set)
    np.testing.assert_array_equal(second.rows[: len(train_set)], first.rows)
    whole = validation_set.batch(np.arange(len(validation_set)), validation_set.meta.num_samples)
    np.testing.assert_array_equal(second.rows[len(train_set) :], whole.waveforms)
    np.testing.assert_array_equal(second.labels[len(train_set) :], validation_set.labels)
    # What is told of it is what a model says that never saw it; the one that is kept did.
    model.fit(first)
    np.testing.assert_allclose(fitted.validation, model.predict_proba(whole.waveforms))
    model.fit(second)
    assert np.abs(fitted.validation - model.predict_proba(whole.waveforms)).max() > 1e-6


def test_each_clip_is_learned_as_it_is_and_once_changed(train, sets) -> None:
    _, (plain, plain_whole), _ = train(None)
    _, (changed, changed_whole), _ = train(FASTER_OR_SLOWER)
    np.testing.assert_array_equal(changed.clips, np.tile(np.arange(len(plain.rows)), 2))
    for before, after in ((plain, changed), (plain_whole, changed_whole)):
        count, width = before.rows.shape
        np.testing.assert_array_equal(after.labels, np.tile(before.labels, 2))
        np.testing.assert_array_equal(after.rows[:count, :width], before.rows)
        assert not after.rows[:count, width:].any()
        pairs = zip(before.rows, after.rows[count:], strict=True)
        longer = [spoken(other) / spoken(row) for row, other in pairs]
        assert 1 / 1.21 < min(longer) < 0.95
        assert 1.05 < max(longer) < 1.21
        # At another speed a voice is another voice.
        assert after.speakers[:count] == before.speakers
        assert len(set(after.speakers)) == 2 * len(set(before.speakers))


def test_balance_repeats_clips_in_each_version_alike(train, sets) -> None:
    _, (plain, _), _ = train(FASTER_OR_SLOWER)
    _, (balanced, whole), _ = train(FASTER_OR_SLOWER, ("speaker",))
    counts, repeated = Counter(plain.speakers), Counter(balanced.speakers)
    assert len(set(counts.values())) > 1, "these clips are balanced already"
    # The clips of the most frequent speaker once, those of others as often, and so when changed.
    assert set(repeated) == set(counts)
    assert set(repeated.values()) == {max(counts.values())}
    first, second = np.split(balanced.clips, 2)
    np.testing.assert_array_equal(first, second)
    places = np.concatenate((first, first + len(plain.rows) // 2))
    for name in ("rows", "labels", "speakers"):
        expected = np.asarray(getattr(plain, name))[places]
        np.testing.assert_array_equal(getattr(balanced, name), expected)
    assert set(whole.clips) == set(range(sum(map(len, sets))))


def test_changes_are_those_of_the_seed(train) -> None:
    (_, (first, _), _), (_, (again, _), _) = train(FASTER_OR_SLOWER), train(FASTER_OR_SLOWER)
    np.testing.assert_array_equal(first.rows, again.rows)
