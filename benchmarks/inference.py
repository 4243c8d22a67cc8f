"""Measures how fast each way of inference predicts for one clip, in one process and in turns.

    python benchmarks/inference.py --out build/inference.json

The model is the full-size one with random weights; the clip is 3 s of noise in a row of 9 s.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from serct.config.reader import read_params
from serct.evaluation.classifiers import TorchClassifier
from serct.experiments.bench.measure import interleave
from serct.experiments.bench.workload import Size, Workload
from serct.inference.exporting import quantise, trace
from serct.inference.onnx_model import OnnxClassifier
from serct.runtime import machine
from serct.runtime.atomic import write_json

ROOT = Path(__file__).resolve().parent.parent
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=ROOT / "params.yaml")
    parser.add_argument("--seconds", type=float, default=3.0, help="of the clip")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    machine.keep_freed_memory()
    params = read_params(arguments.params)
    work = Workload(params, "serct", Size(1, clip_s=arguments.seconds), CPU)
    with tempfile.TemporaryDirectory() as scratch:
        plain, small = Path(scratch) / "float32.onnx", Path(scratch) / "int8.onnx"
        trace(work.ours, work.ours.num_samples, plain)
        quantise(plain, small)
        megabytes = {path.stem: path.stat().st_size / 1e6 for path in (plain, small)}
        classifiers = {
            "direct formulation, float32": TorchClassifier(work.direct, CPU),
            "torch, float32": TorchClassifier(work.ours, CPU),
            "torch, bfloat16": TorchClassifier(work.ours, CPU, torch.bfloat16),
            "ONNX Runtime, float32": OnnxClassifier(plain, torch.get_num_threads()),
            "ONNX Runtime, int8": OnnxClassifier(small, torch.get_num_threads()),
        }
    inputs = (work.waveforms.numpy(), work.num_valid.numpy())
    outputs = {name: classify(*inputs) for name, classify in classifiers.items()}
    expected = outputs["direct formulation, float32"]
    timings = interleave(
        {name: lambda c=classify: c(*inputs) for name, classify in classifiers.items()},
        arguments.repeats,
        CPU,
    )
    slowest = timings["direct formulation, float32"].median_s
    rows = [
        {
            "by": name,
            **vars(timing),
            "faster": slowest / timing.median_s,
            "largest_difference": float(np.abs(outputs[name] - expected).max()),
        }
        for name, timing in timings.items()
    ]
    write_json(
        arguments.out,
        {
            "machine": vars(machine.machine()),
            "threads": torch.get_num_threads(),
            "clip_s": arguments.seconds,
            "onnx_megabytes": megabytes,
            "rows": rows,
        },
    )
    for row in rows:
        print(
            f"{row['by']:30} {1000 * row['median_s']:7.0f} ms "
            f"({1000 * row['min_s']:.0f}-{1000 * row['max_s']:.0f}) {row['faster']:5.1f} x "
            f"probabilities differ by {row['largest_difference']:.1e}"
        )


if __name__ == "__main__":
    main()
