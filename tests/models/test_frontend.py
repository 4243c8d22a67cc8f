import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from serct.models.layers.frontend import Frontend
from tests import oracles

PUBLISHED = [(512, 10, 5, 0), *[(512, 3, 2, 0)] * 4, (512, 2, 2, 0), (512, 2, 2, 1)]
SMALL = [(6, 10, 5, 0), (8, 3, 2, 0), (8, 2, 2, 0), (4, 2, 2, 1)]


def make_frontend(layers=SMALL, norm="group_first", bias=False):
    torch.manual_seed(0)
    frontend = Frontend(layers, norm, bias).double()
    for norm_layer in frontend.norms:  # away from 1 and 0, so that they are seen to be used
        torch.nn.init.uniform_(norm_layer.weight, 0.5, 1.5)
        torch.nn.init.uniform_(norm_layer.bias, -0.5, 0.5)
    return frontend


def frames_of_clip(frontend, waveform):
    """What the oracle makes of one clip without padding."""
    return oracles.conv_stack(
        waveform,
        frontend.layers,
        [convolution.weight for convolution in frontend.convolutions],
        [norm.weight for norm in frontend.norms],
        [norm.bias for norm in frontend.norms],
        frontend.norm,
    )


@pytest.fixture(scope="module")
def published():
    return Frontend(PUBLISHED, "group_first", bias=False)


@pytest.mark.parametrize(("num_samples", "num_frames"), [(144_000, 450), (48_000, 150), (399, 1)])
def test_published_frame_counts(published, num_samples, num_frames):
    assert published.num_frames(num_samples) == num_frames


def test_hop_and_shortest_row(published):
    assert published.hop_samples == 320
    # wav2vec 2.0's feature encoder is these kernels and strides: 400 samples, 25 ms at 16 kHz.
    unpadded = Frontend([*PUBLISHED[:-1], (512, 2, 2, 0)], "group_first", bias=False)
    assert unpadded.shortest == 400
    # The last layer's own padding stands in for the first half of its only window.
    assert published.shortest == 240


layer = st.tuples(st.just(3), st.integers(1, 6), st.integers(1, 5), st.integers(0, 2))
some_layers = st.lists(layer, min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(layers=some_layers, num_samples=st.integers(1, 300))
def test_frames_are_the_windows_that_fit(layers, num_samples):
    frontend = Frontend(layers, "group_first", bias=False)
    expected = oracles.count_windows(num_samples, layers)
    assert (num_samples >= frontend.shortest) == (expected > 0)
    if expected:
        assert frontend.num_frames(num_samples) == expected
        assert frontend.num_frames(torch.tensor([num_samples])).tolist() == [expected]


@pytest.mark.parametrize("norm", ["group_first", "layer"])
@pytest.mark.parametrize("masked", [False, True])
def test_frames_equal_direct_computation(norm, masked):
    frontend = make_frontend(norm=norm)
    waveforms = torch.randn(3, 501, dtype=torch.float64)
    frames = frontend(waveforms, torch.full((3,), 501) if masked else None)
    assert frames.shape == (3, frontend.num_frames(501), 4)
    for waveform, found in zip(waveforms, frames, strict=True):
        torch.testing.assert_close(found, frames_of_clip(frontend, waveform), rtol=0, atol=1e-10)


@settings(max_examples=150, deadline=None)
@given(
    layers=some_layers,
    num_samples=st.integers(1, 800),
    share=st.floats(0, 1),
    norm=st.sampled_from(["group_first", "layer"]),
    bias=st.booleans(),
)
def test_cut_rows_give_the_frames_of_whole_ones(layers, num_samples, share, norm, bias):
    frontend = make_frontend(layers, norm, bias)
    num_samples += frontend.shortest
    num_valid = max(1, round(share * num_samples))
    row = torch.randn(2, num_samples, dtype=torch.float64)
    row[:, num_valid:] = 0
    cut = frontend.cut(num_samples, num_valid)
    num_left_out = num_samples - cut.num_samples
    assert num_left_out == cut.num_frames * frontend.hop_samples
    kept = frontend(row[:, : cut.num_samples], num_left_out=num_left_out)
    restored, whole = frontend.restore(kept, cut), frontend(row)
    torch.testing.assert_close(restored, whole, rtol=0, atol=1e-10)

    weighting = torch.randn(whole.shape, dtype=torch.float64)
    parameters = list(frontend.parameters())
    for found, wanted in zip(
        torch.autograd.grad((restored * weighting).sum(), parameters),
        torch.autograd.grad((whole * weighting).sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def test_a_short_clip_is_cut_to_itself_and_a_few_frames(published):
    cut = published.cut(144_000, 32_000)
    assert cut.num_samples - 32_000 < 5 * published.hop_samples
    assert published.num_frames(cut.num_samples) + cut.num_frames == 450
    # Frame 101 starts at sample 101 * 320 less the 160 that the last layer's padding moves it.
    assert cut.frame == 101


def test_a_full_row_is_left_as_it_is(published):
    assert published.cut(144_000, 144_000)[:2] == (144_000, 0)


@pytest.mark.parametrize("norm", ["group_first", "layer"])
@pytest.mark.parametrize("layers", [SMALL, [(4, 3, 1, 1), (4, 4, 2, 2), (4, 3, 2, 1)]])
def test_masked_padding_gives_each_clip_its_own_frames(norm, layers):
    frontend = make_frontend(layers, norm)
    # Each way that a clip can end within the last window of a layer.
    num_valid = torch.arange(300, 340)
    waveforms = torch.randn(len(num_valid), 500, dtype=torch.float64)
    for waveform, count in zip(waveforms, num_valid, strict=True):
        waveform[count:] = 0
    frames = frontend(waveforms, num_valid)
    for waveform, count, clip in zip(waveforms, num_valid, frames, strict=True):
        expected = frames_of_clip(frontend, waveform[:count])
        torch.testing.assert_close(clip[: len(expected)], expected, rtol=0, atol=1e-10)


def test_masked_padding_need_not_be_silent():
    frontend = make_frontend()
    quiet = torch.randn(1, 500, dtype=torch.float64)
    quiet[:, 300:] = 0
    noisy = quiet.clone()
    noisy[:, 300:] = 1
    num_frames = frontend.num_frames(300)
    first, second = (frontend(row, torch.tensor([300]))[:, :num_frames] for row in (quiet, noisy))
    torch.testing.assert_close(first, second)


def test_published_form_hears_padding():
    frontend = make_frontend()
    clip = torch.randn(1, 300, dtype=torch.float64)
    padded = torch.nn.functional.pad(clip, (0, 200))
    first, second = (frontend(row)[:, :5] for row in (clip, padded))
    assert (first - second).abs().max() > 0.01


def test_bias_is_a_choice():
    assert not [
        name for name, _ in make_frontend().named_parameters() if "tions" in name and "bias" in name
    ]
    assert make_frontend(bias=True).convolutions[1].bias is not None
