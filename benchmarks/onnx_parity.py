"""Compares exports to ONNX with the models they come from, on the test part of a corpus.

    python benchmarks/onnx_parity.py MODEL... --shards data/shards/emodb --out build/onnx-cpu.json

For each model: the largest difference of a probability, the size of the export, and the time of one
clip in both, measured in turns on one thread.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from serct.data.dataset import ShardDataset
from serct.evaluation.classifiers import as_classifier, without_enrolment
from serct.inference.exporting import export_onnx
from serct.inference.onnx_model import CLIP_FILE, MODEL_FILE, WEIGHTS_FILE, OnnxClassifier
from serct.models.checkpoint import load_model
from serct.runtime import machine
from serct.runtime.atomic import write_json

_BATCH = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+", help="folders of trained models")
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for folder in arguments.models:
        row = compare(folder, arguments.shards, arguments.clips)
        rows.append(row)
        print(
            f"{row['model']:26} differ by {row['largest_difference']:.1e}, "
            f"{row['onnx_megabytes']:6.2f} MB, {row['own_ms']:6.1f} ms, "
            f"ONNX {row['onnx_ms']:6.1f} ms, {row['faster']:.2f} x",
            flush=True,
        )
        content = {
            "machine": vars(machine.machine()),
            "date": datetime.now(UTC).date().isoformat(),
            "threads": 1,
            "clips": arguments.clips,
        }
        write_json(arguments.out, {**content, "shards": arguments.shards.name, "rows": rows})


def compare(folder: Path, shards: Path, num_clips: int) -> dict[str, object]:
    """Export one model and compare it on the first clips of the test part."""
    model, card = load_model(folder)
    own = without_enrolment(as_classifier(model, "cpu"))
    dataset = ShardDataset(shards, ["test"], card.emotions)
    with tempfile.TemporaryDirectory() as scratch:
        exported_to = Path(scratch) / "onnx"
        started = time.perf_counter()
        note = export_onnx(folder, exported_to)
        export_s = time.perf_counter() - started
        files = (MODEL_FILE, WEIGHTS_FILE, CLIP_FILE)
        size = sum(p.stat().st_size for name in files if (p := exported_to / name).exists())
        exported = OnnxClassifier(exported_to / MODEL_FILE, 1)
    differences, seconds = [], ([], [])  # type: ignore[var-annotated]
    most = card.audio.num_samples
    places = range(min(num_clips, len(dataset)))
    for start in range(0, len(places), _BATCH):
        batch = dataset.batch(places[start : start + _BATCH])
        waveforms = np.ascontiguousarray(batch.waveforms[:, :most])
        num_valid = np.minimum(batch.num_valid, most)
        found, expected = exported(waveforms, num_valid), own(waveforms, num_valid)
        differences.append(float(np.abs(found - expected).max()))
    for place in places:
        clip = dataset.batch([place])
        inputs = (np.ascontiguousarray(clip.waveforms[:, :most]), np.minimum(clip.num_valid, most))
        for classify, times in zip((own, exported), seconds, strict=True):
            times.append(_seconds(lambda c=classify, i=inputs: c(*i)))  # type: ignore[misc]
    own_s, onnx_s = (statistics.median(times) for times in seconds)
    return {
        "model": card.name,
        "architecture": card.architecture["architecture"],
        "corpus": card.corpus,
        "clips": len(places),
        "largest_difference": max(differences),
        "difference_on_noise": note.difference,
        "onnx_megabytes": size / 1e6,
        "export_s": export_s,
        "own_ms": 1000 * own_s,
        "onnx_ms": 1000 * onnx_s,
        "faster": own_s / onnx_s,
    }


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
