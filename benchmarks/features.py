"""Measures how many clips of 3 s a second have their features computed, beside librosa's formulas.

    OMP_NUM_THREADS=1 python -m benchmarks.features --json FILE

In turns, in one process, then in as many processes as there are cores, each with one thread. Beside
clips a second it gives clips a second of processor time, which other work on the machine hardly
changes.
"""

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np

from serct.config.reader import read_params
from serct.models import read_model_params
from serct.models.interface import ClassicalParams
from serct.runtime import atomic
from serct.runtime.machine import machine
from tests.feature_oracles import cepstra, functionals, speech

ROOT = Path(__file__).resolve().parent.parent
RATE_HZ, CLIP_S = 16_000, 3
ORACLES = {"functionals_lda": functionals, "mfcc_svm": cepstra}
Features = Callable[[np.ndarray], np.ndarray]


def ours(name: str) -> Features:
    params = read_params(ROOT / "params.yaml")
    model = read_model_params(params, name)
    assert isinstance(model, ClassicalParams)
    built = model.build(params.train_params(name), params.seed, RATE_HZ)
    return lambda clip: built.extract_features(clip[None])[0]


def make(way: str, name: str) -> Features:
    return ours(name) if way == "ours" else partial(ORACLES[name], rate=RATE_HZ)


def timed(way: str, name: str, num_clips: int) -> tuple[float, float]:
    """Compute the features of some clips; return the seconds, and those of the processor."""
    compute = make(way, name)
    clips = [speech(seed, RATE_HZ, CLIP_S * RATE_HZ) for seed in range(num_clips)]
    compute(clips[0])
    wall, busy = time.perf_counter(), time.process_time()
    for clip in clips:
        compute(clip)
    return time.perf_counter() - wall, time.process_time() - busy


def difference(name: str) -> float:
    """Return the largest difference of a feature, relative to it, or to 1 where it is smaller."""
    clip = speech(0, RATE_HZ, CLIP_S * RATE_HZ)
    found, expected = (make(way, name)(clip) for way in ("ours", "direct"))
    return float((np.abs(found - expected) / np.maximum(np.abs(expected), 1)).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=40, help="a round, way and process")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    rows = []
    for name in ORACLES:
        for num_processes in sorted({1, os.cpu_count() or 1}):
            with ProcessPoolExecutor(num_processes) as pool:
                found: dict[str, list[tuple[float, float]]] = {"direct": [], "ours": []}
                for _ in range(arguments.rounds):
                    for way, results in found.items():
                        jobs = [
                            pool.submit(timed, way, name, arguments.clips)
                            for _ in range(num_processes)
                        ]
                        seconds = np.array([job.result() for job in jobs])
                        results.append((seconds[:, 0].max(), seconds[:, 1].mean()))
            for way, results in found.items():
                wall, busy = np.median(results, axis=0)
                rows.append(
                    {
                        "model": name,
                        "by": way,
                        "processes": num_processes,
                        "clips_a_second": round(float(num_processes * arguments.clips / wall), 1),
                        "clips_a_cpu_second": round(float(arguments.clips / busy), 1),
                    }
                )
                print(rows[-1], flush=True)
    content = {
        "machine": vars(machine()),
        "date": datetime.now(UTC).date().isoformat(),
        "clip_s": CLIP_S,
        "clips": arguments.clips,
        "rounds": arguments.rounds,
        "load_average": round(os.getloadavg()[0], 1),
        "largest_relative_difference": {name: difference(name) for name in ORACLES},
        "rows": rows,
    }
    atomic.write_json(arguments.json, content)


if __name__ == "__main__":
    main()
