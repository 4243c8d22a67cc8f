"""Evaluation: the one place where models predict, for training, scoring and use alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from serct.config.files import as_csv
from serct.data.dataset import ShardDataset
from serct.data.shards import read_meta
from serct.emotions import in_table_order
from serct.errors import ShardError
from serct.evaluation.classifiers import Classifier, FeatureBased
from serct.evaluation.metrics import Scores, majority, score
from serct.evaluation.probabilities import checked_probabilities
from serct.evaluation.windows import Windows
from serct.models.records import Card
from serct.runtime import atomic
from serct.runtime.arrays import Probabilities


def check_rows(card: Card, shards: Path, *, is_own: bool = False) -> None:
    """Check that a model can be scored on the rows of a corpus.

    Args:
        card: The model's.
        shards: The corpus.
        is_own: Whether it must be the one that the model was trained on, divided as then.

    Raises:
        ShardError: If its rows have another rate or length than those that the model was trained
            on, or it is another corpus.
    """
    meta = read_meta(shards)
    # With "native" each corpus keeps its own rate, as in the thesis.
    rate = meta.sample_rate_hz if card.audio.sample_rate == "native" else card.sample_rate_hz
    if (meta.num_samples, meta.sample_rate_hz) != (card.audio.num_samples, rate):
        raise ShardError(
            f"{shards}: rows of {meta.num_samples} samples at {meta.sample_rate_hz} Hz, expected "
            f"{card.audio.num_samples} at {rate} Hz as model {card.name} was trained on: the "
            "preprocess stage makes them from the section audio of params.yaml"
        )
    if is_own and meta.manifest_digest != card.digests.manifest:
        raise ShardError(
            f"{shards}: {meta.corpus} with manifest {meta.manifest_digest[:12]}, but model "
            f"{card.name} was trained on {card.corpus} with {card.digests.manifest[:12]}: its test "
            "part may hold what the model was trained on; run the train stage again"
        )


def predict(
    classifier: Classifier,
    dataset: ShardDataset,
    batch_size: int,
    on_progress: Callable[[int], object] = lambda count: None,
) -> Probabilities:
    """Predict every utterance of a dataset as a whole, in its order.

    One that is longer than a row is predicted window by window, see `serct.data.windows`; where
    nobody speaks, all of it counts alike. An `AdaptiveClassifier` first adapts to all of the
    dataset's windows of a speaker, without labels; an unknown speaker counts as one without
    recordings. Features that were computed before are not computed again. In a group of processes
    all must call this: they divide the batches, and each gets all predictions.

    Returns:
        float64 [len(dataset), K]
    """
    windows = Windows.of_recordings(dataset)
    if isinstance(classifier, FeatureBased):
        features = windows.features(classifier.model, batch_size, on_progress)
        speakers = [dataset.speakers[index] for index, *_ in windows.places]
        found = classifier.predict_features(features, speakers)
    else:
        found = windows.compute(classifier, len(dataset.emotions), batch_size, on_progress)
    found = checked_probabilities(found, f"the model on {dataset.meta.corpus}")
    plans = dataset.plans
    ends = np.cumsum([len(plan.windows) for plan in plans])
    by_plan = np.split(found, ends[:-1])
    return np.stack([plan.combine(each)[0] for plan, each in zip(plans, by_plan, strict=True)])


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Predictions on a dataset and their scores.

    Attributes:
        probabilities: float64 [n, K]
        scores: Against the dataset's labels.
    """

    probabilities: Probabilities
    scores: Scores


def evaluate(
    classifier: Classifier,
    dataset: ShardDataset,
    batch_size: int,
    on_progress: Callable[[int], object] = lambda count: None,
) -> Evaluation:
    """Score a classifier on rows labelled with its own classes.

    Args:
        classifier: What to score.
        dataset: Rows whose ``emotions`` are the classifier's classes.
        batch_size: Rows at once.
        on_progress: Called with the number of rows just predicted.
    """
    probabilities = predict(classifier, dataset, batch_size, on_progress)
    return Evaluation(probabilities, score(dataset.emotions, dataset.labels, probabilities))


@dataclass(frozen=True, eq=False)
class ZeroShot:
    """Predictions on a corpus without training on it, scored on the shared emotions.

    Attributes:
        dataset: The rows with a shared emotion.
        shared: Emotions that both the model and the corpus have.
        probabilities: Over the model's classes. float64 [n, K]
        unmasked: Where any of the model's classes may be predicted.
        masked: Where only shared classes may be predicted; their probabilities are renormalised.
        is_right: Where the masked prediction is right. bool [n]
        majority: Of always predicting the most frequent shared emotion of the corpus.
    """

    dataset: ShardDataset
    shared: tuple[str, ...]
    probabilities: Probabilities
    unmasked: Scores
    masked: Scores
    is_right: npt.NDArray[np.bool_]
    majority: Scores


def evaluate_zero_shot(
    classifier: Classifier,
    emotions: Sequence[str],
    shards: Path,
    splits: Sequence[str],
    batch_size: int,
    on_progress: Callable[[int], object] = lambda count: None,
) -> ZeroShot:
    """Score a classifier on another corpus, over the emotions that both have.

    Args:
        classifier: Predicts ``emotions``.
        emotions: The classifier's classes, in its order.
        shards: The other corpus.
        splits: Which parts of it to score; all, since none was trained on.
        batch_size: Rows at once.
        on_progress: Called with the number of rows just predicted.

    Raises:
        ShardError: If the two share fewer than two emotions.

    Source:
        Thesis, section 6.2; its code numbered the labels of each corpus anew, which misaligned
        them, so scores are over one table of emotions here.
    """
    dataset = ShardDataset(shards, splits, emotions)
    shared = in_table_order(set(emotions) & set(dataset.meta.emotions))
    if len(shared) < 2:
        raise ShardError(
            f"{shards}: shares {len(shared)} emotions with the model, expected at least 2; the "
            f"model has {', '.join(emotions)}, the corpus {', '.join(dataset.meta.emotions)}"
        )
    probabilities = predict(classifier, dataset, batch_size, on_progress)
    columns = [list(emotions).index(emotion) for emotion in shared]
    actual = np.array([shared.index(row.label) for row in dataset.rows])
    masked = probabilities[:, columns]
    # A model that is certain of a class outside the shared ones leaves nothing to renormalise.
    total = masked.sum(axis=1, keepdims=True)
    masked = np.where(total > 0, masked / np.where(total > 0, total, 1), 1 / len(shared))
    most_frequent = int(np.bincount(actual).argmax())
    return ZeroShot(
        dataset=dataset,
        shared=shared,
        probabilities=probabilities,
        unmasked=score(dataset.emotions, dataset.labels, probabilities),
        masked=score(shared, actual, masked),
        is_right=masked.argmax(axis=1) == actual,
        majority=majority(shared, actual, most_frequent),
    )


def write_predictions(
    path: Path, dataset: ShardDataset, emotions: Sequence[str], probabilities: Probabilities
) -> None:
    """Write a row per utterance: speaker, actual and predicted emotion, all probabilities."""
    columns = ["utterance", "speaker", "emotion", "predicted", *(f"p_{e}" for e in emotions)]
    rows = []
    for row, values in zip(dataset.rows, probabilities, strict=True):
        best = emotions[int(values.argmax())]
        # Six digits, not decimals: where some emotions are masked, small probabilities decide.
        cells = (row.utterance, row.speaker, row.label, best, *(f"{p:.6g}" for p in values))
        rows.append(dict(zip(columns, cells, strict=True)))
    atomic.write_text(path, as_csv(rows, columns))
