import pytest
import torch

from serct.models.layers.dropout import Dropout, draw_kept


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 0.93, 0.9999999])
def test_part_of_what_is_dropped(probability):
    torch.manual_seed(0)
    kept = draw_kept(torch.empty(1001, 999), probability)
    share = 1 - kept.double().mean().item()
    assert share == pytest.approx(probability, abs=0.002)
    # Neighbours come from one draw, and are independent all the same.
    for distance in (1, 2, 3, 4):
        both = (~kept[:, distance:] & ~kept[:, :-distance]).double().mean().item()
        assert both == pytest.approx(probability**2, abs=0.003)


def test_scales_what_is_kept_and_its_gradient():
    torch.manual_seed(0)
    values = torch.randn(50, 7, dtype=torch.float64, requires_grad=True)
    dropped = Dropout(0.3)(values)
    kept = dropped != 0
    assert 0.5 < kept.double().mean() < 0.9
    torch.testing.assert_close(dropped, values * kept / 0.7)
    (gradient,) = torch.autograd.grad(dropped.sum(), values)
    torch.testing.assert_close(gradient, kept / 0.7, check_dtype=False)


def test_nothing_happens_in_evaluation():
    values = torch.randn(5)
    assert Dropout(0.5).eval()(values) is values
    assert Dropout(0.0)(values) is values


def test_same_seed_same_choice():
    first, second = (
        draw_kept(torch.manual_seed(seed) and torch.empty(100), 0.5) for seed in (1, 1)
    )
    assert torch.equal(first, second)
