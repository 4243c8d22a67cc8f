"""Training of scikit-learn's models, which are fitted in one call and not step by step.

Shapes: n clips, N samples of a row, F columns of what a model is fitted to, K emotions.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from serct.config.params import TrainParams
from serct.data.dataset import ShardDataset
from serct.evaluation.classifiers import AdaptiveClassifier, as_classifier, without_enrolment
from serct.evaluation.evaluate import predict
from serct.evaluation.importance import measure_importance
from serct.evaluation.metrics import score
from serct.evaluation.windows import Advance, Windows
from serct.models.classical.estimator import Array, LabelledRows, Progress, fill_up
from serct.models.classical.feature_classifier import FeatureClassifier
from serct.models.interface import ClassicalParams
from serct.models.records import EpochRow
from serct.runtime import devices, log
from serct.runtime.arrays import Floats
from serct.runtime.cache import FeatureCache
from serct.training.balance import Balance
from serct.training.fitted import Fitted, now

_BATCH_SIZE = 256


def fit_classical(
    model: ClassicalParams,
    train: TrainParams,
    seed: int,
    train_set: ShardDataset,
    validation_set: ShardDataset,
    on_epoch: Callable[[EpochRow], object],
) -> Fitted:
    """Fit a classical model; its history is one epoch.

    There is no epoch to choose: the model first predicts the validation part, for its scores and
    for calibration, and is then fitted anew to the training and the validation part together.

    With ``train.augment`` it learns from each clip as it is, and changed once or more often. So it
    learns what may change while the emotion stays. A speaker's changed clips count as another
    speaker's.
    With ``train.balance`` it learns from some clips several times, see `serct.training.balance`.

    Args:
        model: What to build.
        train: How to train it.
        seed: Of all random numbers.
        train_set: Rows to learn from.
        validation_set: Rows that are scored, then learned from.
        on_epoch: Called once.

    Raises:
        TrainingError: If a label is missing or single, or training diverges.
    """
    started_at, started = now(), time.perf_counter()
    if train.augment is None:
        devices.seed_numpy(seed)
    else:
        devices.seed_everything(seed, train.deterministic)
    classical = model.build(train, seed, train_set.meta.sample_rate_hz)
    sets = (train_set, validation_set)

    def extract(waveforms: Floats) -> Array:
        with _progress(f"reading clips for {model.architecture}") as show:
            return classical.extract_features(waveforms, show)

    def extract_unchanged(dataset: ShardDataset) -> Array:
        if not isinstance(classical, FeatureClassifier):
            return extract(_as_they_are(dataset))
        with log.progress(len(dataset), f"reading clips for {model.architecture}") as advance:
            return Windows.of_first_rows(dataset).features(classical, _BATCH_SIZE, advance)

    def extract_changed(dataset: ShardDataset, augment: Mapping[str, JsonValue]) -> Array:
        order, blocks = _changed(dataset, augment)
        if not isinstance(classical, FeatureClassifier):
            return extract(_stacked(list(blocks))[np.argsort(order)])
        # Features are small, and the samples of a corpus need not fit into memory.
        with log.progress(len(dataset), f"changing clips for {model.architecture}") as advance:
            found = _cached_features(classical, dataset.meta.corpus, blocks, advance)
        return found[np.argsort(order)]

    # First the clips as they are, then changed: [version][set] -> [n, F].
    versions = [[extract_unchanged(each) for each in sets]]
    if train.augment is not None:
        for _ in range(model.num_changed):
            versions.append([extract_changed(each, train.augment) for each in sets])

    def fit(num_sets: int, show: Progress) -> None:
        parts = [part for version in versions for part in version[:num_sets]]
        rows = [row for each in sets[:num_sets] for row in each.rows]
        labels = np.concatenate([each.labels for each in sets[:num_sets]])
        changes = ["", *(f", changed {number}" for number in range(1, len(versions)))]
        speakers = [f"{row.speaker}{change}" for change in changes for row in rows]
        numbers = np.tile(np.arange(len(rows)), len(versions))
        clips = LabelledRows(_stacked(parts), np.tile(labels, len(versions)), speakers, numbers)
        if train.balance:
            chosen = Balance.of(rows, train.balance).repeat(np.random.default_rng(seed))
            copies = len(rows) * np.arange(len(versions))[:, None]
            clips = clips.take((copies + chosen).ravel())
        classical.fit(clips, show)

    with _progress(f"fitting {model.architecture}") as show:
        fit(1, show)
    own = classical.predict_by_speaker(versions[0][0], train_set.speakers)
    classifier = as_classifier(classical, "cpu")
    validation = predict(classifier, validation_set, _BATCH_SIZE)
    unadapted = None
    if isinstance(classifier, AdaptiveClassifier):
        unadapted = predict(without_enrolment(classifier), validation_set, _BATCH_SIZE)
    importance = None
    if isinstance(classical, FeatureClassifier):
        labels, speakers = validation_set.labels, validation_set.speakers
        importance = measure_importance(
            classical, versions[0][1], labels, speakers, validation_set.emotions, seed
        )
    with _progress(f"fitting {model.architecture} to the validation part too") as show:
        fit(2, show)
    learned, found = (
        score(each.emotions, each.labels, probabilities)
        for each, probabilities in zip(sets, (own, validation), strict=True)
    )
    seconds = time.perf_counter() - started
    # A model that does not learn by steps has no rate.
    rate = train.learning_rate if "learning_rate" in model.settings else 0.0
    row = EpochRow(1, rate, learned.loss, learned.wa, found.loss, found.metrics, seconds)
    on_epoch(row)
    size = classical.num_parameters
    return Fitted(
        classical, validation, started_at, (row,), 1, "cpu", size, importance, unadapted
    )  # fmt: skip


@contextmanager
def _progress(what: str) -> Iterator[Progress]:
    """Show how far a step is; it reports its parts done and its parts in all."""
    with log.progress(1000, what, "per mille") as advance:
        done = 0

        def show(part: int, parts: int) -> None:
            nonlocal done
            reached = 1000 * part // parts
            advance(max(0, reached - done))
            done = max(done, reached)

        yield show


def _as_they_are(dataset: ShardDataset) -> Floats:
    return dataset.batch(np.arange(len(dataset)), dataset.meta.num_samples).waveforms


def _changed(
    dataset: ShardDataset, augment: Mapping[str, JsonValue]
) -> tuple[npt.NDArray[Any], Iterator[Floats]]:
    """Change each clip, with values from torch's generator.

    Returns:
        The places of the clips in the order of their lengths, [n], and the clips in that order, in
        blocks, [<= 256, N'].
    """
    # Only with changes does a classical model need torch.
    import torch

    from serct.training.augmentation import Augmentation

    change = Augmentation(augment, dataset.meta.sample_rate_hz)
    # A block is as long as its longest clip, and so is the work on each. Among clips of one length
    # the order is drawn: neighbours are often of one speaker, and babble is of the block.
    drawn = torch.randperm(len(dataset)).numpy()
    order = drawn[np.argsort(dataset.num_valid[drawn], kind="stable")]

    def blocks() -> Iterator[Floats]:
        for start in range(0, len(dataset), _BATCH_SIZE):
            batch = dataset.batch(order[start : start + _BATCH_SIZE])
            clips = torch.from_numpy(batch.waveforms), torch.from_numpy(batch.num_valid)
            yield change(*clips)[0].numpy()

    return order, blocks()


def _cached_features(
    model: FeatureClassifier, corpus: str, blocks: Iterable[Floats], on_progress: Advance
) -> Array:
    """Compute features, but for clips in the user's cache: same changes, same clips. [n, F]."""
    cache = FeatureCache(f"{corpus}-changed-{model.feature_key()[:16]}")
    known, added, rows = cache.read(), dict[bytes, Array](), []
    for block in blocks:
        digests = [hashlib.sha256(np.trim_zeros(each, "b").data).digest() for each in block]
        missing = [place for place, digest in enumerate(digests) if digest not in known]
        if missing:
            computed = model.extract_features(block[missing])
            added |= zip((digests[place] for place in missing), computed, strict=True)
        rows += [known[each] if each in known else added[each] for each in digests]
        on_progress(len(block))
    if added:
        cache.add(list(added), np.stack(list(added.values())))
    return np.stack(rows)


def _stacked(parts: Sequence[Array]) -> Array:
    """Stack rows, the narrower ones filled up with zeros."""
    width = max(part.shape[1] for part in parts)
    return np.concatenate([fill_up(part, width) for part in parts])
