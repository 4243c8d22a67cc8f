"""Shows what the drift measure says of a model: held-out recordings, telephone, other corpora.

python benchmarks/drift.py --model DIR --shards DIR --other emodb=DIR --other nemo=DIR --out FILE

The recordings go through the service's own path, a real Prometheus reads its metrics with the rules
of deploy/ (each alert after 2 s, not minutes), and each phase fills the window anew. Needs
Prometheus: apt-get install --no-install-recommends prometheus.
"""

import argparse
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from serct import Predictor
from serct.config.serving import ServingParams
from serct.data.audio import Limits, read_recording
from serct.data.dataset import ShardDataset
from serct.data.preparing import resample
from serct.errors import AudioError
from serct.evaluation.conditions import Scene, read_conditions
from serct.evaluation.drift import LEAST, distance, threshold
from serct.evaluation.observation import QUANTITIES
from serct.runtime.arrays import PCM_SCALE, Floats
from serct.runtime.atomic import write_json
from serct.runtime.machine import git_commit, machine
from serct.serving.models import LoadedModel
from serct.serving.monitoring.metrics import ServiceMetrics
from tests.deploy.prometheus_process import (
    Prometheus,
    predict_all,
    running_prometheus,
    served_metrics,
)

RATE = 16_000
_USABLE = Limits(silence_peak=1e-4, max_duration_s=60.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder with a reference")
    parser.add_argument("--shards", type=Path, required=True, help="of the corpus it learned from")
    parser.add_argument("--other", action="append", default=[], help="NAME=FOLDER of recordings")
    parser.add_argument("--num", type=int, default=250, help="predictions of a phase, at most")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    program = shutil.which("prometheus")
    if program is None:
        parser.error("Prometheus is not installed: apt-get install prometheus")
    predictor = Predictor.load(arguments.model)
    card = predictor.card
    if card.reference is None:
        parser.error(f"{arguments.model}: its card has no reference; train it anew")
    held_out = list(test_part(arguments.shards, arguments.num))
    phases = {"held out": held_out, "telephone": telephone(held_out)}
    for each in arguments.other:
        name, folder = each.split("=", 1)
        phases[name] = recordings_below(Path(folder), arguments.num)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, waveforms in phases.items():
            # A service of its own, so that each window holds one phase and nothing else.
            metrics = ServiceMetrics(ServingParams(drift_predictions=arguments.num))
            model, own = LoadedModel(predictor, None), Path(folder) / name
            own.mkdir()
            with (
                served_metrics(metrics, model) as target,
                running_prometheus(program, own, target, hold_s=2) as prometheus,
            ):
                started = time.perf_counter()
                predict_all(metrics, model, waveforms, RATE)
                seconds = time.perf_counter() - started
                before = prometheus.num_evaluations()
                prometheus.wait(lambda: prometheus.num_evaluations() >= before + 6)  # noqa: B023
                found.append({"phase": name, **transcript(prometheus), "seconds": seconds})
            print(name, found[-1])
    reference = card.reference
    write_json(
        arguments.out,
        {
            "model": card.name, "trained_on": card.corpus, "fingerprint": card.fingerprint,
            "reference": {"recordings": reference.recordings, "of": reference.of},
            "phases": found, "chance": chance(reference.counts), "machine": asdict(machine()),
            "git_commit": git_commit(),
        },
    )  # fmt: skip


def test_part(shards: Path, num: int) -> Iterator[Floats]:
    dataset = ShardDataset(shards, ["test"])
    chosen = random.Random(3).sample(range(len(dataset)), min(num, len(dataset)))
    for index in chosen:
        yield dataset.recording(index).astype(np.float32) / np.float32(PCM_SCALE)


def telephone(waveforms: list[Floats]) -> Iterator[Floats]:
    (condition,) = read_conditions({"telephone": {"condition": "telephone"}})
    scene = Scene(np.random.default_rng(3), lambda num: [])
    for each in waveforms:
        yield condition.apply(each, RATE, scene)


def recordings_below(folder: Path, num: int) -> Iterator[Floats]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix in {".wav", ".flac"})
    for path in random.Random(3).sample(paths, min(num, len(paths))):
        try:
            recording = read_recording(path, _USABLE)
        except AudioError as error:
            print(error)
            continue
        yield resample(recording.waveform, recording.sample_rate, RATE, "soxr")


def transcript(prometheus: Prometheus) -> dict[str, Any]:
    """Return what Prometheus has read, and which alerts fire there."""
    read = {
        name: {
            each["metric"]["quantity"]: round(float(each["value"][1]), 4)
            for each in prometheus.query(name)
        }
        for name in ("serct_drift", "serct_drift_threshold")
    }
    (predictions,) = prometheus.query("serct_drift_predictions")
    emotions = {
        each["metric"]["emotion"]: int(each["value"][1])
        for each in prometheus.query("serct_predictions_total > 0")
    }
    return {
        "predictions": int(predictions["value"][1]),
        "distance": read["serct_drift"],
        "threshold": read["serct_drift_threshold"],
        "alerts": [list(each) for each in sorted(prometheus.firing())],
        "emotions": emotions,
    }


def chance(counts: dict[str, dict[str, int]], runs: int = 200) -> dict[str, float]:
    """Return how often unchanged input is above a threshold: at one look, and in a long run.

    Both draw what the corpus may be from the reference, then predictions from that; the long run
    is 10,000 predictions in a window of 500, looked at after each 100.
    """
    draws = np.random.default_rng(3)
    known = [tuple(each.values()) for each in counts.values()]
    compared = [each for each in known if sum(each) >= LEAST]
    alarms = np.zeros((runs, 96), bool)
    for run in range(runs):
        for reference in compared:
            shares = draws.dirichlet(np.array(reference) + 0.5)
            steps = draws.multinomial(100, shares, size=100)
            windows = np.stack([steps[start : start + 5].sum(axis=0) for start in range(96)])
            bound = threshold(reference, 500, len(QUANTITIES))
            alarms[run] |= distance(windows, np.array(reference)) > bound
    return {
        "at_one_look": float(alarms[:, 0].mean()),
        "in_10000_predictions": float(alarms.any(axis=1).mean()),
    }


if __name__ == "__main__":
    main()
