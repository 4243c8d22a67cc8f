import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from serct.models.layers.deformable import DeformableAttention, spread_half_widths
from serct.models.layers.windows import Windows, attention_weights, emphasise, find_reach
from tests import oracles


def make_attention(num_heads, width=None, dropout=0.0, bias=True):
    torch.manual_seed(num_heads)
    fractions = torch.linspace(0.1, 0.6, num_heads)
    width = width or 2 * num_heads
    return DeformableAttention(width, fractions, bias=bias, dropout=dropout).double()


def scatter_windows(attention, reach):
    """Let the queries place their windows anywhere, many outside the clip."""
    torch.nn.init.normal_(attention.placement.weight, std=reach)
    torch.nn.init.normal_(attention.placement.bias, std=reach)


def shares_of(logits, windows, num_valid):
    reach = find_reach(windows, logits.shape[-1], num_valid)
    at_points = logits.gather(-1, reach.points)
    weights, _ = attention_weights(logits.clone(), at_points, reach, num_valid)
    return weights.flatten()


def factors_of(windows, num_frames):
    factors = torch.ones(1, 1, 1, num_frames)
    reach = find_reach(windows, num_frames, None)
    emphasise(factors, torch.ones(1, 1, 1, 4), reach)
    return factors.flatten()


@pytest.mark.parametrize("num_heads", [1, 2, 3, 8])
@pytest.mark.parametrize("num_frames", [1, 2, 7])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("reach", [0.3, 3.0])
def test_equals_loops_in_value_and_gradients(num_heads, num_frames, masked, reach):
    attention = make_attention(num_heads)
    scatter_windows(attention, reach)
    frames = torch.randn(3, num_frames, 2 * num_heads, dtype=torch.float64, requires_grad=True)
    num_valid = [max(1, num_frames - 2), 1, num_frames] if masked else [num_frames] * 3
    valid = torch.arange(num_frames) < torch.tensor(num_valid)[:, None]
    weighting = torch.randn(frames.shape, dtype=torch.float64) * valid[..., None]
    leaves = [frames, *attention.parameters()]

    answers = attention(frames, torch.tensor(num_valid) if masked else None)
    expected = oracles.deformable_attention(attention, frames, num_valid)

    torch.testing.assert_close(answers[valid], expected[valid], rtol=0, atol=1e-10)
    for found, wanted in zip(
        torch.autograd.grad((answers * weighting).sum(), leaves, allow_unused=True),
        torch.autograd.grad((expected * weighting).sum(), leaves, allow_unused=True),
        strict=True,
    ):
        # The loops do not touch a weight where every window misses: no gradient, here a zero.
        wanted = torch.zeros_like(found) if wanted is None else wanted
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)


# Quarters, so that bounds, anchor and whole frames often coincide; -4..12 is well outside 0..5.
quarters = st.integers(-16, 48).map(lambda number: number / 4)


@settings(max_examples=150, deadline=None)
@given(anchor=quarters, half_width=st.integers(0, 20).map(lambda n: n / 4), masked=st.booleans())
def test_one_row_equals_points_counted_one_by_one(anchor, half_width, masked):
    num_frames, num_valid = 6, 4 if masked else 6
    torch.manual_seed(0)
    logits = torch.randn(1, 1, 1, num_frames, dtype=torch.float64)
    middle = torch.full((1, 1, 1), anchor, dtype=torch.float64)
    windows = Windows(middle, middle - half_width, middle + half_width)
    valid = torch.tensor([num_valid]) if masked else None
    shares = shares_of(logits, windows, valid)
    expected = oracles.deformable_row(
        logits.flatten(), *(part[0, 0, 0] for part in windows), num_valid
    )
    torch.testing.assert_close(shares, expected, rtol=0, atol=1e-12)


def test_drawn_example_of_factors():
    windows = Windows(*(torch.full((1, 1, 1), value) for value in (5.2, 3.6, 6.8)))
    factors = factors_of(windows, 9)
    expected = torch.tensor([1, 1, 1, 0.4, 1, 1.8, 1.2, 0.8, 1])
    torch.testing.assert_close(factors, expected)


def test_changes_on_one_frame_add_up():
    windows = Windows(*(torch.full((1, 1, 1), value) for value in (2.25, 2.0, 2.5)))
    factors = factors_of(windows, 5)
    # 2: start exactly on it, anchor .75 near; 3: half cut off, anchor .25 near.
    torch.testing.assert_close(factors, torch.tensor([1, 1, 1.75, 0.75, 1]))


@pytest.mark.parametrize("num_valid", [None, 3])
def test_window_outside_attends_evenly(num_valid):
    windows = Windows(*(torch.full((1, 1, 1), value) for value in (-5.0, -6.0, -4.0)))
    logits = torch.tensor([[[[5.0, -1.0, 0.0, 9.0]]]])
    valid = None if num_valid is None else torch.tensor([num_valid])
    shares = shares_of(logits, windows, valid).tolist()
    assert shares == ([0.25] * 4 if num_valid is None else pytest.approx([1 / 3] * 3 + [0]))


def test_padding_changes_nothing_when_masked():
    attention = make_attention(4)
    scatter_windows(attention, 2.0)
    clip = torch.randn(1, 9, 8, dtype=torch.float64)
    padded = torch.cat((clip, torch.randn(1, 6, 8, dtype=torch.float64)), dim=1)
    answers = attention(padded, torch.tensor([9]))
    assert torch.isfinite(answers).all()
    torch.testing.assert_close(answers[:, :9], attention(clip, torch.tensor([9])))
    torch.testing.assert_close(attention(clip, torch.tensor([9])), attention(clip))
    assert not torch.allclose(attention(padded)[:, :9], attention(clip))


def test_first_windows_lie_around_their_own_frame():
    attention = make_attention(3, width=6)
    frames = torch.randn(1, 10, 6, dtype=torch.float64)
    windows = attention._place(frames, None)
    own = torch.arange(10, dtype=torch.float64)
    for head, fraction in enumerate((0.1, 0.35, 0.6)):
        torch.testing.assert_close(windows.anchor[head, 0], own)
        torch.testing.assert_close(windows.end[head, 0], own + 10 * fraction, rtol=0, atol=1e-5)


def test_half_widths_in_ms():
    fractions = spread_half_widths(8, 25.0, 500.0, frame_ms=20.0, num_frames=450)
    widths_ms = fractions * 450 * 20
    torch.testing.assert_close(widths_ms, torch.linspace(25, 500, 8))


def test_half_width_of_a_single_head_is_the_middle():
    fractions = spread_half_widths(1, 100.0, 300.0, frame_ms=10.0, num_frames=100)
    assert fractions.tolist() == pytest.approx([0.2])


def test_half_widths_beyond_a_short_clip_are_cut():
    fractions = spread_half_widths(4, 25.0, 500.0, frame_ms=20.0, num_frames=3)
    assert fractions.min() > 0
    assert fractions.max() < 1
    assert torch.isfinite(torch.logit(fractions)).all()


def test_dropout_acts_in_training_only():
    attention = make_attention(2, dropout=0.5)
    frames = torch.randn(2, 8, 4, dtype=torch.float64)
    assert not torch.equal(attention(frames), attention(frames))
    attention.eval()
    assert torch.equal(attention(frames), attention(frames))


def test_bias_covers_all_but_the_placement():
    names = {name for name, _ in make_attention(2, bias=False).named_parameters()}
    assert {name for name in names if name.endswith("bias")} == {"placement.bias"}


def test_half_precision_keeps_positions_exact():
    # bfloat16 has 8 bits: it cannot tell 300 from 301.
    attention = make_attention(2, width=8).float()
    frames = torch.randn(1, 600, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        windows = attention._place(frames.bfloat16(), None)
        answers = attention(frames)
    assert windows.anchor.dtype == torch.float32
    torch.testing.assert_close(windows.anchor[0, 0], torch.arange(600.0))
    torch.testing.assert_close(answers.float(), attention(frames), rtol=0.1, atol=0.05)
