import itertools

import pytest
import torch
from torch import nn

from benchmarks.roofline import (
    OPTIMIZER,
    REST,
    Account,
    Meter,
    Place,
    account,
    bounds,
    call_bytes,
    places,
    watched,
)
from serct.experiments.bench.measure import count_flops
from serct.experiments.bench.workload import Size, Workload

CPU = torch.device("cpu")


def test_bytes_of_a_linear_layer():
    layer, values = nn.Linear(3, 5), torch.randn(7, 3, requires_grad=True)
    place = Place("map", layer, "forward", tuple(layer.parameters()))
    found = account([place], lambda: layer(values).sum().backward(), [])["map"]
    read_read_written, written_read = 3, 2
    assert found.num_bytes == 4 * (read_read_written * (7 * 3 + 5 * 3 + 5) + written_read * 7 * 5)
    assert found.operations == 3 * (2 * 7 * 3 * 5)  # the product, and one for each gradient


def test_bytes_follow_from_gradients_and_types():
    values, output = torch.zeros(10, dtype=torch.bfloat16), torch.zeros(10)
    assert call_bytes([values], [output], reads_again=True) == 2 * 20 + 2 * 40
    assert call_bytes([values], [output], reads_again=False) == 20 + 2 * 40
    values.requires_grad = True
    assert call_bytes([values], [output], reads_again=True) == 3 * 20 + 2 * 40


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_parts_add_up_to_the_whole_step(tiny_params, precision):
    work = Workload(tiny_params, "serct", Size(3), CPU)
    step, weights = work.step("ours", precision), list(work.ours.parameters())
    chosen = list(places(work))
    found = account(chosen, step, weights)
    assert sum(each.operations for each in found.values()) == count_flops(step)
    assert found[REST] == Account(0, 0)
    assert found.keys() == {each.part for each in chosen} | {REST}
    assert all(each.num_bytes > 0 for part, each in found.items() if part != REST)
    assert found[OPTIMIZER].num_bytes == 7 * 4 * sum(weight.numel() for weight in weights)
    first, *_, last = (each for each in work.ours.classifier if isinstance(each, nn.Linear))
    frames = 3 * len(work.ours.positions)
    products = frames * (first.weight.numel() + last.weight.numel())
    assert len(list(work.ours.classifier.parameters())) == 4
    assert found["classifier"].operations == 3 * 2 * products


def test_a_part_gets_what_passes_in_both_directions():
    ticks = itertools.count()
    meter = Meter(lambda: next(ticks))
    layer, other = nn.Linear(2, 2), nn.Linear(2, 2)
    watching = [Place("map", layer, "forward"), Place("other", other, "forward")]
    with watched(watching, meter):
        other(layer(torch.ones(1, 2, requires_grad=True)) + 1).sum().backward()
    # Entered and left forward, entered and left backward; what lies between is the rest.
    assert meter.spent == {"map": 2, "other": 2, REST: 5}
    layer(torch.ones(1, 2))
    assert meter.spent["map"] == 2  # no longer watched


def test_the_bound_is_the_slower_of_both_limits():
    accounts = {"a": Account(8.0, 30), "b": Account(2.0, 60), REST: Account()}
    seconds = [{"a": 8.0, "b": 12.0, REST: 1.0}, {"a": 8.0, "b": 12.0, REST: 1.0}]
    found = bounds(accounts, seconds, peak=2.0, bandwidth=10.0)
    assert [(row["part"], row["limit"]) for row in found["parts"]] == [
        ("b", "memory"), ("a", "operations"), (REST, None),
    ]  # fmt: skip
    assert [row["share"] for row in found["parts"]] == [0.5, 0.5, 0.0]
    assert (found["bound_s"], found["operations_s"]) == (10.0, 5.0)
