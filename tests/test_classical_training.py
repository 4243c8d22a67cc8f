"""What scikit-learn's models are fitted to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serct import classical_training
from serct.augment_params import AugmentParams
from serct.classical_training import fit_classical
from serct.models import build_classical
from serct.params import Params
from serct.runtime import seed_everything
from serct.shards import ShardDataset

FASTER_OR_SLOWER = AugmentParams(
    gain_db=None, speed=0.2, pitch=None, shift_ms=None, noise=None, reverb=None, telephone=None
)


class Fits(dict[str, Any]):
    """What a model was fitted to."""


@pytest.fixture
def fits(
    tiny_params: Params, tone_shards: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str | None, Fits]:
    """Of `mfcc_svm`, as clips are and with their speed changed, the latter twice."""
    caught: list[Fits] = []

    def build(*args: Any) -> Any:
        model = build_classical(*args)
        fit = model.fit

        def catch(
            waveforms: np.ndarray, labels: np.ndarray, show: Any, voices: Sequence[str], copies: int
        ) -> None:
            caught.append(
                Fits(waveforms=waveforms, labels=labels, voices=voices, num_copies=copies)
            )
            fit(waveforms, labels, show, voices, copies)

        model.fit = catch
        return model

    monkeypatch.setattr(classical_training, "build_classical", build)
    train_set, validation_set = (ShardDataset(tone_shards, [s]) for s in ("train", "validation"))
    for augment in (None, FASTER_OR_SLOWER, FASTER_OR_SLOWER):
        seed_everything(3, deterministic=False)
        train = tiny_params.train.model_copy(update={"augment": augment})
        model = tiny_params.models["mfcc_svm"]
        fit_classical(model, train, 3, train_set, validation_set, lambda row: None)
    return dict(zip(("plain", "changed", "again"), caught, strict=True))


def spoken(waveform: np.ndarray) -> int:
    return int(np.flatnonzero(waveform)[-1]) + 1


def test_each_clip_is_learned_as_it_is_and_once_changed(fits: dict[str, Fits]) -> None:
    plain, changed = fits["plain"], fits["changed"]
    count = len(plain["labels"])
    assert (plain["num_copies"], changed["num_copies"]) == (1, 2)
    np.testing.assert_array_equal(changed["labels"], np.tile(plain["labels"], 2))
    width = plain["waveforms"].shape[1]
    np.testing.assert_array_equal(changed["waveforms"][:count, :width], plain["waveforms"])
    assert not changed["waveforms"][:count, width:].any()
    longer = [
        spoken(after) / spoken(before)
        for before, after in zip(plain["waveforms"], changed["waveforms"][count:], strict=True)
    ]
    assert 1 / 1.21 < min(longer) < 0.95
    assert 1.05 < max(longer) < 1.21


def test_at_another_speed_a_voice_is_another_voice(fits: dict[str, Fits]) -> None:
    plain, changed = fits["plain"]["voices"], fits["changed"]["voices"]
    assert changed[: len(plain)] == plain
    assert len(set(changed)) == 2 * len(set(plain))


def test_changes_are_those_of_the_seed(fits: dict[str, Fits]) -> None:
    np.testing.assert_array_equal(fits["changed"]["waveforms"], fits["again"]["waveforms"])
