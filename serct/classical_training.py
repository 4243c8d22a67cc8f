"""Training of scikit-learn's models, which are fitted whole and not step by step.

Shapes: n clips, N samples of a row.
"""

import time
from collections.abc import Callable

import numpy as np
import torch

from serct import runtime
from serct.arrays import Floats
from serct.augment_params import AugmentParams
from serct.augmentation import Augmentation
from serct.evaluation import as_classifier, evaluate
from serct.metrics import Scores
from serct.model_params import ModelParams
from serct.models import build_classical
from serct.params import TrainParams
from serct.shards import ShardDataset
from serct.training_state import EpochRow, Fitted, now

_BATCH_SIZE = 256


def fit_classical(
    model: ModelParams,
    train: TrainParams,
    seed: int,
    train_set: ShardDataset,
    validation_set: ShardDataset,
    on_epoch: Callable[[EpochRow], object],
) -> Fitted:
    """Fit a classical model; its history is one epoch.

    With ``train.augment`` it learns from each clip twice: as it is, and changed. So it is told
    what may change while the emotion stays. At another speed a voice counts as another voice.

    Args:
        model: What to build.
        train: How to train it.
        seed: Decides all that is drawn.
        train_set: Rows to learn from.
        validation_set: Rows that are scored.
        on_epoch: Called once.

    Raises:
        TrainingError: If a label is missing or single, or training diverges.
    """
    started_at, started = now(), time.perf_counter()
    classical = build_classical(model, train, seed, train_set.meta.sample_rate_hz)
    everything = train_set.batch(np.arange(len(train_set)), train_set.meta.num_samples)
    waveforms, labels, voices = everything.waveforms, everything.labels, list(train_set.speakers)
    num_copies = 1
    if train.augment is not None:
        waveforms = _with_changed(waveforms, train_set, train.augment)
        voices += [f"{voice}, changed" for voice in voices]
        num_copies = 2
    with runtime.progress(1000, f"fitting {model.architecture}", "per mille") as advance:
        done = 0

        def show(part: int, parts: int) -> None:
            nonlocal done
            reached = 1000 * part // parts
            advance(reached - done)
            done = reached

        classical.fit(waveforms, np.tile(labels, num_copies), show, voices, num_copies)
    classifier = as_classifier(classical, torch.device("cpu"))

    def scored(dataset: ShardDataset) -> Scores:
        return evaluate(classifier, dataset, _BATCH_SIZE).scores

    own, validation = scored(train_set), scored(validation_set)
    row = EpochRow(
        1, train.learning_rate, own.loss, own.wa, validation.loss, validation.wa, validation.ua,
        validation.wf1, seconds=time.perf_counter() - started,
    )  # fmt: skip
    on_epoch(row)
    return Fitted(classical, started_at, (row,), 1, "cpu", classical.num_parameters)


def _with_changed(waveforms: Floats, train_set: ShardDataset, augment: AugmentParams) -> Floats:
    """Append a changed version of each clip, drawn from torch's generator. [n, N] -> [2 n, N']."""
    change = Augmentation(augment, train_set.meta.sample_rate_hz)
    changed: list[Floats] = []
    for start in range(0, len(train_set), _BATCH_SIZE):
        indices = np.arange(start, min(start + _BATCH_SIZE, len(train_set)))
        batch = train_set.batch(indices)
        rows, _ = change(torch.from_numpy(batch.waveforms), torch.from_numpy(batch.num_valid))
        changed.append(rows.numpy())
    width = max(each.shape[1] for each in (waveforms, *changed))
    both = np.zeros((2 * len(waveforms), width), dtype=np.float32)
    start = 0
    for part in (waveforms, *changed):
        both[start : start + len(part), : part.shape[1]] = part
        start += len(part)
    return both
