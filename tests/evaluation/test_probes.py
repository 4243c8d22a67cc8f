"""Probes find planted shortcuts, and nothing where there is none."""

from pathlib import Path

import numpy as np
import pytest

from serct.data.dataset import ShardDataset
from serct.evaluation.probes import PROBES, probe_corpus, probe_model, recording
from serct.runtime.arrays import PCM_SCALE


class Planted:
    """A corpus of noise whose emotions differ in one thing alone."""

    def __init__(self, cue: str, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.emotions = ("angry", "sad")
        self.labels = rng.integers(0, 2, 120)
        self.meta = type("Meta", (), {"sample_rate_hz": 8000, "num_samples": 8000})()
        self.clips = []
        for label in self.labels:
            length = 4000 + (2000 * label if cue == "duration" else 0) + rng.integers(0, 500)
            noise = 0.1 * rng.standard_normal(length)
            if cue == "level" and label:
                noise *= 0.5
            if cue == "constant" and label:
                noise += 0.02
            self.clips.append((noise * PCM_SCALE).clip(-32768, 32767).astype(np.int16))

    def __len__(self) -> int:
        return len(self.clips)

    def clip(self, index: int) -> np.ndarray:
        return self.clips[index]


@pytest.mark.parametrize(
    ("cue", "found_by"),
    [
        ("duration", {"duration"}),
        ("level", {"recording"}),
        ("constant", {"recording"}),
        ("none", set()),
    ],
)
def test_finds_what_was_planted(cue: str, found_by: set[str]) -> None:
    found = probe_corpus(Planted(cue, 0), Planted(cue, 1))  # type: ignore[arg-type]
    assert set(found) == set(PROBES)
    for name, ua in found.items():
        if name in found_by:
            assert ua > 0.95
        else:
            assert ua < 0.7


def test_levels_are_in_db_and_seconds() -> None:
    quiet, loud = np.zeros(800, np.float32), np.full(800, 0.1, np.float32)
    rms, peak, floor, constant, before, behind = recording(
        np.concatenate((quiet, loud, loud, quiet, quiet)), 8000
    )
    assert peak == pytest.approx(-20)
    assert rms == pytest.approx(-20 + 10 * np.log10(0.4))
    assert floor == pytest.approx(-120)
    assert constant == pytest.approx(0.04)
    assert (before, behind) == pytest.approx((0.1, 0.2))
    assert np.isfinite(recording(np.zeros(1, np.float32), 8000)).all()


def test_a_model_that_hears_level_is_found_out() -> None:
    corpus = Planted("level", 0)

    def by_level(waveforms: np.ndarray, num_valid: np.ndarray) -> np.ndarray:
        is_soft = np.sqrt((waveforms**2).sum(axis=1) / num_valid) < 0.075
        return np.stack([~is_soft, is_soft], axis=1).astype(float)

    found = probe_model(by_level, corpus)  # type: ignore[arg-type]
    assert found["none"] == {"ua": 1.0, "changed": 0.0}
    assert found["12 dB softer"]["ua"] == 0.5
    assert found["12 dB softer"]["changed"] == pytest.approx((corpus.labels == 0).mean())


def test_on_real_shards(tone_shards: Path) -> None:
    train, test = (ShardDataset(tone_shards, [part]) for part in ("train", "test"))
    assert all(0 <= ua <= 1 for ua in probe_corpus(train, test).values())
