"""Everything that waits for a GPU, in one go: trains, tests and times the full-size models.

Needs neither DVC, MLflow nor librosa. Corpora are folders in their official layouts (wav or
flac). Each result is written as soon as it is there, so a run that is cut short keeps the rest.

    python benchmarks/full_size.py --tess DIR --emodb DIR --out build/full_size.json
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from serct.config.params import Params
from serct.config.reader import read_params
from serct.data.corpora import read_corpus_params, scan_corpus
from serct.data.dataset import ShardDataset
from serct.data.manifest import inspect_recordings
from serct.data.preprocessing import ShardPlan, write_shards
from serct.data.shards import read_meta
from serct.data.splitting import split_utterances
from serct.errors import SerctError
from serct.evaluation.classifiers import as_classifier
from serct.evaluation.evaluate import evaluate, evaluate_zero_shot
from serct.models import read_model_params
from serct.runtime import devices, log, machine
from serct.runtime.atomic import write_json
from serct.training.fitted import now
from serct.training.fitting import fit

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tess", type=Path, required=True)
    parser.add_argument("--emodb", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--params", type=Path, default=ROOT / "params.yaml")
    parser.add_argument("--work", type=Path, default=Path("build/full_size"))
    parser.add_argument("--models", nargs="*", default=None, help="after serct; all if left out")
    parser.add_argument("--rates", nargs="*", type=float, default=[1e-5, 1e-3])
    parser.add_argument("--epochs", type=int, help="instead of the params' number")
    parser.add_argument("--seed", type=int, help="of weights and order, not of the split")
    arguments = parser.parse_args()
    log.setup_logging()
    machine.keep_freed_memory()
    params = read_params(arguments.params)
    shards = {"tess": preprocess(params, "tess", arguments.tess, arguments.work)}
    if arguments.emodb:
        shards["emodb"] = preprocess(params, "emodb", arguments.emodb, arguments.work)
    report: dict[str, Any] = {
        "machine": vars(machine.machine()),
        "torch": torch.__version__,
        "seed": params.seed,
        "results": [],
    }
    write_json(arguments.out, report)
    jobs: list[tuple[str, float | None]] = [("serct", rate) for rate in arguments.rates]
    rest = arguments.models
    jobs += [(n, None) for n in (params.models if rest is None else rest) if n != "serct"]
    for name, rate in jobs:
        try:
            report["results"].append(train_and_test(params, name, rate, shards, arguments))
        except (ImportError, RuntimeError, ValueError, SerctError) as error:
            report["results"].append({"model": name, "learning_rate": rate, "error": str(error)})
        write_json(arguments.out, report)
        print(json.dumps(report["results"][-1], indent=2, default=str), flush=True)


def state_path(work: Path, name: str, rate: float, seed: int) -> Path:
    """Return where the state of a training is kept after each epoch."""
    return work / f"{name}-{rate}-{seed}.safetensors"


def preprocess(params: Params, name: str, root: Path, work: Path) -> Path:
    folder = work / "shards" / name
    if (folder / "meta.json").exists():
        return folder
    scan = scan_corpus(read_corpus_params(params, name), root)
    utterances, _ = inspect_recordings(root, scan, name, "und", params.checks)
    divided = split_utterances(utterances, params.split, params.seed)
    plan = ShardPlan(
        corpus=name,
        synthetic=False,
        protocol=params.split.protocol,
        audio=params.audio,
        checks=params.checks,
        rows_per_shard=params.preprocess.rows_per_shard,
    )
    write_shards(root, divided, folder, plan)
    return folder


def train_and_test(
    params: Params,
    name: str,
    rate: float | None,
    shards: dict[str, Path],
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    train = params.train_params(name)
    changes = {"learning_rate": rate, "epochs": arguments.epochs}
    train = train.model_copy(update={k: v for k, v in changes.items() if v is not None})
    sets = [ShardDataset(shards["tess"], [split]) for split in ("train", "validation", "test")]
    seed = params.seed if arguments.seed is None else arguments.seed
    state = state_path(arguments.work, name, train.learning_rate, seed)
    begun, started = now(), time.perf_counter()
    fitted = fit(read_model_params(params, name), train, seed, sets[0], sets[1], state)
    is_resumed = fitted.started_at < begun
    seconds = None if is_resumed else time.perf_counter() - started
    classifier = as_classifier(fitted.model, devices.pick_device(train.device))
    test = evaluate(classifier, sets[2], params.evaluate.batch_size).scores
    result: dict[str, Any] = {
        "model": name,
        "seed": seed,
        "learning_rate": train.learning_rate,
        "epochs": train.epochs,
        "best_epoch": fitted.best_epoch,
        "num_parameters": fitted.num_parameters,
        "is_resumed": is_resumed,
        "seconds": seconds,
        "seconds_per_epoch": [row.seconds for row in fitted.history],
        "train_loss": [row.train_loss for row in fitted.history],
        "validation_ua": [row.validation_ua for row in fitted.history],
        "test": test.summary(),
    }
    if torch.cuda.is_available():
        result["peak_memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
        torch.cuda.reset_peak_memory_stats()
    if "emodb" in shards:
        found = evaluate_zero_shot(
            classifier,
            sets[0].emotions,
            shards["emodb"],
            tuple(read_meta(shards["emodb"]).counts),
            params.evaluate.batch_size,
        )
        result["zero_shot_emodb"] = {
            "masked": found.masked.summary(),
            "unmasked": found.unmasked.summary(),
            "dropped": found.dataset.dropped,
        }
    return result


if __name__ == "__main__":
    main()
