import pytest
import torch

from serct.models import window_attention
from serct.models.window_attention import Slice, Windows, attend, plan_slices
from tests import oracles

WHOLE = slice(None)


def make_inputs(num_frames=21, num_clips=2, num_heads=3, reach=4.0, seed=0):
    torch.manual_seed(seed)
    shape = (num_clips, num_heads, num_frames)
    parts = [torch.randn(*shape, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    own = torch.arange(num_frames, dtype=torch.float64)
    anchor = own + reach * torch.randn(shape, dtype=torch.float64)
    half_width = reach * torch.rand(shape, dtype=torch.float64)
    bounds = [anchor, anchor - half_width, anchor + half_width]
    return parts, Windows(*(bound.requires_grad_() for bound in bounds))


def everything(windows, num_valid_frames):
    """The plan for devices that cannot be asked where the windows are."""
    num_clips, _, num_frames = windows.start.shape
    return [Slice(slice(0, num_clips), slice(0, num_frames), slice(0, num_frames))]


@pytest.mark.parametrize("reach", [1.0, 4.0, 30.0])
@pytest.mark.parametrize("num_valid", [None, [21, 6]])
@pytest.mark.parametrize(("plan", "slice_pairs"), [("blocks", 1), ("blocks", 999), ("all", 1)])
def test_equals_one_query_after_another(monkeypatch, reach, num_valid, plan, slice_pairs):
    monkeypatch.setattr(window_attention, "BLOCK_FRAMES", 4)
    monkeypatch.setattr(window_attention, "SLICE_PAIRS", slice_pairs)
    if plan == "all":
        monkeypatch.setattr(window_attention, "plan_slices", everything)
    (queries, keys, values), windows = make_inputs(reach=reach)
    counts = num_valid or [21, 21]
    valid = None if num_valid is None else torch.tensor(num_valid)
    found = attend(queries, keys, values, windows, valid)  # [B, T, H, E]
    logits = queries @ keys.transpose(-2, -1) / 2
    expected = torch.stack(
        [
            torch.stack(
                [
                    oracles.deformable_row(
                        logits[clip, head, query],
                        *(bound[clip, head, query] for bound in windows),
                        counts[clip],
                    )
                    @ values[clip, head]
                    for head in range(3)
                ]
            )
            for clip in range(2)
            for query in range(21)
        ]
    ).view(2, 21, 3, 4)
    within = (torch.arange(21) < torch.tensor(counts)[:, None])[..., None, None]
    torch.testing.assert_close(found * within, expected * within, rtol=0, atol=1e-12)
    weighting = torch.randn(found.shape, dtype=torch.float64) * within
    leaves = [queries, keys, values, *windows]
    for got, wanted in zip(
        torch.autograd.grad((found * weighting).sum(), leaves),
        torch.autograd.grad((expected * weighting).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-10)


def test_dropout_has_the_gradient_of_what_it_kept():
    parts, windows = make_inputs(num_frames=5, num_clips=1, num_heads=2, reach=2.0)

    def attend_alike(*inputs):
        torch.manual_seed(1)
        return attend(*inputs[:3], Windows(*inputs[3:]), None, dropout=0.4)

    assert torch.autograd.gradcheck(attend_alike, (*parts, *windows))


def test_dropout_keeps_the_mean():
    (queries, keys, values), windows = make_inputs(num_frames=8, num_clips=1)
    with torch.no_grad():
        plain = attend(queries, keys, values, windows)
        rounds = [attend(queries, keys, values, windows, None, 0.5) for _ in range(4000)]
    torch.testing.assert_close(torch.stack(rounds).mean(dim=0), plain, rtol=0, atol=0.08)


def test_narrow_windows_cost_their_neighbourhood_only():
    around = torch.arange(450.0).expand(1, 3, 450)
    slices = plan_slices(Windows(around, around - 25, around + 25), None)
    pairs = sum((s.queries.stop - s.queries.start) * (s.keys.stop - s.keys.start) for s in slices)
    assert pairs < 0.3 * 450**2
    assert sorted(query for s in slices for query in range(450)[s.queries]) == list(range(450))


def test_a_block_with_a_window_outside_the_clip_sees_all_of_it():
    around = torch.arange(200.0).expand(1, 1, 200).clone()
    around[0, 0, 70] = 1000.0
    slices = plan_slices(Windows(around, around - 1, around + 1), torch.tensor([150]))
    assert [s.keys for s in slices] == [slice(0, 65), slice(0, 150), slice(127, 150)]
    assert slices[-1].queries.start == 128


def test_nan_reaches_the_result_and_is_no_index():
    (queries, keys, values), windows = make_inputs()
    broken = Windows(*(bound.detach().clone() for bound in windows))
    for bound in broken:
        bound[0, 0, 3] = torch.nan
    found = attend(queries, keys, values, broken)
    assert found[0, 3, 0].isnan().all()
    assert found[1].isfinite().all()


def test_nothing_of_all_pairs_is_kept_for_the_backward_pass():
    (queries, keys, values), windows = make_inputs(num_frames=64, num_clips=1)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.append(t.numel()) or t, lambda t: t
    ):
        attend(queries, keys, values, windows)
    assert max(kept) == queries.numel() < 64 * 64 * 3
