"""Augmentation: what is switched on is done, and repeats by seed."""

import pytest
import torch

from serct.config.augmentation import AugmentParams
from serct.config.section import validate
from serct.errors import ParamsError
from serct.training.augmentation import Augmentation
from tests.training.test_effects import RATE, batch, tone

OFF = dict.fromkeys(("gain_db", "speed", "pitch", "shift_ms", "noise", "reverb", "telephone"), None)
ALL = {
    "gain_db": 12.0,
    "speed": 0.15,
    "pitch": {"probability": 0.5, "semitones": 2.0},
    "shift_ms": 100.0,
    "noise": {"probability": 0.7, "snr_db": [10.0, 40.0]},
    "reverb": {"probability": 0.5, "decay_s": [0.05, 0.4], "direct_db": [0.0, 20.0]},
    "telephone": {"probability": 0.5},
}


def augmentation(**switches):
    return Augmentation(validate(AugmentParams, OFF | switches, "augment"), RATE)


def test_gain_stays_within_its_bounds_and_differs_from_clip_to_clip():
    waveforms, num_valid = batch(*[tone(400.0, 0.1)] * 200)
    changed, _ = augmentation(gain_db=6.0)(waveforms, num_valid)
    gains = 20 * (changed.square().sum(1) / waveforms.square().sum(1)).sqrt().log10()
    assert gains.abs().max() <= 6.001
    assert (gains.min() < -4, gains.max() > 4) == (True, True)


def test_all_off_changes_nothing():
    waveforms, num_valid = batch(tone(400.0, 0.1))
    changed, lengths = augmentation()(waveforms, num_valid)
    assert changed is waveforms
    assert lengths is num_valid


def test_everything_on_repeats_by_seed_and_keeps_padding_empty():
    waveforms, num_valid = batch(tone(400.0, 0.5), tone(250.0, 0.3), torch.zeros(1))
    augment = augmentation(**ALL)
    results = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        results.append(augment(waveforms, num_valid))
    assert torch.equal(results[0][0], results[1][0])
    assert not torch.equal(results[0][0], results[2][0])
    for changed, lengths in results:
        steps = torch.arange(changed.shape[1])
        assert torch.isfinite(changed).all()
        assert not changed[steps >= lengths[:, None]].any()
        assert (lengths >= 1).all()


def test_a_probability_leaves_the_others_as_they_were():
    waveforms, num_valid = batch(*[tone(400.0, 0.1)] * 400)
    noise = {"probability": 0.25, "snr_db": [0.0, 0.0]}
    changed, _ = augmentation(noise=noise)(waveforms, num_valid)
    share = (changed != waveforms).any(dim=1).float().mean().item()
    assert share == pytest.approx(0.25, abs=0.08)


def test_bounds_in_the_wrong_order_are_named():
    with pytest.raises(ParamsError, match=r"snr_db.*lower bound first"):
        augmentation(noise={"probability": 0.5, "snr_db": [40.0, 10.0]})
