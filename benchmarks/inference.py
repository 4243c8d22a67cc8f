r"""Measures how fast each way of inference predicts for one clip, in one process and in turns.

    python benchmarks/inference.py --out build/inference.json

The model is the full-size one with random weights; the clip is 3 s of noise in a row of 9 s.
With a trained model, shards of the corpus that it learned from, and shards of others, it says as
well how many of their recordings each way gets right:

    python benchmarks/inference.py --model DIR --shards data/shards/tess \
      --zero-shot data/shards/emodb --out build/inference.json
"""

import argparse
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from serct.config.reader import read_params
from serct.data.dataset import ShardDataset
from serct.data.shards import read_meta
from serct.evaluation.classifiers import Classifier, TorchClassifier
from serct.evaluation.evaluate import evaluate, evaluate_zero_shot
from serct.experiments.bench.direct import DirectSerct
from serct.experiments.bench.measure import interleave
from serct.experiments.bench.workload import Size, Workload
from serct.inference.exporting import trace
from serct.inference.onnx_model import OnnxClassifier
from serct.inference.quantising import calibration_clips, quantise
from serct.models.checkpoint import load_model
from serct.models.serct import Serct
from serct.runtime import machine
from serct.runtime.arrays import Floats
from serct.runtime.atomic import write_json

ROOT = Path(__file__).resolve().parent.parent
CPU = torch.device("cpu")
DIRECT = "direct formulation, float32"
# Scored by its probabilities, to which all others are compared.
REFERENCE = "torch, float32"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--params", type=Path, default=ROOT / "params.yaml")
    parser.add_argument("--model", type=Path, help="folder of a trained serct")
    parser.add_argument("--shards", type=Path, help="of the corpus that it learned from")
    parser.add_argument("--zero-shot", type=Path, nargs="*", default=[], help="of others")
    parser.add_argument("--seconds", type=float, default=3.0, help="of the clip")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    machine.keep_freed_memory()
    params = read_params(arguments.params)
    work = Workload(params, "serct", Size(1, clip_s=arguments.seconds), CPU)
    clips: list[Floats] = list(work.waveforms.numpy())
    if arguments.model:
        model, card = load_model(arguments.model)
        assert isinstance(model, Serct)  # nothing else has a direct formulation
        work.ours, work.direct = model, DirectSerct(model)
        clips, _ = calibration_clips(arguments.shards, card.emotions)
    with tempfile.TemporaryDirectory() as scratch:
        ways = classifiers(work, clips, Path(scratch))
        megabytes = {path.stem: path.stat().st_size / 1e6 for path in Path(scratch).glob("*.onnx")}
    rows = measure(ways, work, arguments.repeats)
    if arguments.model:
        add_scores(rows, ways, card.emotions, arguments.shards, arguments.zero_shot)
    about = {
        "machine": vars(machine.machine()),
        "date": datetime.now(UTC).date().isoformat(),
        "commit": machine.git_commit(),
        "threads": torch.get_num_threads(),
        "clip_s": arguments.seconds,
        "trained": arguments.model is not None,
        "num_calibrated": len(clips),
        "onnx_megabytes": megabytes,
    }
    write_json(arguments.out, {**about, "rows": rows})
    for row in rows:
        print(describe(row))


def classifiers(work: Workload, clips: list[Floats], scratch: Path) -> dict[str, Classifier]:
    """Return every way to predict by its name; ``clips`` calibrate int8."""
    plain, anew, measured = (
        scratch / f"{name}.onnx" for name in ("float32", "int8", "int8_measured")
    )
    trace(work.ours, work.ours.num_samples, plain)
    quantise(plain, anew)
    quantise(plain, measured, clips)
    threads = torch.get_num_threads()
    return {
        DIRECT: TorchClassifier(work.direct, CPU),
        REFERENCE: TorchClassifier(work.ours, CPU),
        "torch, bfloat16": TorchClassifier(work.ours, CPU, torch.bfloat16),
        "ONNX Runtime, float32": OnnxClassifier(plain, threads),
        "ONNX Runtime, int8": OnnxClassifier(anew, threads),
        "ONNX Runtime, int8 with measured ranges": OnnxClassifier(measured, threads),
        "OpenVINO, bfloat16": OnnxClassifier(plain, threads, "bfloat16"),
        "OpenVINO, int8 with measured ranges, bfloat16": OnnxClassifier(
            measured, threads, "bfloat16"
        ),
    }


def measure(ways: Mapping[str, Classifier], work: Workload, repeats: int) -> list[dict[str, Any]]:
    """Time all ways in turns on one clip."""
    inputs = (work.waveforms.numpy(), work.num_valid.numpy())
    outputs = {name: classify(*inputs) for name, classify in ways.items()}
    functions = {name: lambda c=classify: c(*inputs) for name, classify in ways.items()}
    timings = interleave(functions, repeats, CPU)
    return [
        {
            "by": name,
            **vars(timing),
            "faster": timings[DIRECT].median_s / timing.median_s,
            "largest_difference": float(np.abs(outputs[name] - outputs[DIRECT]).max()),
        }
        for name, timing in timings.items()
    ]


def add_scores(
    rows: list[dict[str, Any]],
    ways: Mapping[str, Classifier],
    emotions: tuple[str, ...],
    shards: Path,
    others: list[Path],
) -> None:
    """Add the scores of each way, and how its probabilities differ, one recording at a time."""
    test = ShardDataset(shards, ["test"], emotions)
    expected: dict[str, Floats] = {}
    for row in rows:
        if row["by"] == DIRECT:
            continue
        classify = ways[row["by"]]
        found = evaluate(classify, test, batch_size=1)
        scored = {test.meta.corpus: (found.scores, found.probabilities)}
        for other in others:
            meta = read_meta(other)
            zero_shot = evaluate_zero_shot(
                classify, emotions, other, tuple(meta.counts), batch_size=1
            )
            scored[meta.corpus] = (zero_shot.masked, zero_shot.probabilities)
        row["scores"] = {}
        for corpus, (scores, probabilities) in scored.items():
            reference = expected.setdefault(corpus, probabilities)
            changes = np.abs(probabilities - reference).max(axis=1)
            row["scores"][corpus] = {
                "num_clips": len(probabilities),
                "wa": scores.wa,
                "ua": scores.ua,
                "same_emotion": float((probabilities.argmax(1) == reference.argmax(1)).mean()),
                "largest_difference": float(changes.max()),
                "difference_p95": float(np.quantile(changes, 0.95)),
            }
        print(describe(row), flush=True)


def describe(row: Mapping[str, Any]) -> str:
    """Return a row as a line of text."""
    scores = (
        f"; {corpus}: WA {s['wa']:.3f}, UA {s['ua']:.3f}, {s['same_emotion']:.1%} as in float32, "
        f"differ by {s['difference_p95']:.1e} (95 %), {s['largest_difference']:.1e} (all)"
        for corpus, s in row.get("scores", {}).items()
    )
    return (
        f"{row['by']:46} {1000 * row['median_s']:6.0f} ms "
        f"({1000 * row['min_s']:.0f}-{1000 * row['max_s']:.0f}) {row['faster']:4.1f} x, "
        f"differ by {row['largest_difference']:.1e}{''.join(scores)}"
    )


if __name__ == "__main__":
    main()
