import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from serct.models.frontend import Frontend
from tests import oracles

PUBLISHED = [(512, 10, 5, 0), *[(512, 3, 2, 0)] * 4, (512, 2, 2, 0), (512, 2, 2, 1)]
SMALL = [(6, 10, 5, 0), (8, 3, 2, 0), (8, 2, 2, 0), (4, 2, 2, 1)]


def make_frontend(layers=SMALL, norm="group_first", bias=False, mask_padding=False):
    torch.manual_seed(0)
    frontend = Frontend(layers, norm, bias, mask_padding).double()
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
    return Frontend(PUBLISHED, "group_first", bias=False, mask_padding=False)


@pytest.mark.parametrize(("num_samples", "num_frames"), [(144_000, 450), (48_000, 150), (9, 0)])
def test_published_frame_counts(published, num_samples, num_frames):
    assert published.num_frames(num_samples) == num_frames


def test_hop_and_receptive_field(published):
    assert published.hop_samples == 320
    # wav2vec 2.0's feature encoder is these kernels and strides: 400 samples, 25 ms at 16 kHz.
    assert published.receptive_field == 400


layer = st.tuples(st.just(3), st.integers(1, 6), st.integers(1, 5), st.integers(0, 2))


@settings(max_examples=60, deadline=None)
@given(layers=st.lists(layer, min_size=1, max_size=4), num_samples=st.integers(1, 300))
def test_frames_are_the_windows_that_fit(layers, num_samples):
    frontend = Frontend(layers, "group_first", bias=False, mask_padding=False)
    expected = oracles.count_windows(num_samples, layers)
    assert frontend.num_frames(num_samples) == expected
    if expected:
        counted = frontend.num_valid_frames(torch.tensor([num_samples]))
        assert counted.tolist() == [expected]


@pytest.mark.parametrize("norm", ["group_first", "layer"])
@pytest.mark.parametrize("mask_padding", [False, True])
def test_frames_equal_direct_computation(norm, mask_padding):
    frontend = make_frontend(norm=norm, mask_padding=mask_padding)
    waveforms = torch.randn(3, 501, dtype=torch.float64)
    frames = frontend(waveforms, torch.full((3,), 501))
    assert frames.shape == (3, frontend.num_frames(501), 4)
    for waveform, found in zip(waveforms, frames, strict=True):
        torch.testing.assert_close(found, frames_of_clip(frontend, waveform), rtol=0, atol=1e-10)


@pytest.mark.parametrize("norm", ["group_first", "layer"])
@pytest.mark.parametrize("layers", [SMALL, [(4, 3, 1, 1), (4, 4, 2, 2), (4, 3, 2, 1)]])
def test_masked_padding_gives_each_clip_its_own_frames(norm, layers):
    frontend = make_frontend(layers, norm, mask_padding=True)
    # Each way that a clip can end within the last window of a layer.
    num_valid = torch.arange(300, 340)
    waveforms = torch.randn(len(num_valid), 500, dtype=torch.float64)
    for waveform, count in zip(waveforms, num_valid, strict=True):
        waveform[count:] = 0
    frames = frontend(waveforms, num_valid)
    num_frames = frontend.num_valid_frames(num_valid)
    for waveform, count, clip, clip_frames in zip(
        waveforms, num_valid, frames, num_frames, strict=True
    ):
        assert clip_frames == frontend.num_frames(int(count))
        expected = frames_of_clip(frontend, waveform[:count])
        torch.testing.assert_close(clip[:clip_frames], expected, rtol=0, atol=1e-10)


def test_masked_padding_need_not_be_silent():
    frontend = make_frontend(mask_padding=True)
    quiet = torch.randn(1, 500, dtype=torch.float64)
    quiet[:, 300:] = 0
    noisy = quiet.clone()
    noisy[:, 300:] = 1
    num_frames = frontend.num_frames(300)
    first, second = (frontend(row, torch.tensor([300]))[:, :num_frames] for row in (quiet, noisy))
    torch.testing.assert_close(first, second)


def test_a_clip_shorter_than_a_frame_keeps_one_whatever_follows():
    frontend = make_frontend(mask_padding=True)
    clip = torch.randn(1, 7, dtype=torch.float64)
    num_valid = torch.tensor([7])
    assert frontend.num_valid_frames(num_valid).tolist() == [1]
    rows = [torch.nn.functional.pad(clip, (0, zeros)) for zeros in (100, 400)]
    first, second = (frontend(row, num_valid)[:, :1] for row in rows)
    assert torch.isfinite(first).all()
    torch.testing.assert_close(first, second)


def test_published_form_hears_padding():
    frontend = make_frontend()
    clip = torch.randn(1, 300, dtype=torch.float64)
    padded = torch.nn.functional.pad(clip, (0, 200))
    first, second = (frontend(row, torch.tensor([300]))[:, :5] for row in (clip, padded))
    assert (first - second).abs().max() > 0.01


def test_bias_is_a_choice():
    assert not [
        name for name, _ in make_frontend().named_parameters() if "tions" in name and "bias" in name
    ]
    assert make_frontend(bias=True).convolutions[1].bias is not None
