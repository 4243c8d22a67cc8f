"""Training: the one loop for every torch model; `classical` fits scikit-learn's.

The loop can be killed at any moment: its whole state is saved after each epoch, and every epoch
seeds its random numbers from (seed, epoch) alone. So a resumed training ends with the same weights
as an uninterrupted one.
"""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from serct.config.params import TrainParams
from serct.data.dataset import ShardDataset
from serct.errors import TrainingError
from serct.evaluation.classifiers import TorchClassifier
from serct.evaluation.evaluate import evaluate, predict
from serct.models.interface import TorchParams
from serct.models.records import EpochRow
from serct.runtime import devices, distributed, log
from serct.training.augmentation import Augmentation
from serct.training.balance import Balance
from serct.training.batches import DeviceBatches, TensorBatch, epoch_batches
from serct.training.estimate import Estimate
from serct.training.fitted import Fitted, now
from serct.training.state import Learner, TrainingState, load_state, save_state


def run_epochs(
    model: TorchParams,
    train: TrainParams,
    seed: int,
    mark: str,
    sets: tuple[ShardDataset, ShardDataset],
    state_path: Path,
    on_epoch: Callable[[EpochRow], object],
) -> Fitted:
    """Train a torch model; see `serct.training.fitting.fit`.

    Args:
        model: What to build.
        train: How to train it.
        seed: See `fit`.
        mark: The fingerprint of this training, which its state must have.
        sets: Rows to learn from, and rows that choose the epoch.
        state_path: See `fit`.
        on_epoch: See `fit`.
    """
    devices.seed_everything(seed, train.deterministic)
    device = devices.pick_device(train.device)
    train_set, validation_set = sets
    module = model.build(
        train_set.meta.num_samples, train_set.meta.sample_rate_hz, len(train_set.emotions)
    ).to(device)
    learner = make_learner(module, train)
    state = load_state(state_path, mark, learner) or TrainingState(mark, now())
    distributed.check_agreement(
        len(state.history), f"epochs done in {state_path}, which all must share"
    )
    for past in state.history:
        on_epoch(past)
    if state.history:
        log.logger.info("resuming after epoch %d", len(state.history))
    classifier = TorchClassifier(learner.eval_module, device)
    batches = DeviceBatches(train_set, device)
    estimate = Estimate(
        train.epochs - len(state.history), math.ceil(len(train_set) / train.batch_size), device,
        devices.pick_precision(train.precision, device),
    )  # fmt: skip
    for epoch in range(len(state.history) + 1, train.epochs + 1):
        started = time.perf_counter()
        train_loss, train_wa, rate = _train_epoch(learner, train, seed, epoch, batches, estimate)
        distributed.share_buffers(learner.eval_module)
        scores = evaluate(classifier, validation_set, train.batch_size).scores
        seconds = time.perf_counter() - started
        row = EpochRow(epoch, rate, train_loss, train_wa, scores.loss, scores.metrics, seconds)
        is_best = is_better(row, state.best_row, train.select_by)
        state.history.append(row)
        if is_best:
            state.best_epoch = epoch
            weights = learner.eval_module.state_dict()
            state.best = {name: value.detach().cpu().clone() for name, value in weights.items()}
        if distributed.rank() == 0:
            save_state(state_path, state, learner)
        on_epoch(row)
        log.logger.info(
            "epoch %d/%d: loss %.4f (train), %.4f (validation), UA %.4f, %.1f s",
            epoch, train.epochs, train_loss, scores.loss, scores.ua, row.seconds,
        )  # fmt: skip
    learner.eval_module.load_state_dict(state.best)
    validation = predict(classifier, validation_set, train.batch_size)
    num_parameters = sum(p.numel() for p in module.parameters())
    return Fitted(
        learner.eval_module, validation, state.started_at, tuple(state.history), state.best_epoch,
        str(device), num_parameters,
    )  # fmt: skip


def make_learner(module: nn.Module, train: TrainParams) -> Learner:
    """Create a model's optimizer and, with ``train.weight_average``, its running average."""
    device = next(module.parameters()).device
    optimizer = torch.optim.Adam(
        module.parameters(), lr=train.learning_rate, weight_decay=train.weight_decay,
        fused=device.type in {"cpu", "cuda"},
    )  # fmt: skip
    averaged = None
    if train.weight_average is not None:
        update = get_ema_multi_avg_fn(train.weight_average)  # type: ignore[no-untyped-call]
        averaged = AveragedModel(module, multi_avg_fn=update, use_buffers=True)
    return Learner(module, distributed.synchronised(module), optimizer, averaged)


def is_better(row: EpochRow, best: EpochRow | None, select_by: str) -> bool:
    """Check whether an epoch beats the best so far; of equals the lower loss, then the earlier."""

    def rank(candidate: EpochRow) -> tuple[float, float]:
        value = 0.0 if select_by == "loss" else candidate.validation[select_by]
        return (value, -candidate.validation_loss)

    return best is None or rank(row) > rank(best)


def learning_rate(train: TrainParams, progress: float) -> float:
    """Compute the learning rate at a moment of training.

    Args:
        train: Holds the schedule.
        progress: Epochs done, with the fraction of the running one: 0 at the start,
            ``train.epochs`` at the end.
    """
    schedule = train.schedule
    if schedule.name == "step":
        drops = int(progress) // schedule.step_epochs
        return float(train.learning_rate * schedule.gamma**drops)
    done = progress / train.epochs
    warmup = schedule.warmup_fraction
    if done < warmup:
        return train.learning_rate * done / warmup
    return train.learning_rate * 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


def _train_epoch(
    learner: Learner,
    train: TrainParams,
    seed: int,
    epoch: int,
    batches: DeviceBatches,
    estimate: Estimate,
) -> tuple[float, float, float]:
    """Train one epoch; return mean loss, accuracy and the last learning rate."""
    torch.manual_seed(seed * 1_000_003 + epoch + distributed.rank() * 1_000_000_007)
    device, dataset = batches.device, batches.dataset
    balance = Balance.of(dataset.rows, train.balance) if train.balance else None
    order = epoch_batches(
        dataset.num_valid, train.batch_size, train.bucket_batches, seed, epoch, balance
    )
    sizes = [len(batch) for batch in order]
    order = distributed.share(order)
    rates = [
        learning_rate(train, epoch - 1 + (step + 1) / (len(order) + 1))
        for step in range(len(order))
    ]
    losses: list[torch.Tensor] = []
    hits = torch.zeros((), dtype=torch.long, device=device)
    augment = Augmentation(train.augment, dataset.meta.sample_rate_hz) if train.augment else None
    learner.module.train()
    with (
        log.progress(len(order), f"epoch {epoch}/{train.epochs}", "steps") as advance,
        devices.tensor_float32(is_allowed=train.precision == "tf32"),
    ):
        for batch, batch_size, rate in zip(batches(order), sizes, rates, strict=True):
            if augment is not None:
                waveforms, num_valid = augment(batch.waveforms, batch.num_valid)
                batch = replace(batch, waveforms=waveforms, num_valid=num_valid)
            loss, num_right = train_step(
                learner.ddp_module, learner.optimizer, train, rate, batch, batch_size
            )
            if learner.averaged is not None:
                learner.averaged.update_parameters(learner.module)
            losses.append(loss * len(batch.labels))
            hits += num_right
            # Reading a loss waits for the device; only on a CPU is it already computed.
            if device.type == "cpu":
                _check_finite(losses[-1:], epoch, rates, len(losses) - 1)
            advance()
            estimate.count_step()
    _check_finite(losses, epoch, rates)
    loss_sum = distributed.total(torch.stack(losses).sum()).item()
    return loss_sum / len(dataset), distributed.total(hits).item() / len(dataset), rates[-1]


def train_step(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    train: TrainParams,
    rate: float,
    batch: TensorBatch,
    batch_size: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Take one optimizer step without waiting for the device.

    Args:
        module: The model, of a group of processes `distributed.synchronised`.
        optimizer: Of its parameters.
        train: How to train.
        rate: The learning rate.
        batch: Clips to learn from, of a group of processes this one's part.
        batch_size: Clips of all parts together; those of ``batch`` if None.

    Returns:
        The mean loss over ``batch`` and how many of its clips were predicted right.
    """
    device = batch.waveforms.device
    precision = devices.pick_precision(train.precision, device)
    for group in optimizer.param_groups:
        group["lr"] = rate
    with torch.autocast(device.type, precision, enabled=precision != torch.float32):
        logits = module(batch.waveforms, batch.num_valid)
    loss = functional.cross_entropy(
        logits.float(), batch.labels, label_smoothing=train.label_smoothing
    )
    optimizer.zero_grad(set_to_none=True)
    # The mean over processes of these is the mean over all clips, however they are divided.
    share = len(batch.labels) / (batch_size or len(batch.labels)) * distributed.size()
    (loss if share == 1 else loss * share).backward()  # type: ignore[no-untyped-call]
    if train.gradient_clip is not None:
        nn.utils.clip_grad_norm_(module.parameters(), train.gradient_clip)
    optimizer.step()
    return loss.detach(), (logits.argmax(dim=-1) == batch.labels).sum()


def _check_finite(
    losses: list[torch.Tensor], epoch: int, rates: list[float], first_step: int = 0
) -> None:
    is_finite = torch.isfinite(torch.stack(losses)).tolist()
    if not all(is_finite):
        step = first_step + is_finite.index(False)
        raise TrainingError(
            f"the loss is no longer finite in epoch {epoch}, step {step + 1}, at learning rate "
            f"{rates[step]:.2g}; the last good epoch is kept. Lower train.learning_rate, or set "
            "train.gradient_clip"
        )
