"""The tables of `serct bench`, in Markdown."""

from collections.abc import Sequence

from serct.experiments.bench.growth import as_rows
from serct.experiments.bench.measure import Timing
from serct.experiments.bench.suite import Benchmark
from serct.experiments.bench.workload import describe

_EXPONENTS = (
    "Exponent of the power law (slopes between neighbouring sizes, least to most). 1: doubles "
    "with the size; 0: does not grow. off by: of the value farthest from its law."
)


def as_text(benchmark: Benchmark) -> str:
    """Return the tables and whether results are equal, in Markdown."""
    about = benchmark.about
    machine = about["machine"]
    peaks = ", ".join(f"{peak / 1e9:,.0f} in {name}" for name, peak in about["peak_flops"].items())
    lines = [
        f"{machine['gpu'] if about['device'] == 'cuda' else machine['cpu']}, "
        f"{about['threads']} threads, PyTorch {about['torch']}, {about['date']}; "
        f"rows of {about['num_samples']:,} samples; GFLOP/s of a matrix product: {peaks}",
        "",
    ]
    for precision, found in benchmark.differences.items():
        lines.append(
            f"{precision}: logits differ by {found.logits:.1e}, gradients by {found.gradients:.1e} "
            f"(single weight: {found.worst_gradient:.1e})"
        )
    for precision, each in benchmark.rounded.items():
        lines.append(
            f"{precision} beside the direct formulation in float32: logits differ by "
            f"{each.ours.logits:.1e} (the direct one's by {each.direct.logits:.1e}), gradients by "
            f"{each.ours.gradients:.1e} ({each.direct.gradients:.1e})"
        )
    lines += ["equal" if benchmark.is_equal else "NOT EQUAL", ""]
    rows = [("task", "size", "ours in", "ours s", "direct s", "faster", "GFLOP", "direct", "peak")]
    rows += [
        (
            f.task, describe(f.size), f.precision, _spread(f.ours), _spread(f.direct),
            f"{f.speedup:.1f} x", f"{f.ours_flops / 1e9:,.0f}", f"{f.direct_flops / 1e9:,.0f}",
            f"{f.share_of_peak:.0%}",
        )
        for f in benchmark.figures
    ]  # fmt: skip
    lines += [
        *_table(rows),
        "",
        "Median (least-most) of each. peak: share of a matrix product.",
        "",
    ]
    memory = [("memory of a training step", "ours MB", "direct MB", "part")]
    memory += [
        (describe(m.size), f"{m.ours / 1e6:,.0f}", f"{m.direct / 1e6:,.0f}",
         f"{m.ours / m.direct:.2f}")
        for m in benchmark.memory
    ]  # fmt: skip
    lines += _table(memory)
    if benchmark.growth:
        lines += ["", *_table(as_rows(benchmark.growth)), "", _EXPONENTS]
    return "\n".join(lines)


def _spread(timing: Timing) -> str:
    return f"{timing.median_s:.3g} ({timing.min_s:.3g}-{timing.max_s:.3g})"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    body = [
        "| " + " | ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    return [body[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *body[1:]]
