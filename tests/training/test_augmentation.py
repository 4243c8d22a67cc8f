"""Augmentation: what is switched on is done, and repeats by seed."""

import re
import sys

import pytest
import torch

from serct.config.params import TrainParams
from serct.config.reader import read_params, read_yaml
from serct.config.section import merge, validate
from serct.data.dataset import ShardDataset
from serct.errors import ParamsError
from serct.experiments.checking import check_params
from serct.models import read_model_params
from serct.training import effects
from serct.training.augmentation import Augmentation
from serct.training.effects import effect_names, load_effect
from serct.training.fitting import fit
from tests.conftest import ROOT
from tests.training.test_effects import RATE, batch, tone

ALL = {
    "gain_db": 12.0,
    "speed": 0.15,
    "pitch": {"probability": 0.5, "semitones": 2.0},
    "shift_ms": 100.0,
    "noise": {"probability": 0.7, "snr_db": [10.0, 40.0]},
    "reverb": {"probability": 0.5, "decay_s": [0.05, 0.4], "direct_db": [0.0, 20.0]},
    "telephone": {"probability": 0.5},
}
# Later ones, which would change what a seed draws for the others.
LATER = {
    "babble": {"probability": 0.5, "num_clips": 2, "snr_db": [5.0, 30.0]},
    "codec": {"probability": 0.5, "kbit_s": [12.0, 32.0]},
}


def augmentation(**switches):
    return Augmentation(switches, RATE)


def test_gain_stays_within_its_bounds_and_differs_from_clip_to_clip():
    waveforms, num_valid = batch(*[tone(400.0, 0.1)] * 200)
    changed, _ = augmentation(gain_db=6.0)(waveforms, num_valid)
    gains = 20 * (changed.square().sum(1) / waveforms.square().sum(1)).sqrt().log10()
    assert gains.abs().max() <= 6.001
    assert (gains.min() < -4, gains.max() > 4) == (True, True)


def test_all_off_changes_nothing():
    waveforms, num_valid = batch(tone(400.0, 0.1))
    changed, lengths = augmentation(**dict.fromkeys(ALL))(waveforms, num_valid)
    assert changed is waveforms
    assert lengths is num_valid


def test_everything_on_repeats_by_seed_and_keeps_padding_empty():
    waveforms, num_valid = batch(tone(400.0, 0.5), tone(250.0, 0.3), torch.zeros(1))
    augment = augmentation(**ALL, **LATER)
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
    with pytest.raises(ParamsError, match=r"train\.augment\.noise\.snr_db.*lower bound first"):
        augmentation(noise={"probability": 0.5, "snr_db": [40.0, 10.0]})


# Of each clip the length and the energy, from a fixed seed.
REFERENCE = {
    "plus": (
        [8008, 4453, 7180, 3546],
        [1047.299683, 265.768463, 15.184384, 1068.638428],
        0.20314925909042358,
    ),
    "all": (
        [8667, 6094, 7994, 4883],
        [2129.823975, 2238.169922, 2.662111, 0.432391],
        0.39331918954849243,
    ),
}


@pytest.mark.parametrize("name", REFERENCE)
def test_a_seed_gives_the_changes_that_it_always_gave(name):
    plus = read_params(ROOT / "params.yaml").train_params("serct_plus").augment
    augment = augmentation(**{"plus": plus, "all": ALL}[name])
    torch.manual_seed(0)
    clips = tone(400.0, 0.5), tone(250.0, 0.3), tone(1000.0, 0.4, 0.1), tone(150.0, 0.2)
    changed, num_valid = augment(*batch(*clips))
    lengths, energies, next_draw = REFERENCE[name]
    assert num_valid.tolist() == lengths
    assert changed.square().sum(dim=1).tolist() == pytest.approx(energies, rel=1e-4)
    assert torch.rand(1).item() == next_draw


def test_effects_follow_the_way_from_the_speaker_to_the_recording():
    names = sorted(effect_names(), key=lambda name: (load_effect(name).STAGE, name))
    assert [name for name in names if name in ALL] == [
        "pitch",
        "speed",
        "reverb",
        "noise",
        "telephone",
        "shift_ms",
        "gain_db",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"train": {"augment": {"echo": 1.0}}},
            r"^x: train\.augment\.echo is not a known key, expected one of: babble, codec, ",
        ),
        (
            {"models": {"lstm": {"train": {"augment": {"speed": 1.5}}}}},
            r"models\.lstm\.train\.augment\.speed is 1\.5: .*less than 1",
        ),
        (
            {"models": {"serct_plus": {"train": {"augment": {"noise": {"snr": 3.0}}}}}},
            r"models\.serct_plus\.train\.augment\.noise\.snr is not a known key",
        ),
        ({"train": {"augment": {"gain_db": "12"}}}, r"train\.augment\.gain_db is '12'"),
        ({"train": {"augment": [1.0]}}, r"train\.augment is \[1\.0\]"),
    ],
)
def test_a_mistake_is_named_before_anything_is_trained(change, message):
    with pytest.raises(ParamsError, match=message):
        check_params(merge(read_yaml(ROOT / "params.yaml"), change), "x")


@pytest.fixture
def clipping(tmp_path, monkeypatch):
    """Add the effect of docs/how-to/add-augmentation.md as one file; return the page's code."""
    page = (ROOT / "docs" / "how-to" / "add-augmentation.md").read_text(encoding="utf-8")
    effect, test = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "clipping.py").write_text(effect, encoding="utf-8")
    monkeypatch.setattr(effects, "__path__", [*effects.__path__, str(tmp_path)])
    yield test
    sys.modules.pop(f"{effects.__name__}.clipping", None)
    vars(effects).pop("clipping", None)


def test_an_effect_is_added_by_its_file_alone(clipping, tiny_params, tone_shards, tmp_path):
    entry = {"probability": 1.0, "peak_share": [0.05, 0.05]}
    data = merge(tiny_params.data, {"models": {"serct": {"train": {"augment": {}}}}})
    losses = []
    for augment in ({}, {"clipping": None}, {"clipping": entry}):
        data["models"]["serct"]["train"]["augment"] = augment
        params = check_params(data, "params.yaml")
        sets = [ShardDataset(tone_shards, [split]) for split in ("train", "validation")]
        train = params.train_params("serct").model_copy(update={"epochs": 1})
        fitted = fit(read_model_params(params, "serct"), train, 3, *sets, tmp_path / "state")
        (tmp_path / "state").unlink()
        losses.append(fitted.best.train_loss)
    assert losses[0] == losses[1] != losses[2]


def test_the_page_on_effects_holds_a_test_that_passes(clipping):
    names = {}
    exec(clipping, names)
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert tests
    for test in tests:
        test()


def test_what_an_old_model_was_trained_with_stays_readable(tiny_params):
    data = {**tiny_params.data["train"], "augment": {"gone": {"strength": 3}}}
    assert validate(TrainParams, data, "card.json").augment == {"gone": {"strength": 3}}
