"""Which learning rate trains the full-size SERCT: the thesis' text or its scripts?

Both trainings take turns, a step each, on the same batches, for a given time, so that a
machine without a GPU can compare them too. Run after the corpus has been preprocessed:

    serct repro --target preprocess@tess
    python benchmarks/learning_rate.py --shards data/shards/tess --minutes 60 --out rates.json
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from serct.config.reader import read_params
from serct.data.dataset import ShardDataset
from serct.evaluation.classifiers import TorchClassifier
from serct.evaluation.metrics import score
from serct.models import read_model_params
from serct.runtime import devices, machine
from serct.training.batches import DeviceBatches, epoch_batches
from serct.training.loop import train_step

ROOT = Path(__file__).resolve().parent.parent
RATES = {"thesis text": 1e-3, "published scripts": 1e-5}
STEPS_PER_MEAN = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--precision", default="auto", help="auto, float32 or bfloat16")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    machine.keep_freed_memory()
    params = read_params(ROOT / "params.yaml")
    model, train = read_model_params(params, "serct"), params.train_params("serct")
    train_set = ShardDataset(arguments.shards, ["train"])
    device = devices.pick_device("auto")
    train = train.model_copy(update={"precision": arguments.precision})
    trainings = {}
    for name, rate in RATES.items():
        devices.seed_everything(params.seed, deterministic=False)
        module = model.build(
            train_set.meta.num_samples, train_set.meta.sample_rate_hz, len(train_set.emotions)
        ).to(device)
        optimizer = torch.optim.Adam(module.parameters(), rate, weight_decay=train.weight_decay)
        trainings[name] = (module, optimizer)
    losses: dict[str, list[float]] = {name: [] for name in RATES}
    order = epoch_batches(train_set.num_valid, train.batch_size, 1, params.seed, epoch=1)
    started = time.monotonic()
    for step, batch in enumerate(DeviceBatches(train_set, device)(order), 1):
        for name, (module, optimizer) in trainings.items():
            torch.manual_seed(step)
            module.train()
            loss, _ = train_step(module, optimizer, train, RATES[name], batch)
            losses[name].append(loss.item())
        spent_s = time.monotonic() - started
        last = {name: round(values[-1], 3) for name, values in losses.items()}
        print(f"step {step}, {spent_s:.0f} s: {last}", flush=True)
        if spent_s > 60 * arguments.minutes:
            break
    validation = ShardDataset(arguments.shards, ["validation"])
    some = np.linspace(0, len(validation) - 1, min(56, len(validation))).astype(int)
    held_out = validation.batch(some)
    report = {
        "machine": vars(machine.machine()),
        "parameters": sum(p.numel() for p in module.parameters()),
        "steps": len(losses["thesis text"]),
        "batch_size": train.batch_size,
        "precision": arguments.precision,
        "seed": params.seed,
        "seconds": time.monotonic() - started,
        "rates": {},
    }
    for name, (module, _) in trainings.items():
        classify = TorchClassifier(module, device)
        outputs = [
            classify(held_out.waveforms[i : i + 8], held_out.num_valid[i : i + 8])
            for i in range(0, len(some), 8)
        ]
        scores = score(validation.emotions, held_out.labels, np.concatenate(outputs))
        usable = len(losses[name]) // STEPS_PER_MEAN * STEPS_PER_MEAN
        means = np.array(losses[name][:usable]).reshape(-1, STEPS_PER_MEAN).mean(axis=1)
        report["rates"][name] = {
            "learning_rate": RATES[name],
            "mean_loss_of_5_steps": means.round(4).tolist(),
            "validation": {"n": scores.n, "ua": scores.ua, "loss": scores.loss},
        }
    arguments.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report["rates"], indent=2))


if __name__ == "__main__":
    main()
