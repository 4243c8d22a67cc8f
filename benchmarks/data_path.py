"""How fast shards become batches, beside reading whole padded rows, in one process.

    python benchmarks/data_path.py [--shards data/shards/tess]

Without shards it makes some of noise, as many and as long as TESS has them.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from serct.data.dataset import ShardDataset
from serct.runtime import machine
from serct.runtime.atomic import write_json
from serct.training.batches import epoch_batches

NUM_CLIPS, NUM_SAMPLES, ROWS = 2800, 144_000, 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=Path, help="of a real corpus")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    machine.keep_freed_memory()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.shards or make_shards(Path(scratch))
        dataset = ShardDataset(folder, ["train", "validation", "test"])
        batches = epoch_batches(dataset.num_valid, arguments.batch_size, 1, seed=0, epoch=1)
        lengths = {"cut": None, "whole": dataset.meta.num_samples}
        taken: dict[str, list[float]] = {name: [] for name in lengths}
        for _ in range(arguments.repeats + 1):
            for name, num_samples in lengths.items():
                started = time.perf_counter()
                for indices in batches:
                    dataset.batch(indices, num_samples)
                taken[name].append(time.perf_counter() - started)
    # The first round reads from the disk.
    rates = {name: len(dataset) / statistics.median(times[1:]) for name, times in taken.items()}
    result = {
        "clips": len(dataset),
        "mean_s": float(dataset.num_valid.mean() / dataset.meta.sample_rate_hz),
        "clips_per_s": rates,
        "ratio": rates["cut"] / rates["whole"],
        "machine": vars(machine.machine()),
    }
    print(json.dumps(result, indent=2))


def make_shards(folder: Path) -> Path:
    generator = np.random.default_rng(0)
    num_valid = (generator.triangular(1.25, 1.92, 2.985, NUM_CLIPS) * 16_000).astype(int)
    lines = ["utterance,speaker,gender,text_id,split,label,shard,row,num_valid_samples"]
    for shard in range(0, NUM_CLIPS, ROWS):
        part = num_valid[shard : shard + ROWS]
        path = folder / f"wave-{shard // ROWS:05d}.npy"
        shape = (len(part), NUM_SAMPLES)
        rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.int16, shape=shape)
        for row, count in enumerate(part):
            rows[row, :count] = generator.integers(-3000, 3000, count, dtype=np.int16)
            lines.append(f"{shard + row},s,f,t,train,angry,{shard // ROWS},{row},{count}")
        rows.flush()
    (folder / "index.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    meta = {
        "format_version": 1, "corpus": "noise", "language": "und", "synthetic": True,
        "protocol": "random", "audio": {}, "sample_rate_hz": 16_000, "num_samples": NUM_SAMPLES,
        "pcm_scale": 32768.0, "resampler": "", "emotions": ["angry"], "counts": {},
        "rows_per_shard": ROWS, "rejections": [], "manifest_digest": "", "digest": "",
    }  # fmt: skip
    write_json(folder / "meta.json", meta)
    return folder


if __name__ == "__main__":
    main()
