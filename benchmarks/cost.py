"""What an hour of speech costs in each stage, on this machine: the numbers of docs/how-to/scale.md.

    SERCT_MIRROR=DIR python benchmarks/cost.py --out cost.json

Each stage of the `cpu` profile runs once on TESS, one epoch of training each, in a scratch
workspace. Times are of whole processes, so that they hold what a stage costs beside its work.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from serct.runtime.machine import git_commit, machine

CORPUS = "tess"
ENCODER = "whisper_tiny_en"
NETWORKS = ("serct", "mel_conformer", "cnn", "cnn_bilstm", "lstm")
# These learn in one go; each makes its own features first.
CLASSICAL = ("mfcc_svm", "functionals_lda", "whisper_lda", "mlp", "svm")
SCORED = ("serct", "functionals_lda", "whisper_lda")
SHOWN = {"serct": "serct (small)"}
STAGES = {
    "download (from a mirror), verify": f"download@{CORPUS}",
    "manifest": f"manifest@{CORPUS}",
    "preprocess": f"preprocess@{CORPUS}",
    **{f"train {SHOWN.get(m, m)}, one epoch": f"train@{m}-{CORPUS}" for m in NETWORKS},
    **{f"train {m}": f"train@{m}-{CORPUS}" for m in CLASSICAL},
}
SETTINGS: dict[str, object] = {
    "pipeline.corpora": [CORPUS],
    "pipeline.train_corpora": [CORPUS],
    "pipeline.zero_shot_corpora": [],
    "pipeline.encoders": [ENCODER],
    "pipeline.models": [*NETWORKS, *CLASSICAL],
    **{f"models.{name}.train.epochs": 1 for name in NETWORKS},
    "models.mel_conformer.train.precision": "bfloat16",
}


def timed(*arguments: str) -> float:
    """Run one command of serct; its wall time in s."""
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "serct.cli", *arguments], check=True, stdout=sys.stderr)
    return time.monotonic() - started


def size_gb(folder: Path) -> float:
    """What a folder's files take on the disk; holes take nothing."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file()) / 1e9


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        workspace = Path(scratch) / "workspace"
        common = ["--profile", "cpu", "--workspace", str(workspace)]
        for key, value in SETTINGS.items():
            common += ["--set", f"{key}={json.dumps(value)}"]
        # Features that an earlier run kept would cost nothing.
        os.environ["SERCT_CACHE"] = f"{scratch}/cache"
        timed("repro", *common, "--target", f"download_encoder@{ENCODER}")
        seconds = {
            name: timed("repro", *common, "--target", target) for name, target in STAGES.items()
        }
        # Nothing to build: what a command costs before any work is done.
        idle = timed("repro", *common, "--target", f"download@{CORPUS}")
        data = workspace / "data"
        for name in SCORED:
            seconds[f"score by {SHOWN.get(name, name)}"] = timed(
                "score", str(data / "raw" / CORPUS), "--out", f"{scratch}/scores-{name}",
                "--model", str(data / f"models/{CORPUS}-{name}"), "--workspace", str(workspace),
            )  # fmt: skip
        manifest = pd.read_csv(data / f"manifests/{CORPUS}.csv")
        hours = float(manifest["duration_s"].sum()) / 3600
        train_hours = float(manifest.loc[manifest["split"] == "train", "duration_s"].sum()) / 3600
        stored = {
            "recordings (FLAC or as they come)": size_gb(data / "raw" / CORPUS) / hours,
            "shards": size_gb(data / "shards" / CORPUS) / hours,
            "manifest": size_gb(data / "manifests") / hours,
        }
    rows = [
        {
            "stage": name,
            "seconds": took,
            "seconds_per_hour": max(0.0, took - idle)
            / (train_hours if name.startswith("train") else hours),
        }
        for name, took in seconds.items()
    ]
    content = {
        "corpus": CORPUS,
        "clips": len(manifest),
        "hours": hours,
        "hours_trained_on": train_hours,
        "idle_seconds": idle,
        "stages": rows,
        "gb_per_hour": stored,
        "machine": asdict(machine()),
        "commit": git_commit(),
        "date": time.strftime("%Y-%m-%d"),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(content, indent=2) + "\n")
    for row in rows:
        print(f"{row['stage']:36s} {row['seconds_per_hour']:9.1f} s per hour of speech")
    for name, gigabytes in stored.items():
        print(f"{name:36s} {gigabytes * 1000:9.1f} MB per hour of speech")


if __name__ == "__main__":
    main()
