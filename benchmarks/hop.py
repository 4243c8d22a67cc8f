"""Measures what frames further apart save: the full-size model with hops of 20, 40 and 60 ms.

    python benchmarks/hop.py --out build/hop.json

Training steps (a batch as in `serct bench`) and forward passes of one clip of 3 s take turns in
one process. `serct study hop` has the scores of the small model.
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path

import torch

from serct.config.reader import read_params
from serct.experiments.bench.measure import Timing, count_flops, interleave
from serct.experiments.bench.workload import Size, Workload
from serct.runtime import devices, machine
from serct.runtime.atomic import write_json

ROOT = Path(__file__).resolve().parent.parent
CPU = torch.device("cpu")
# As in `studies/hop.yaml`: which convolution is another, its kernel and its stride.
VARIANTS = {
    "hop_20": (0, 10, 5), "hop_40": (0, 20, 10), "hop_60": (0, 30, 15), "hop_40_late": (-1, 4, 4),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--params", type=Path, default=ROOT / "params.yaml")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    params = read_params(arguments.params)
    entry = params.models["serct"]
    models = {}
    for name, (index, kernel, stride) in VARIANTS.items():
        layers = list(entry["conv_layers"])
        channels, _, _, padding = layers[index]
        layers[index] = [channels, kernel, stride, padding]
        models[name] = {**entry, "conv_layers": layers}
    params = params.replace(models=params.models | models)
    precision = torch.bfloat16 if devices.computes_bfloat16(CPU) else torch.float32
    batch = Size(params.train_params("serct").batch_size)
    steps = {n: Workload(params, n, batch, CPU).step("ours", precision) for n in models}
    clip = Size(1, clip_s=3.0)
    forwards = {n: Workload(params, n, clip, CPU).forward("ours", precision) for n in models}
    rows = []
    for name, functions in (("training step", steps), ("one clip of 3 s", forwards)):
        flops = {model: count_flops(function) for model, function in functions.items()}
        timings = interleave(functions, arguments.repeats, CPU)
        usual: Timing = timings["hop_20"]
        for model, timing in timings.items():
            row = {
                "task": name,
                "model": model,
                **vars(timing),
                "flops": flops[model],
                "faster": usual.median_s / timing.median_s,
            }
            rows.append(row)
            print(
                f"{name}, {model}: {timing.median_s:.3f} s "
                f"({timing.min_s:.3f}-{timing.max_s:.3f}), {flops[model] / 1e9:,.0f} GFLOP, "
                f"{row['faster']:.1f} x"
            )
    about = {
        "machine": vars(machine.machine()),
        "date": datetime.now(UTC).date().isoformat(),
        "commit": machine.git_commit(),
        "precision": str(precision).removeprefix("torch."),
    }
    write_json(arguments.out, {**about, "rows": rows})


if __name__ == "__main__":
    main()
