"""The state of a training between epochs, saved without pickle."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from serct.errors import TrainingError
from serct.models.records import EpochRow
from serct.runtime import atomic

# Of the file; a training does not continue from a state in another format.
FORMAT = "2"
_SHA256 = "sha256"


@dataclass(frozen=True, eq=False)
class Learner:
    """The parts that a training changes.

    Attributes:
        module: The model that learns.
        ddp_module: The module that a step calls: the model itself, or its wrapper that averages
            gradients over all processes.
        optimizer: With its moments.
        averaged: A running average of the model, None if there is none.
    """

    module: nn.Module
    ddp_module: nn.Module
    optimizer: torch.optim.Optimizer
    averaged: AveragedModel | None

    @property
    def eval_module(self) -> nn.Module:
        """Return the model that is validated and kept: the average, if there is one."""
        return self.module if self.averaged is None else self.averaged.module


@dataclass
class TrainingState:
    """How far a training is.

    Attributes:
        fingerprint: Of the training it belongs to.
        started_at: When its first process began, ISO 8601 in UTC.
        history: One row an epoch.
        best_epoch: The epoch that validated best, 0 before the first.
        best: That epoch's weights.
    """

    fingerprint: str
    started_at: str
    history: list[EpochRow] = field(default_factory=list)
    best_epoch: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)

    @property
    def best_row(self) -> EpochRow | None:
        """Return the history's row of the best epoch, None before the first."""
        return self.history[self.best_epoch - 1] if self.best_epoch else None


def save_state(path: Path, state: TrainingState, learner: Learner) -> None:
    """Write the state, whole or not at all."""
    tensors = {f"model.{name}": tensor for name, tensor in learner.module.state_dict().items()}
    if learner.averaged is not None:
        averaged = learner.averaged.state_dict()
        tensors |= {f"averaged.{name}": tensor for name, tensor in averaged.items()}
    tensors |= {f"best.{name}": tensor for name, tensor in state.best.items()}
    for index, values in learner.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in values.items()}
    metadata = {
        "format": FORMAT, "fingerprint": state.fingerprint, "started_at": state.started_at,
        "history": json.dumps([row.columns() for row in state.history]),
        "best_epoch": str(state.best_epoch),
    }  # fmt: skip
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata |= {_SHA256: _digest(kept, metadata)}
    with atomic.replacing_file(path) as partial:
        save_file(kept, partial, metadata)


def load_state(path: Path, fingerprint: str, learner: Learner) -> TrainingState | None:
    """Load a state into a learner; return None if the file holds none of this very training.

    Raises:
        TrainingError: If the file is damaged: going on from it would be another training.
    """
    if not path.exists():
        return None
    metadata, tensors = _read(path)
    if (metadata.get("format"), metadata.get("fingerprint")) != (FORMAT, fingerprint):
        return None
    parts: dict[str, dict[str, Tensor]] = {
        "model": {}, "averaged": {}, "best": {}, "optimizer": {}
    }  # fmt: skip
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    learner.module.load_state_dict(parts["model"])
    if learner.averaged is not None:
        learner.averaged.load_state_dict(parts["averaged"])
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts["optimizer"].items():
        index, _, rest = name.partition(".")
        moments.setdefault(int(index), {})[rest] = tensor
    optimizer = learner.optimizer
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    return TrainingState(
        fingerprint=fingerprint, started_at=metadata["started_at"],
        history=[EpochRow.from_columns(row) for row in json.loads(metadata["history"])],
        best_epoch=int(metadata["best_epoch"]), best=parts["best"],
    )  # fmt: skip


def check_state(path: Path) -> None:
    """Check that a state is the one that was saved.

    Raises:
        TrainingError: If the file is damaged.
    """
    _read(path)


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    remedy = "delete it to train from the first epoch again"
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            f"{path}: damaged: not readable as the state of a training: {error}; {remedy}"
        ) from error
    expected = metadata.pop(_SHA256, None)
    # Format 1 had no digest; a training does not continue from it anyway.
    if expected is None and metadata.get("format") == "1":
        return metadata, tensors
    found = _digest(tensors, metadata)
    if found != expected:
        raise TrainingError(
            f"{path}: damaged: SHA-256 of the state {found}, expected {expected}; {remedy}"
        )
    return metadata, tensors


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Compute the SHA-256 of a state, in hex."""
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
