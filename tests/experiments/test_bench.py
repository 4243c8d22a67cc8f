import json

import pytest
import torch

from benchmarks.kernels import KernelCounter, count_step, full_size
from serct.errors import ParamsError
from serct.experiments.bench.direct import DirectSerct
from serct.experiments.bench.measure import (
    count_flops,
    difference,
    interleave,
    peak_memory,
    rounding,
)
from serct.experiments.bench.suite import Suite
from serct.experiments.bench.tables import as_text
from serct.experiments.bench.workload import Size, Workload, describe
from serct.models import read_model_params
from serct.models.serct import Serct
from tests.cli.test_cli import serct

CPU = torch.device("cpu")
# Of a training step of the full-size model: 929 before attention found its windows' frames once.
MOST_KERNELS = 600


@pytest.fixture(scope="module")
def bench_params(tiny_params):
    tiny = read_model_params(tiny_params, "serct").model_copy(
        update={"num_layers": 2, "dropout": 0.1}
    )
    return tiny_params.replace(models={**tiny_params.models, "serct": tiny.model_dump(mode="json")})


def build(params, **changes):
    torch.manual_seed(0)
    entry = read_model_params(params, "serct").model_copy(update={"dropout": 0.0, **changes})
    model = Serct(entry, 8000, 16000, 7).double()
    for weight in model.parameters():  # away from zeros and ones
        torch.nn.init.normal_(weight, std=0.2)
    return model


def gradients(module, model, inputs):
    model.zero_grad()
    logits = module(*inputs)
    (logits * torch.arange(7)).sum().backward()
    return logits, [weight.grad for weight in model.parameters()]


LENGTHS = {
    "random": [1, 777, 4001, 7999, 8000, 2500],
    "silent": [8000, 3000],
    "whole": [8000, 8000],
    "one sample": [1, 1],
}


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("norm", ["group_first", "layer"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows", ["alone", "in groups", "together"])
def test_model_equals_its_direct_formulation(bench_params, monkeypatch, lengths, norm, bias, rows):
    if rows == "alone":
        monkeypatch.setattr("serct.models.serct.VALUES_AT_ONCE", 1)
    if rows == "together":
        monkeypatch.setattr("serct.models.serct.takes_groups", lambda device: False)
        monkeypatch.setattr(
            "serct.models.layers.window_attention.takes_slices", lambda device: False
        )
    model = build(bench_params, conv_norm=norm, conv_bias=bias, bias=bias)
    num_valid = torch.tensor(LENGTHS[lengths])
    waveforms = torch.randn(len(num_valid), int(num_valid.max()), dtype=torch.float64)
    waveforms *= (torch.arange(waveforms.shape[1]) < num_valid[:, None]) * (lengths != "silent")
    inputs = (waveforms, num_valid)
    found, ours = gradients(model, model, inputs)
    expected, direct = gradients(DirectSerct(model), model, inputs)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    for got, wanted in zip(ours, direct, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10 * float(wanted.abs().max()))


def test_masked_padding_has_no_direct_formulation(bench_params):
    with pytest.raises(ValueError, match="without mask_padding"):
        DirectSerct(build(bench_params, mask_padding=True))
    with pytest.raises(ParamsError, match=r"models\.svm: expected a model of architecture serct"):
        Workload(bench_params, "svm", Size(1), CPU)


def test_same_work_each_time_and_clips_as_long_as_in_tess(bench_params):
    params = bench_params.replace(
        audio=bench_params.audio.model_copy(update={"num_samples": 144_000})
    )
    first, second = (Workload(params, "serct", Size(400), CPU) for _ in range(2))
    assert torch.equal(first.waveforms, second.waveforms)
    assert all(
        torch.equal(a, b)
        for a, b in zip(first.ours.parameters(), second.ours.parameters(), strict=True)
    )
    seconds = first.num_valid / 16000
    assert seconds.mean().item() == pytest.approx(2.05, abs=0.05)
    assert 1.25 <= seconds.min() < 1.3
    assert 2.9 < seconds.max() <= 2.985


def test_functions_take_turns():
    calls, ticks = [], iter([0, 1, 1, 5, 5, 7, 7, 11, 11, 14, 14, 18])
    timings = interleave(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")},
        3,
        CPU,
        clock=lambda: next(ticks),
    )
    assert calls == ["a", "b"] * 3
    assert (timings["a"].min_s, timings["a"].median_s, timings["a"].max_s) == (1, 2, 3)
    assert timings["b"].median_s == 4


def test_operations_are_those_of_the_formulas():
    left, right = torch.randn(3, 5), torch.randn(5, 7)
    assert count_flops(lambda: left @ right) == 2 * 3 * 5 * 7
    signal, kernel = torch.randn(1, 4, 100), torch.randn(8, 4, 3)
    steps = (100 - 3) // 2 + 1
    found = count_flops(lambda: torch.nn.functional.conv1d(signal, kernel, stride=2))
    assert found == 2 * steps * 8 * 4 * 3


def test_kernels_are_operations_that_compute():
    left, right = torch.empty(3, 5, device="meta"), torch.empty(3, 5, device="meta")
    with KernelCounter() as counter:
        (left @ right.T)[:2].relu().add_(1)
    assert counter.counts == {("rest", "forward"): 3}


def test_a_training_step_starts_no_more_kernels_on_a_gpu():
    counts = count_step(full_size())
    assert min(counts["attention", way] for way in ("forward", "backward")) > 0
    assert counts.total() <= MOST_KERNELS, (
        f"a training step starts {counts.total()} kernels on a GPU, where launching them takes "
        f"most of the time; expected at most {MOST_KERNELS}: {dict(counts)}"
    )


def test_direct_formulation_costs_whole_rows(bench_params):
    short = Workload(bench_params, "serct", Size(2, clip_s=0.05), CPU)
    ours, direct = (count_flops(short.forward(form, torch.float32)) for form in ("ours", "direct"))
    assert ours < 0.7 * direct


def test_a_wider_model_has_wider_feed_forward_parts(bench_params):
    entry = read_model_params(bench_params, "serct")
    ratio = entry.feed_forward / entry.width
    for width in (2 * entry.width, 4 * entry.width):
        work = Workload(bench_params, "serct", Size(1, width=width), CPU)
        first = work.ours.blocks[0].feed_forward[0]
        assert first.weight.shape == (ratio * width, width)


def test_a_changed_weight_is_found_out(bench_params):
    workload = Workload(bench_params, "serct", Size(2), CPU).double()
    ours, direct = workload.gradients("ours"), workload.gradients("direct")
    assert difference(ours, direct).logits < 1e-12
    other = build(bench_params)
    workload.direct = DirectSerct(other)
    found = workload.gradients("direct")[0]
    assert not torch.allclose(found, workload.gradients("ours")[0])


def test_a_faster_precision_is_compared_with_float32(bench_params):
    workload = Workload(bench_params, "serct", Size(2), CPU)
    found = rounding(workload, torch.bfloat16, workload.gradients("direct"))
    for each in (found.ours, found.direct):
        assert 1e-4 < each.logits < 0.1  # 8 bits


@pytest.mark.slow
def test_memory_of_the_direct_formulation_grows_with_its_masks(bench_params):
    long = bench_params.replace(
        audio=bench_params.audio.model_copy(update={"num_samples": 100_000})
    )
    ours, direct = (
        peak_memory(long, "serct", Size(8, clip_s=0.5), form, CPU) for form in ("ours", "direct")
    )
    # Three tensors of all pairs of frames in each layer, at the very least.
    num_frames = len(Workload(long, "serct", Size(1), CPU).ours.positions)
    assert direct > 2 * 3 * 4 * 8 * 2 * num_frames**2
    assert ours < direct


@pytest.mark.slow
def test_command_prints_tables_and_writes_json(bench_params, tmp_path):
    import yaml

    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(bench_params.data), encoding="utf-8")
    target = tmp_path / "bench.json"
    done = serct("bench", "--quick", "--params", str(path), "--json", str(target), "--repeats", "1")
    assert done.returncode == 0, done.stderr
    assert "\nequal\n" in done.stdout
    data = json.loads(target.read_text())
    assert data["is_equal"]
    assert {figure["task"] for figure in data["figures"]} == {
        "training step", "forward", "one clip of 3 s",
    }  # fmt: skip
    assert all(figure["speedup"] > 0 for figure in data["figures"])
    assert data["memory"][0]["direct"] > 0
    assert data["about"]["machine"]["num_cores"] >= 1


@pytest.mark.slow
def test_unequal_results_are_called_so(bench_params, monkeypatch):
    suite = Suite(bench_params, "serct", CPU, repeats=1)
    monkeypatch.setattr("serct.experiments.bench.suite.peak_memory", lambda *arguments: 1)
    monkeypatch.setattr(
        "serct.experiments.bench.suite.LIMITS", {"float32": (0.0, 0.0), "float64": (0.0, 0.0)}
    )
    benchmark = suite.run(is_quick=True)
    assert not benchmark.is_equal
    assert "NOT EQUAL" in as_text(benchmark)


def test_sizes_read_well():
    assert describe(Size(16)) == "16 clips as in TESS"
    assert describe(Size(1, clip_s=3.0, num_layers=8)) == "1 clip of 3 s, 8 layers"
    assert describe(Size(2, clip_s=3.0, num_layers=1, width=256)) == (
        "2 clips of 3 s, 1 layer, width 256"
    )


@pytest.mark.slow
def test_growth_is_measured_with_everything_else(bench_params, monkeypatch):
    monkeypatch.setattr(
        "serct.experiments.bench.suite.peak_memory",
        lambda params, name, size, form, device: 1000 * size.batch_size,
    )
    benchmark = Suite(bench_params, "serct", CPU, repeats=1).run(is_quick=False)
    found = {(each.quantity, each.measure, each.form): each for each in benchmark.growth}
    by_batch = found["batch_size", "operations", "direct, float32"]
    assert by_batch.law.exponent == pytest.approx(1.0, abs=1e-3)
    assert found["clip_s", "operations", "direct, float32"].law.exponent == pytest.approx(0.0)
    assert 0.1 < found["clip_s", "operations", "ours, float32"].law.exponent < 1
    assert found["width", "operations", "ours, float32"].law.exponent > 0.1
    assert found["batch_size", "memory", "ours, float32"].values == (1000, 2000, 4000)
    figures = [f for f in benchmark.figures if f.size.width and f.precision == "float32"]
    assert len({f.size for f in figures}) == len(figures) == 10  # the common size once
    assert "| operations | length of a clip, s |" in as_text(benchmark)
