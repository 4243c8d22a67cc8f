"""Everything that waits for a GPU, as a list of steps, of which the most valuable come first.

    python benchmarks/gpu.py --tess DIR --emodb DIR --work build/gpu --out build/gpu.json

Each step is a process of its own with a time limit. Its answer, or its error, goes into one JSON
file as soon as it is there. Called again, the command does what is not done yet; a training goes
on from its last whole epoch. Pretrained encoders are read from `SERCT_MIRROR`; nothing is
downloaded. Models of scikit-learn are left out: they need no GPU.

    python benchmarks/gpu.py --tess DIR --emodb DIR --device cpu --tiny ...    # a rehearsal
    python benchmarks/gpu_results.py build/gpu.json    # puts the numbers into benchmarks/results
"""

import argparse
import json
import sys
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import yaml
from full_size import state_path
from gpu_runner import Step, run_steps

from serct.config.params import Params
from serct.config.reader import read_params, read_yaml
from serct.config.section import merge
from serct.experiments.settings import compose_params
from serct.models import read_model_params
from serct.models.encoders.params import UsesEncoder
from serct.models.interface import TorchParams
from serct.runtime import devices, machine
from serct.runtime.atomic import write_text

ROOT = Path(__file__).resolve().parent.parent
HERE = Path(__file__).resolve().parent
# The text's rate: at full size the loss stays at that of chance from the first epoch on.
TEXT_RATE, TEXT_EPOCHS = 1e-3, 3
SEEDS = (4, 5)  # besides that of params.yaml
# What compiles the whole model, for minutes, comes last.
WAYS = ("cuda_graph", "flex_attention", "compile", "compile_reduce_overhead")
# Thesis 6.3 and figure 4. `studies/` has the same for the small model, whose frames are narrower.
CHANGES: dict[str, dict[str, Any]] = {
    "plain_attention": {"attention": "full"},
    "no_cnn": {"conv_layers": [[512, 400, 320, 40]]},
    "no_transformer": {"num_layers": 0},
    **{f"depth_{number}": {"num_layers": number} for number in (1, 2, 3, 5, 6)},
}
# The rate is a usual one for fine-tuning; it was not searched for.
ON_ENCODERS: dict[str, dict[str, Any]] = {
    "whisper_finetuned": {
        "base": "wavlm_network", "encoder": "whisper_tiny_en", "freeze": False,
        "train": {"learning_rate": 5e-5},
    },
}  # fmt: skip
_SMALL = {
    "conv_layers": [[8, 10, 5, 0], [16, 8, 8, 0], [16, 8, 8, 1]],
    "width": 16, "num_layers": 1, "num_heads": 2, "feed_forward": 16, "classifier_widths": [16],
}  # fmt: skip
TINY: dict[str, Any] = {
    "train": {"epochs": 2, "batch_size": 8},
    "models": {
        "serct": _SMALL,
        "serct_fast": _SMALL,
        "serct_plus": _SMALL,
        "no_cnn": {"conv_layers": [[16, 400, 320, 40]]},
        "cnn": {"channels": [4, 4]},
        "cnn_bilstm": {"channels": [4, 4], "hidden": 8},
        "lstm": {"hidden": 16},
        "mel_conformer": {"channels": [4, 8, 8], "width": 16, "num_layers": 1},
    },
}
_SLOWNESS = 10  # limits of a rehearsal, on a CPU, are so many times longer


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tess", type=Path, required=True)
    parser.add_argument("--emodb", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("build/gpu"))
    parser.add_argument("--out", type=Path, default=Path("build/gpu.json"))
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--budget-s", type=float, default=float("inf"), help="for all steps")
    parser.add_argument("--steps", nargs="+", metavar="NAME", help="these alone, in this order")
    parser.add_argument("--commit", help="of the code, where the copy has no .git")
    parser.add_argument("--tiny", action="store_true", help="small models, to rehearse")
    arguments = parser.parse_args()
    started = time.monotonic()
    params = write_params(arguments)
    steps = {step.name: step for step in list_steps(arguments, params)}
    if unknown := set(arguments.steps or ()) - steps.keys():
        parser.error(f"no step {', '.join(unknown)}, expected of: {', '.join(steps)}")
    chosen = [steps[name] for name in arguments.steps or steps]
    report = open_report(arguments.out, about(arguments, params))
    deadline = started + arguments.budget_s
    run_steps(chosen, report, arguments.out, arguments.work / "steps", deadline)
    for name, found in report["steps"].items():
        print(f"{name:32} {found['state']:12} {found.get('seconds') or 0:7.0f} s")


def write_params(arguments: argparse.Namespace) -> Params:
    """Write the params of all steps into the folder for their work."""
    variants = {name: {"base": "serct", **change} for name, change in CHANGES.items()}
    overlay: dict[str, Any] = {
        "train": {"device": arguments.device},
        "models": {**variants, **ON_ENCODERS},
    }
    if arguments.tiny:
        overlay = merge(overlay, TINY)
    content = compose_params(ROOT, {}, None, [], overlay)
    path = arguments.work / "params.yaml"
    write_text(path, yaml.safe_dump(content, sort_keys=False))
    return read_params(path)


def list_steps(arguments: argparse.Namespace, params: Params) -> list[Step]:
    """Return all steps, the most valuable first."""
    own = read_yaml(ROOT / "params.yaml")["models"]
    kinds = {name: read_model_params(params, name) for name in own}
    torch_models = [name for name, kind in kinds.items() if isinstance(kind, TorchParams)]
    on_encoders = [name for name in torch_models if isinstance(kinds[name], UsesEncoder)]
    small = [n for n in torch_models if kinds[n].architecture != "serct" and n not in on_encoders]
    with_params = ("--params", params.where)
    on_device = (*with_params, "--device", arguments.device)
    repeats = ("--repeats", "2" if arguments.tiny else "15")
    slowness = _SLOWNESS if arguments.tiny else 1

    def training(
        step: str,
        model: str,
        useful_s: float,
        limit_s: float,
        rate: float | None = None,
        epochs: int | None = None,
        seed: int = params.seed,
    ) -> Step:
        chosen = ["--rates", str(rate), "--models"] if rate else ["--rates", "--models", model]
        if epochs:
            chosen += ["--epochs", str(epochs)]
        train = params.train_params(model)
        changes = {"changes_to_serct": CHANGES[model]} if model in CHANGES else {}
        return Step(
            step,
            [*full_size, *chosen, "--seed", str(seed), "--out"],
            useful_s,
            limit_s * slowness,
            state_path(arguments.work, model, rate or train.learning_rate, seed),
            {"is_alone_on_gpu": arguments.device == "cuda", **changes},
        )

    full_size = [
        str(HERE / "full_size.py"), *with_params, "--tess", str(arguments.tess),
        "--emodb", str(arguments.emodb), "--work", str(arguments.work),
    ]  # fmt: skip
    rate = params.train_params("serct").learning_rate
    bench = ["-m", "serct.cli", "bench", "--quick", *on_device, *repeats, "--json"]
    ways = [
        Step(
            f"step_{name}",
            [str(HERE / "gpu_step.py"), *on_device, *repeats, "--variants", "eager", name, "--out"],
            30,
            200 * slowness,
        )
        for name in WAYS
    ]
    return [
        Step("bench", bench, 45, 150 * slowness, is_verdict=True),
        Step("shards", [*full_size, "--rates", "--models", "--out"], 20, 90 * slowness),
        training("serct", "serct", 60, 240, rate=rate),
        training("serct_text_rate", "serct", 30, 90, rate=TEXT_RATE, epochs=TEXT_EPOCHS),
        *ways[:2],
        *(training(name, name, 30, 180) for name in small),
        training("serct_plus", "serct_plus", 60, 240),
        training("serct_fast", "serct_fast", 60, 240),
        *ways[2:],
        *(training(name, name, 60, 240) for name in CHANGES),
        *(training(name, name, 40, 180) for name in (*ON_ENCODERS, *on_encoders)),
        *(training(f"serct_seed_{n}", "serct", 60, 240, rate=rate, seed=n) for n in SEEDS),
    ]


def about(arguments: argparse.Namespace, params: Params) -> dict[str, Any]:
    """Say what is measured, and where.

    Raises:
        TrainingError: If this machine has no such device.
    """
    device = devices.pick_device(arguments.device)
    precision = devices.pick_precision(params.train.precision, device)
    found: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "rehearsal": arguments.tiny,
        "commit": arguments.commit or machine.git_commit(),
        "machine": vars(machine.machine()),
        "device": arguments.device,
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "precision": str(precision).removeprefix("torch."),
        "split": f"TESS {params.split.protocol}, that of seed {params.seed} for every seed",
    }
    if arguments.tiny:
        found["remark"] = (
            "small models, few epochs: no score and no time of this file means anything"
        )
        found["packages"] = dict(
            sorted((each.name, each.version) for each in metadata.distributions())
        )
    return found


def open_report(path: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Return the report so far, or an empty one.

    Raises:
        SystemExit: If it is one of other code, of another machine or of a rehearsal.
    """
    if not path.exists():
        return {"about": about, "steps": {}}
    report: dict[str, Any] = json.loads(path.read_text("utf-8"))
    before = report["about"]
    found, expected = (
        {name: each[name] for name in ("rehearsal", "commit", "torch", "device")}
        | {"gpu": each["machine"]["gpu"]}
        for each in (before, about)
    )
    if found != expected:
        raise SystemExit(f"{path}: is of {found}, expected {expected}: take another --out")
    return report


if __name__ == "__main__":
    main()
