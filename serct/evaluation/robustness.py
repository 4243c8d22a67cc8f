"""UA under stated conditions, beside that of the same utterances without them."""

import hashlib
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from serct.data.dataset import ShardDataset
from serct.data.preparing import to_pcm16
from serct.evaluation.classifiers import Classifier
from serct.evaluation.conditions import Scene, StatedCondition
from serct.evaluation.evaluate import predict
from serct.evaluation.metrics import score
from serct.evaluation.records import ConditionScores, RobustnessMetrics
from serct.evaluation.significance import Interval, ua_difference, ua_interval
from serct.models.records import Card
from serct.runtime.arrays import PCM_SCALE, Floats, Pcm


class ChangedDataset(ShardDataset):
    """Some utterances of a dataset with other samples, which are in memory.

    Args:
        dataset: Where the utterances come from.
        chosen: Their positions in it.
        recordings: The samples of each. int16 [any length > 0]
    """

    def __init__(
        self, dataset: ShardDataset, chosen: Sequence[int], recordings: Sequence[Pcm]
    ) -> None:
        self.folder, self.meta, self.emotions = dataset.folder, dataset.meta, dataset.emotions
        self.dropped = dataset.dropped
        self.rows = [dataset.rows[index] for index in chosen]
        self.labels = dataset.labels[list(chosen)]
        self.lengths = np.array([len(recording) for recording in recordings])
        self.num_valid = np.minimum(self.lengths, self.meta.num_samples)
        self.speakers = [row.speaker for row in self.rows]
        self._recordings = recordings

    def clip(self, index: int) -> Pcm:
        """See `ShardDataset`."""
        return self.window(index, 0, int(self.num_valid[index]))

    def window(self, index: int, start: int, end: int) -> Pcm:
        """See `ShardDataset`."""
        return self._recordings[index][start:end]


def measure_robustness(
    card: Card,
    classifier: Classifier,
    test: ShardDataset,
    train: ShardDataset,
    conditions: Sequence[StatedCondition],
    max_utterances: int,
    batch_size: int,
    on_progress: Callable[[int], object] = lambda count: None,
) -> RobustnessMetrics:
    """Score a model under each condition, on the same utterances.

    A model that adapts to a speaker adapts to recordings under the same condition.

    Args:
        card: The model's.
        classifier: Predicts the emotions of ``test``.
        test: The test part.
        train: The training part: other speakers come from it.
        conditions: What to test.
        max_utterances: See `choose_utterances`.
        batch_size: Rows at once.
        on_progress: Called with the number of rows just predicted, `num_predictions` in all.
    """
    chosen = choose_utterances(test, max_utterances)
    labels = test.labels[chosen]
    emotions = np.array([test.rows[index].label for index in chosen])
    speakers = np.array([test.speakers[index] for index in chosen])

    def predict_changed(recordings: Sequence[Pcm]) -> npt.NDArray[np.int64]:
        changed = ChangedDataset(test, chosen, recordings)
        return np.asarray(predict(classifier, changed, batch_size, on_progress).argmax(axis=1))

    def ua_of(predicted: npt.NDArray[np.int64]) -> tuple[float, Interval]:
        one_hot = np.eye(len(test.emotions))[predicted]
        interval = ua_interval(emotions, predicted == labels, speakers)
        return score(test.emotions, labels, one_hot).ua, interval

    def count(predicted: npt.NDArray[np.int64]) -> dict[str, tuple[int, int]]:
        return {
            test.emotions[label]: (int((predicted == label)[own].sum()), int(own.sum()))
            for label, own in ((each, labels == each) for each in np.unique(labels))
        }

    clean = predict_changed([test.recording(index) for index in chosen])
    clean_ua, clean_interval = ua_of(clean)
    found = []
    for condition in conditions:
        changed = [change_recording(test, index, condition, train) for index in chosen]
        predicted = predict_changed([recording for recording, _ in changed])
        ua, interval = ua_of(predicted)
        measured = [each for _, each in changed]
        found.append(
            ConditionScores(
                label=condition.label,
                entry=dict(condition.entry),
                ua=ua,
                ua_interval=interval,
                change=ua - clean_ua,
                change_interval=ua_difference(labels, predicted == labels, clean == labels),
                changed=float((predicted != clean).mean()),
                measured={
                    unit: float(np.mean([each[unit] for each in measured])) for unit in measured[0]
                },
                counts=count(predicted),
            )
        )
    return RobustnessMetrics(
        model=card.name,
        corpus=card.corpus,
        fingerprint=card.fingerprint,
        n=len(chosen),
        of=len(test),
        ua=clean_ua,
        ua_interval=clean_interval,
        conditions=tuple(found),
        counts=count(clean),
    )


def num_predictions(test: ShardDataset, conditions: Sequence[object], max_utterances: int) -> int:
    """Return how many rows `measure_robustness` predicts."""
    return min(len(test), max_utterances) * (1 + len(conditions))


def choose_utterances(dataset: ShardDataset, max_utterances: int) -> list[int]:
    """Choose utterances, of each emotion as many as there are of the others, if it has so many.

    Hashes of their names decide: every machine chooses alike, and of two choices the larger holds
    the smaller.

    Returns:
        Positions in the dataset, rising; all of them if it has no more than ``max_utterances``.
    """
    order = sorted(range(len(dataset)), key=lambda index: _digest(dataset, index))
    ranks: dict[int, int] = {}
    seen = [0] * len(dataset.emotions)
    for index in order:
        label = int(dataset.labels[index])
        ranks[index] = seen[label]
        seen[label] += 1
    return sorted(sorted(order, key=lambda index: ranks[index])[:max_utterances])


def change_recording(
    test: ShardDataset, index: int, condition: StatedCondition, train: ShardDataset
) -> tuple[Pcm, dict[str, float]]:
    """Return an utterance as it is under a condition, and what the condition measured.

    What is drawn at random depends on the utterance's name alone.
    """
    random = np.random.default_rng(int.from_bytes(_digest(test, index)))
    scene = Scene(random, partial(_draw_others, train, test.speakers[index], random))
    rate_hz = test.meta.sample_rate_hz
    changed = condition.apply(_waveform(test.recording(index)), rate_hz, scene)
    return to_pcm16(changed), scene.measured


def _draw_others(
    dataset: ShardDataset, speaker: str, random: np.random.Generator, count: int
) -> list[Floats]:
    """Return recordings of other speakers; of all speakers if the dataset has one alone."""
    others = [index for index, name in enumerate(dataset.speakers) if name != speaker]
    from_where = others or range(len(dataset))
    drawn = random.choice(from_where, min(count, len(from_where)), replace=False)
    return [_waveform(dataset.recording(int(index))) for index in drawn]


def _waveform(recording: Pcm) -> Floats:
    return recording.astype(np.float32) / np.float32(PCM_SCALE)


def _digest(dataset: ShardDataset, index: int) -> bytes:
    row = dataset.rows[index]
    return hashlib.sha256(f"{row.corpus}/{row.utterance}".encode()).digest()
