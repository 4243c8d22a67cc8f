"""Training of a model of any kind: by the loop, or by scikit-learn in one call.

It imports the one that the model needs: torch takes over a second, and so does scikit-learn.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serct import __version__
from serct.config.params import TrainParams
from serct.data.dataset import ShardDataset
from serct.errors import ParamsError, TrainingError
from serct.evaluation.metrics import METRICS
from serct.models.encoders.params import EncoderParams, UsesEncoder
from serct.models.interface import ClassicalParams, ModelParams
from serct.models.records import EpochRow
from serct.runtime import devices, distributed
from serct.training.fitted import Fitted


def fit(
    model: ModelParams,
    train: TrainParams,
    seed: int,
    train_set: ShardDataset,
    validation_set: ShardDataset,
    state_path: Path,
    on_epoch: Callable[[EpochRow], object] = lambda row: None,
    encoders: Path | None = None,
) -> Fitted:
    """Train a model and keep the epoch that validates best.

    In a group of processes all call this; each learns from its part of every batch, all end with
    the same weights, and the first alone writes the state, which all must be able to read.

    Args:
        model: What to build.
        train: How to train it.
        seed: Decides initial weights, order and dropout.
        train_set: Rows to learn from.
        validation_set: Rows that choose the epoch.
        state_path: Where the state is kept between epochs; a state of the same training found
            there is continued, any other ignored. The caller removes it once all is saved.
        on_epoch: Called after each epoch, resumed ones included.
        encoders: A folder in which the encoder of a model is looked for first, by its name.

    Raises:
        TrainingError: If there is but one emotion, the loss is no longer finite, or the device is
            not there.
        DownloadError: If the model's encoder cannot be had.
    """
    check_select_by(train.select_by)
    if len(train_set.emotions) < 2:
        raise TrainingError(
            f"the corpus {train_set.meta.corpus} has only the emotion "
            f"{', '.join(train_set.emotions)}, expected at least two to train on"
        )
    if isinstance(model, UsesEncoder):
        model = model.with_encoder(_find_encoder(model.encoder, encoders))
    if isinstance(model, ClassicalParams):
        from serct.training.classical import fit_classical

        devices.check_device(train.device)
        return fit_classical(model, train, seed, train_set, validation_set, on_epoch)
    from serct.training.loop import run_epochs

    mark = fingerprint(model, train, seed, train_set.meta.digest)
    return run_epochs(model, train, seed, mark, (train_set, validation_set), state_path, on_epoch)


def _find_encoder(encoder: EncoderParams, folder: Path | None) -> Path:
    from serct.training.encoders import find_encoder

    return find_encoder(encoder, folder / encoder.name if folder else None)


def fingerprint(model: ModelParams, train: TrainParams, seed: int, shards_digest: str) -> str:
    """Compute a digest of all that decides a training's outcome; equal for a repetition.

    Raises:
        ParamsError: If ``train.augment`` is not valid.
    """
    content: dict[str, Any] = {
        "model": model.decisive(),
        "train": model.used_settings(train), "seed": seed, "shards": shards_digest,
        "serct": __version__,
    }  # fmt: skip
    if train.augment is not None:
        from serct.training.augmentation import dump_augment

        content["train"]["augment"] = dump_augment(train.augment)
    if distributed.size() > 1:
        # Each process draws its own dropout and augmentation.
        content["processes"] = distributed.size()
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def check_select_by(name: str) -> None:
    """Check what is to choose the epoch.

    Raises:
        ParamsError: If it is neither a metric nor "loss".
    """
    known = ("loss", *METRICS)
    if name not in known:
        raise ParamsError(f"train.select_by is {name!r}, expected one of: {', '.join(known)}")
