r"""A trained model as torch and as ONNX: one clip alone, and behind the service.

    python benchmarks/deployment.py --model build/voice/data/models/voice-whisper_lda \
        --clip three_seconds.wav --out FILE

`cpu_ms` is what all cores together spend on it: a machine of n cores cannot
predict more than 1000 n / cpu_ms such clips a second, whatever stands around the model. Clients and
service share the cores.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import soundfile
import torch
from load import form, saturate
from servers import serct_serve

from serct.inference.exporting import export_onnx
from serct.inference.predictor import load_classifier
from serct.models.checkpoint import load_card
from serct.runtime import machine
from serct.runtime.atomic import write_json

ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a trained model's folder")
    parser.add_argument("--clip", type=Path, required=True, help="speech at the model's rate")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each round of the service")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    machine.keep_freed_memory()
    with tempfile.TemporaryDirectory() as scratch:
        forms = {"torch, float32": arguments.model}
        for name, int8 in (("float32", False), ("int8", True)):
            forms[f"ONNX Runtime, {name}"] = Path(scratch) / name
            export_onnx(arguments.model, Path(scratch) / name, int8=int8)
        found = {
            "model": load_card(arguments.model).name,
            "date": datetime.now(UTC).date().isoformat(),
            "commit": machine.git_commit(),
            "machine": vars(machine.machine()),
            "threads": torch.get_num_threads(),
            "clip_s": soundfile.info(arguments.clip).duration,
            "alone": alone(forms, arguments),
            # The service converts a model that it is given as torch.
            "served": served({name: forms[name] for name in list(forms)[1:]}, arguments),
        }
    write_json(arguments.out, found)
    for row in (*found["alone"], *found["served"]):
        print(row)


def alone(forms: dict[str, Path], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Predict the clip with each form in turns."""
    clip = soundfile.read(arguments.clip, dtype="float32")[0][None]
    num_valid = np.array([clip.shape[1]])
    calls: dict[str, Callable[[], np.ndarray]] = {}
    for name, folder in forms.items():
        classify = load_classifier(folder, "cpu")[0]
        calls[name] = lambda classify=classify: classify(clip, num_valid)
    expected = {name: call() for name, call in calls.items()}
    walls: dict[str, list[float]] = {name: [] for name in calls}
    cpus: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(arguments.repeats):
        for name, call in calls.items():
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            walls[name].append(1000 * (time.perf_counter() - wall))
            cpus[name].append(1000 * (time.process_time() - cpu))
    first = next(iter(expected.values()))
    return [
        {
            "by": name,
            "ms": median(walls[name]),
            "min_ms": min(walls[name]),
            "max_ms": max(walls[name]),
            "cpu_ms": median(cpus[name]),
            "largest_difference": float(np.abs(expected[name] - first).max()),
        }
        for name in calls
    ]


def served(forms: dict[str, Path], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Saturate a service of each form, in rounds; the medians of the rounds."""
    content = arguments.clip.read_bytes()
    rows = []
    for name, folder in forms.items():
        with serct_serve("--model", str(folder)) as url:
            for clients in (1, arguments.clients):
                rounds = [
                    asyncio.run(
                        saturate(
                            lambda s: s.post(f"{url}/v1/predict", data=form(content)),
                            clients,
                            arguments.seconds,
                        )
                    )
                    for _ in range(ROUNDS)
                ]
                middle = {key: median(each[key] for each in rounds) for key in rounds[0]}
                rows.append({"by": name, "clients": clients, **middle})
    return rows


if __name__ == "__main__":
    main()
