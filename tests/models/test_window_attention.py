import pytest
import torch

from serct.models.layers import window_attention
from serct.models.layers.window_attention import attend, plan_slices
from serct.models.layers.windows import Windows, find_reach
from tests import oracles


def make_inputs(num_frames=21, num_clips=2, num_heads=3, reach=4.0, seed=0):
    torch.manual_seed(seed)
    shape = (num_heads, num_clips, num_frames)
    projected = torch.randn(3, *shape, 4, dtype=torch.float64, requires_grad=True)
    own = torch.arange(num_frames, dtype=torch.float64)
    anchor = own + reach * torch.randn(shape, dtype=torch.float64)
    half_width = reach * torch.rand(shape, dtype=torch.float64)
    bounds = [anchor, anchor - half_width, anchor + half_width]
    return projected, Windows(*(bound.requires_grad_() for bound in bounds))


@pytest.mark.parametrize("reach", [1.0, 4.0, 30.0])
@pytest.mark.parametrize("num_valid", [None, [21, 6]])
@pytest.mark.parametrize(
    ("plan", "slice_pairs"), [("blocks", 1), ("blocks", 100), ("blocks", 999), ("all", 1)]
)
def test_equals_one_query_after_another(monkeypatch, reach, num_valid, plan, slice_pairs):
    monkeypatch.setattr(window_attention, "BLOCK_FRAMES", 4)
    monkeypatch.setattr(window_attention, "SLICE_PAIRS", slice_pairs)
    if plan == "all":
        monkeypatch.setattr(window_attention, "takes_slices", lambda device: False)
    projected, windows = make_inputs(reach=reach)
    counts = num_valid or [21, 21]
    valid = None if num_valid is None else torch.tensor(num_valid)
    found = attend(projected, windows, valid)  # [B, T, H, E]
    queries, keys, values = projected
    logits = queries @ keys.mT / 2
    expected = torch.stack(
        [
            oracles.deformable_row(
                logits[head, clip, query],
                *(bound[head, clip, query] for bound in windows),
                counts[clip],
            )
            @ values[head, clip]
            for clip in range(2)
            for query in range(21)
            for head in range(3)
        ]
    ).view(2, 21, 3, 4)
    within = (torch.arange(21) < torch.tensor(counts)[:, None])[..., None, None]
    torch.testing.assert_close(found * within, expected * within, rtol=0, atol=1e-12)
    weighting = torch.randn(found.shape, dtype=torch.float64) * within
    leaves = [projected, *windows]
    for got, wanted in zip(
        torch.autograd.grad((found * weighting).sum(), leaves),
        torch.autograd.grad((expected * weighting).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-10)


def test_dropout_has_the_gradient_of_what_it_kept():
    projected, windows = make_inputs(num_frames=5, num_clips=1, num_heads=2, reach=2.0)

    def attend_alike(*inputs):
        torch.manual_seed(1)
        return attend(inputs[0], Windows(*inputs[1:]), None, dropout=0.4)

    assert torch.autograd.gradcheck(attend_alike, (projected, *windows))


def test_dropout_keeps_the_mean():
    projected, windows = make_inputs(num_frames=8, num_clips=1)
    with torch.no_grad():
        plain = attend(projected, windows)
        rounds = [attend(projected, windows, None, 0.5) for _ in range(4000)]
    torch.testing.assert_close(torch.stack(rounds).mean(dim=0), plain, rtol=0, atol=0.08)


def test_narrow_windows_cost_their_neighbourhood_only():
    around = torch.arange(450.0).expand(3, 1, 450)
    windows = Windows(around, around - 25, around + 25)
    slices = plan_slices(find_reach(windows, 450, None), None)
    pairs = sum((s.queries.stop - s.queries.start) * (s.keys.stop - s.keys.start) for s in slices)
    assert pairs < 0.9 * 450**2
    every_head = [(h, q) for s in slices for h in range(3)[s.heads] for q in range(450)[s.queries]]
    assert sorted(every_head) == [(h, q) for h in range(3) for q in range(450)]


def test_a_block_with_a_window_outside_the_clip_sees_all_of_it():
    around = torch.arange(200.0).expand(1, 1, 200).clone()
    around[0, 0, 70] = 1000.0
    windows, num_valid = Windows(around, around - 1, around + 1), torch.tensor([150])
    slices = plan_slices(find_reach(windows, 200, num_valid), num_valid)
    assert [s.keys for s in slices] == [slice(0, 65), slice(0, 150), slice(127, 150)]
    assert slices[-1].queries.start == 128


def test_nan_reaches_the_result_and_is_no_index():
    projected, windows = make_inputs()
    broken = Windows(*(bound.detach().clone() for bound in windows))
    for bound in broken:
        bound[0, 0, 3] = torch.nan
    found = attend(projected, broken)
    assert found[0, 3, 0].isnan().all()
    assert found[1].isfinite().all()


def test_nothing_of_all_pairs_is_kept_for_the_backward_pass():
    projected, windows = make_inputs(num_frames=64, num_clips=1)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.append(t.numel()) or t, lambda t: t
    ):
        attend(projected, windows)
    assert max(kept) == projected.numel() < 64 * 64 * 3
