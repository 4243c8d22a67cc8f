import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from serct.config.reader import read_params
from serct.errors import ParamsError
from serct.models import architectures, read_model_params
from serct.models.cnn import Cnn
from serct.models.interface import TorchParams
from serct.models.layers.baselines import LevelNorm
from serct.models.serct import Serct, sinusoidal_positions
from tests.conftest import ROOT

NUM_SAMPLES = 4000
RATE = 8000
NUM_EMOTIONS = 4
# Forms of SERCT beside the published one.
FORMS = {
    "serct_masked": {"mask_padding": True},
    "serct_plain": {"attention": "full"},
    "serct_plain_masked": {"attention": "full", "mask_padding": True},
    "serct_no_layers": {"num_layers": 0},
}
# A pretrained encoder needs a folder and 16 kHz: tests/models/test_encoder_network.py.
PARAMS = read_params(ROOT / "params.yaml")
TORCH_MODELS = [
    name
    for name in architectures()
    if name in PARAMS.models and isinstance(read_model_params(PARAMS, name), TorchParams)
]
VARIANTS = [*TORCH_MODELS, *FORMS]


@pytest.fixture(scope="module")
def build(tiny_params):
    def build_variant(name, seed=0, **changes):
        if name in FORMS:
            name, changes = "serct", {**FORMS[name], **changes}
        params = read_model_params(tiny_params, name).model_copy(update=changes)
        torch.manual_seed(seed)
        return params.build(NUM_SAMPLES, RATE, NUM_EMOTIONS)

    return build_variant


def make_tones(num_clips, level=0.03):
    """Clips whose label is pitch (low, high) and level (soft, loud), quiet as speech is."""
    generator = torch.Generator().manual_seed(0)

    def jitter():
        return 1 + 0.05 * torch.randn(num_clips, 1, generator=generator)

    labels = torch.arange(num_clips) % NUM_EMOTIONS
    hertz = torch.tensor([200.0, 300.0])[labels % 2][:, None] * jitter()
    loudness = torch.tensor([0.4, 1.0])[labels // 2][:, None] * jitter() * level
    phase = 2 * math.pi * torch.rand(num_clips, 1, generator=generator)
    seconds = torch.arange(NUM_SAMPLES) / RATE
    waveforms = loudness * torch.sin(2 * math.pi * hertz * seconds + phase)
    waveforms += 0.001 * torch.randn(num_clips, NUM_SAMPLES, generator=generator)
    num_valid = torch.randint(NUM_SAMPLES // 2, NUM_SAMPLES + 1, (num_clips,), generator=generator)
    waveforms *= torch.arange(NUM_SAMPLES) < num_valid[:, None]
    return waveforms, num_valid, labels


def train(model, clips, num_steps, learning_rate=0.003):
    waveforms, num_valid, labels = clips
    optimizer = torch.optim.Adam(model.parameters(), learning_rate)
    model.train()
    for _ in range(num_steps):
        optimizer.zero_grad()
        functional.cross_entropy(model(waveforms, num_valid), labels).backward()
        optimizer.step()
    return model.eval()


@pytest.mark.parametrize("name", VARIANTS)
def test_gives_a_logit_an_emotion_and_gradients_reach_every_weight(build, name):
    model = build(name)
    waveforms, num_valid, labels = make_tones(8)
    logits = model(waveforms, num_valid)
    assert logits.shape == (8, NUM_EMOTIONS)
    functional.cross_entropy(logits, labels).backward()
    without = [
        key
        for key, weight in model.named_parameters()
        if weight.grad is None or not weight.grad.abs().sum() > 0
    ]
    assert without == []


@pytest.mark.parametrize("name", VARIANTS)
def test_evaluation_is_deterministic_and_takes_each_clip_alone(build, name):
    model = build(name).eval()
    waveforms, num_valid, _ = make_tones(4)
    with torch.no_grad():
        together = model(waveforms, num_valid)
        assert torch.equal(together, model(waveforms, num_valid))
        alone = torch.cat([model(waveforms[i : i + 1], num_valid[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", VARIANTS)
def test_same_seed_same_weights(build, name):
    first, second, other = (build(name, seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


# mel_conformer hears neither level nor what is steady: tests/test_mel_conformer.py has its tones.
@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "mel_conformer"])
def test_learns_quiet_tones_and_keeps_it_in_evaluation(build, name):
    waveforms, num_valid, labels = clips = make_tones(32)
    changes = {"hidden": 16} if name == "cnn_bilstm" else {}
    model = train(build(name, **changes), clips, num_steps=30, learning_rate=0.01)
    with torch.no_grad():
        accuracy = (model(waveforms, num_valid).argmax(dim=1) == labels).float().mean()
    assert accuracy >= 0.9


@pytest.mark.parametrize("name", ["serct_masked", "serct_plain_masked", "cnn_bilstm", "lstm"])
def test_appended_zeros_change_nothing(build, name):
    model = train(build(name), make_tones(8), num_steps=2)
    waveforms, num_valid, _ = make_tones(4)
    longest = int(num_valid.max())
    with torch.no_grad():
        short = model(waveforms[:, :longest], num_valid)
        padded = model(functional.pad(waveforms, (0, 3001)), num_valid)
    torch.testing.assert_close(padded, short, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_rows_may_be_cut_behind_their_clips(build, name, mode):
    changes = {} if name == "lstm" else {"dropout": 0.0}
    if name == "mel_conformer":
        changes |= {"classifier_dropout": 0.0, "num_masks": 0}
    models = [build(name, **changes).train(mode == "train") for _ in range(2)]
    waveforms, num_valid, _ = make_tones(4)
    num_valid = num_valid.clamp(max=3000)
    waveforms = waveforms * (torch.arange(NUM_SAMPLES) < num_valid[:, None])
    cut, whole = (
        model(rows, num_valid)
        for model, rows in zip(models, (waveforms[:, : num_valid.max()], waveforms), strict=True)
    )
    torch.testing.assert_close(cut, whole, rtol=1e-4, atol=1e-5)
    for found, wanted in zip(
        models[0].state_dict().values(), models[1].state_dict().values(), strict=True
    ):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("longest", [1, 20, 255, 257])
def test_rows_may_be_as_short_as_a_sample(build, name, longest):
    model = build(name).eval()
    assert model.num_samples == NUM_SAMPLES
    num_valid = torch.tensor([longest, (longest + 1) // 2])
    waveforms = torch.randn(2, longest) * (torch.arange(longest) < num_valid[:, None])
    with torch.no_grad():
        cut = model(waveforms, num_valid)
        whole = model(functional.pad(waveforms, (0, NUM_SAMPLES - longest)), num_valid)
    torch.testing.assert_close(cut, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("offset", [0.0, 0.9])
def test_level_norm_of_cut_rows_is_batch_norm_of_whole_ones(offset):
    ours = LevelNorm(NUM_SAMPLES).train()
    batch_norm = nn.BatchNorm1d(1, eps=ours.epsilon, momentum=None, affine=False).train()
    for length in (NUM_SAMPLES, 3000, NUM_SAMPLES):
        waveforms = offset + 1e-3 * torch.randn(4, 1, length)
        expected = batch_norm(functional.pad(waveforms, (0, NUM_SAMPLES - length)))
        torch.testing.assert_close(ours(waveforms), expected[..., :length], rtol=1e-3, atol=1e-3)
    for name, wanted in batch_norm.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["serct", "cnn"])
def test_published_forms_hear_appended_zeros(build, name):
    model = train(build(name), make_tones(8), num_steps=2)
    waveforms, num_valid, _ = make_tones(4)
    with torch.no_grad():
        short = model(waveforms, num_valid)
        padded = model(functional.pad(waveforms, (0, 3001)), num_valid)
    assert (short - padded).abs().max() > 1e-3


@pytest.mark.parametrize("name", VARIANTS)
def test_one_sample_and_silence_are_no_trouble(build, name):
    model = build(name).eval()
    waveforms = torch.zeros(2, NUM_SAMPLES)
    waveforms[0, 0] = 0.5
    logits = model(waveforms, torch.tensor([1, NUM_SAMPLES]))
    logits.sum().backward()
    assert torch.isfinite(logits).all()
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters())


@pytest.mark.parametrize("num_heads", [1, 2, 3, 4, 6, 12])
def test_any_number_of_heads_that_divides_the_width(build, num_heads):
    model = build("serct", width=12, num_heads=num_heads)
    waveforms, num_valid, _ = make_tones(2)
    assert torch.isfinite(model(waveforms, num_valid)).all()


@pytest.mark.parametrize("conv_norm", ["group_first", "layer"])
@pytest.mark.parametrize("bias", [False, True])
def test_serct_switches(build, conv_norm, bias):
    model = build("serct", conv_norm=conv_norm, bias=bias, conv_bias=bias)
    waveforms, num_valid, _ = make_tones(2)
    assert torch.isfinite(model(waveforms, num_valid)).all()


def test_published_size():
    params = read_params(ROOT / "params.yaml")
    with torch.device("meta"):
        model = Serct(
            read_model_params(params, "serct"), params.audio.num_samples, 16000, num_emotions=7
        )
    assert sum(weight.numel() for weight in model.parameters()) == 26_462_791


def test_half_widths_start_at_the_ms_of_params():
    entry = read_model_params(read_params(ROOT / "params.yaml"), "serct")
    small = entry.model_copy(update={"width": 16, "num_layers": 2})
    model = Serct(small, num_samples=144_000, sample_rate_hz=16000, num_emotions=7)
    for block in model.blocks:
        parts = block.attention.placement.bias[8:].sigmoid()
        torch.testing.assert_close(parts * 9000, torch.linspace(25, 500, 8), rtol=1e-4, atol=0)
        assert not block.attention.placement.weight.any()


def test_positions_are_sinusoids_and_never_saved(build):
    table = sinusoidal_positions(50, 6)
    for position in (0, 1, 49):
        for pair in range(3):
            angle = position / 10000 ** (2 * pair / 6)
            assert table[position, 2 * pair].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[position, 2 * pair + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)
    model = build("serct")
    assert torch.equal(model.positions, sinusoidal_positions(*model.positions.shape))
    assert not [key for key in model.state_dict() if "positions" in key or "fractions" in key]


def test_longer_rows_than_trained_on_work(build):
    model = build("serct")
    assert model(torch.randn(2, 3 * NUM_SAMPLES), torch.full((2,), 3 * NUM_SAMPLES)).shape == (2, 4)


@pytest.mark.parametrize("name", ["serct", "cnn", "cnn_bilstm"])
def test_too_short_rows_are_refused(tiny_params, name):
    with pytest.raises(ParamsError, match=r"expected at least|need at least"):
        read_model_params(tiny_params, name).build(20, RATE, NUM_EMOTIONS)


@pytest.mark.parametrize("name", VARIANTS)
def test_zeros_after_a_clip_matter_exactly_where_padding_is_not_masked(tiny_params, build, name):
    model = build(name).eval()
    entry = read_model_params(tiny_params, "serct" if name in FORMS else name)
    params = entry.model_copy(update=FORMS.get(name, {}))
    waveforms, num_valid, _ = make_tones(4)
    with torch.no_grad():
        short = model(waveforms, num_valid)
        padded = model(functional.pad(waveforms, (0, 3001)), num_valid)
    is_same = bool((short - padded).abs().max() < 1e-5)
    assert is_same == params.masks_padding


def test_cnn_drops_out_behind_every_batch_norm(build):
    model = build("cnn")
    assert isinstance(model, Cnn)
    kinds = [type(layer).__name__ for layer in (*model.stages, *model.head)]
    assert "BatchNorm1d" not in kinds[kinds.index("Dropout") :]
