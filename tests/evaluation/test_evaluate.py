"""One evaluation: order, classes, zero-shot masking, files."""

import csv
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from serct.data.dataset import ShardDataset
from serct.data.shards import read_meta
from serct.errors import ShardError
from serct.evaluation.classifiers import TorchClassifier
from serct.evaluation.evaluate import (
    check_rows,
    evaluate,
    evaluate_zero_shot,
    predict,
    write_predictions,
)
from serct.evaluation.metrics import majority
from serct.evaluation.records import Confusion, write_confusion
from serct.models.checkpoint import load_card
from serct.models.records import Digests
from serct.runtime.arrays import Floats, Probabilities
from serct.runtime.atomic import write_json

ALL = ["train", "validation", "test"]


class Oracle:
    """Predicts the class that the tone's zero crossings show."""

    def __init__(self, num_classes: int, columns: list[int]) -> None:
        self.num_classes, self.columns = num_classes, columns
        self.batch_sizes: list[int] = []

    def __call__(self, waveforms: Floats, num_valid: npt.NDArray[np.int64]) -> Probabilities:
        self.batch_sizes.append(len(waveforms))
        found = np.full((len(waveforms), self.num_classes), 0.01)
        for row, (waveform, length) in enumerate(zip(waveforms, num_valid, strict=True)):
            crossings = (np.diff(np.sign(waveform[:length])) != 0).sum() / length * 8000
            kind = int(np.argmin(np.abs(np.array([1500.0, 600.0, 200.0]) - crossings)))
            found[row, self.columns[kind]] = 1.0
        return found / found.sum(axis=1, keepdims=True)


def test_found_come_in_the_datasets_order_whatever_the_batch(tone_shards: Path) -> None:
    dataset = ShardDataset(tone_shards, ALL)
    oracle = Oracle(3, [0, 1, 2])
    by_seven = predict(oracle, dataset, 7)
    assert oracle.batch_sizes == [7, 7, 7, 7, 7, 1]
    np.testing.assert_array_equal(by_seven, predict(Oracle(3, [0, 1, 2]), dataset, 36))


def test_a_perfect_and_a_shifted_classifier(tone_shards: Path) -> None:
    dataset = ShardDataset(tone_shards, ALL)
    perfect = evaluate(Oracle(3, [0, 1, 2]), dataset, 8)
    assert (perfect.scores.wa, perfect.scores.ua, perfect.scores.wf1) == (1.0, 1.0, 1.0)
    assert majority(dataset.emotions, dataset.labels, 0).ua == pytest.approx(1 / 3)
    assert evaluate(Oracle(3, [1, 2, 0]), dataset, 8).scores.wa == 0.0


def test_zero_shot_uses_the_shared_emotions_by_name(tone_shards: Path) -> None:
    """The model has other classes in another order, and not the corpus' happy."""
    emotions = ("sad", "bored", "angry")
    result = evaluate_zero_shot(Oracle(3, [2, 1, 0]), emotions, tone_shards, ALL, 8)
    assert result.shared == ("angry", "sad")
    assert result.dataset.dropped == {"happy": 12}
    assert (result.unmasked.n, result.masked.n) == (24, 24)
    assert result.masked.ua == result.unmasked.ua == 1.0
    assert result.masked.confusion.shape == (2, 2)
    assert result.majority.ua == 0.5


def test_masking_forbids_the_classes_that_are_not_shared(tone_shards: Path) -> None:
    def bored_then_sad(waveforms: Floats, num_valid: npt.NDArray[np.int64]) -> Probabilities:
        return np.tile([0.2, 0.7, 0.1], (len(waveforms), 1))

    emotions = ("sad", "bored", "angry")
    result = evaluate_zero_shot(bored_then_sad, emotions, tone_shards, ALL, 8)
    assert result.unmasked.ua == 0.0
    assert result.masked.recall == {"angry": 0.0, "sad": 1.0}
    expected = -(np.log(1 / 3) + np.log(2 / 3)) / 2
    assert result.masked.loss == pytest.approx(expected)


def test_certainty_outside_the_shared_classes_is_not_a_division_by_zero(tone_shards: Path) -> None:
    def only_bored(waveforms: Floats, num_valid: npt.NDArray[np.int64]) -> Probabilities:
        return np.tile([0.0, 1.0, 0.0], (len(waveforms), 1))

    result = evaluate_zero_shot(only_bored, ("sad", "bored", "angry"), tone_shards, ALL, 8)
    assert np.isfinite(result.masked.loss)


def test_too_little_in_common_is_an_error(tone_shards: Path) -> None:
    with pytest.raises(ShardError, match="shares 1 emotions with the model, expected at least 2"):
        evaluate_zero_shot(Oracle(2, [0, 1, 0]), ("bored", "sad"), tone_shards, ALL, 8)


def test_a_torch_model_found_in_evaluation_mode_and_stays_in_its_own() -> None:
    class Noisy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dropout = torch.nn.Dropout(0.5)

        def forward(self, waveforms: torch.Tensor, num_valid: torch.Tensor) -> torch.Tensor:
            return self.dropout(waveforms)

    module = Noisy().train()
    classify = TorchClassifier(module, torch.device("cpu"))
    waveforms = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)
    first = classify(waveforms, np.full(4, 5))
    np.testing.assert_array_equal(first, classify(waveforms, np.full(4, 5)))
    np.testing.assert_allclose(first.sum(axis=1), 1)
    assert module.training


def test_files(tone_shards: Path, tmp_path: Path) -> None:
    dataset = ShardDataset(tone_shards, ["test"])
    result = evaluate(Oracle(3, [0, 1, 2]), dataset, 8)
    write_predictions(tmp_path / "p.csv", dataset, dataset.emotions, result.probabilities)
    with (tmp_path / "p.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["predicted"] for row in rows] == [row.label for row in dataset.rows]
    assert all(float(row[f"p_{row['emotion']}"]) > 0.9 for row in rows)
    write_confusion(tmp_path / "c.json", result.scores)
    confusion = Confusion.read(tmp_path / "c.json")
    assert confusion.labels == ("angry", "happy", "sad")
    assert np.trace(confusion.counts) == len(dataset)
    write_json(tmp_path / "n.json", {"loss": float("nan"), "list": [float("inf"), 1.5]})
    assert json.loads((tmp_path / "n.json").read_text()) == {"loss": None, "list": [None, 1.5]}


def test_rows_of_another_rate_length_or_corpus_are_refused(
    trained: dict[str, Path], tone_shards: Path
) -> None:
    """A swap of whole folders that are sound in themselves shows nowhere else."""
    card = load_card(trained["svm"])
    check_rows(card, tone_shards, is_own=True)

    other_rate = card.model_copy(
        update={
            "sample_rate_hz": 48000,
            "audio": card.audio.model_copy(update={"sample_rate": 48000}),
        }
    )
    expected = "rows of 8000 samples at 16000 Hz, expected 8000 at 48000 Hz as model svm"
    with pytest.raises(ShardError, match=expected):
        check_rows(other_rate, tone_shards)
    native = other_rate.model_copy(
        update={"audio": card.audio.model_copy(update={"sample_rate": "native"})}
    )
    check_rows(native, tone_shards)

    long = card.model_copy(update={"audio": card.audio.model_copy(update={"num_samples": 9000})})
    with pytest.raises(ShardError, match="expected 9000 at 16000 Hz"):
        check_rows(long, tone_shards)

    other = card.model_copy(update={"digests": Digests(manifest="f" * 64, shards="f" * 64)})
    check_rows(other, tone_shards)
    with pytest.raises(ShardError, match=r"but model svm was trained on tones with ffffffffffff"):
        check_rows(other, tone_shards, is_own=True)
    with pytest.raises(ShardError, match=r"meta\.json: shards of tones, expected those of emodb"):
        read_meta(tone_shards, "emodb")
