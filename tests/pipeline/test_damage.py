"""A file that was damaged is an error that names it: never another result."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from serct import Predictor
from serct.data.dataset import ShardDataset
from serct.data.shards import ZeroShotTargets
from serct.errors import CheckpointError, SerctError, ShardError
from serct.evaluation.classifiers import as_classifier
from serct.evaluation.evaluate import evaluate, write_predictions
from serct.evaluation.records import write_confusion, write_metrics
from serct.evaluation.summary import summarise_test
from serct.experiments.studies.results import STUDY_FILE, read_studies
from serct.models.checkpoint import load_model
from serct.models.records import EpochRow
from serct.reports.model_card import model_card
from serct.runtime.atomic import write_json
from serct.tracking.folders import ModelFolder, ResultsFolder
from serct.tracking.promotions import append_promotion, read_promotions
from serct.training.state import Learner, TrainingState, load_state, save_state
from tests.conftest import ROOT
from tests.tracking.test_promotions import entry

CLIP = 0.3 * np.sin(np.arange(4000) / 5)


@dataclass(frozen=True)
class Kind:
    """A kind of file that is read again.

    Attributes:
        path: Of the file, in `files`.
        read: Reads the folder as its users do, and returns something to compare.
    """

    path: str
    read: Callable[[Path], object]


def read_model(folder: Path) -> object:
    found = ModelFolder.read(folder)
    return found.history, found.run, found.card, Predictor.load(folder).predict(CLIP, 16000)


def read_rows(folder: Path) -> object:
    dataset = ShardDataset(folder, ["train", "validation", "test"])
    samples = dataset.batch(np.arange(len(dataset))).waveforms
    return samples.tobytes(), dataset.rows, dataset.meta.as_json()


def read_results(folder: Path) -> object:
    found = ResultsFolder.read(folder)
    predictions = (folder / "predictions.csv").read_text(encoding="utf-8")
    return found.metrics, list(found.confusions()), predictions


def read_targets(folder: Path) -> object:
    return ZeroShotTargets.read(folder / "zero_shot_targets.json")


def read_state(folder: Path) -> object:
    learner = make_learner()
    state = load_state(folder / "state.safetensors", "of this training", learner)
    assert state is not None
    return state.history, state.best_epoch, state.best["weight"].tolist(), values(learner)


def make_learner() -> Learner:
    torch.manual_seed(0)
    module = torch.nn.Linear(30, 20)
    return Learner(module, module, torch.optim.Adam(module.parameters()), None)


def values(learner: Learner) -> list[object]:
    moments = learner.optimizer.state_dict()["state"]
    tensors = [*learner.module.state_dict().values()]
    tensors += [value for each in moments.values() for value in each.values()]
    return [tensor.tolist() for tensor in tensors]


KINDS = [
    Kind("serct/weights.safetensors", read_model),
    Kind("serct/card.json", read_model),
    Kind("serct/run.json", read_model),
    Kind("serct/history.csv", read_model),
    Kind("svm/model.skops", read_model),
    Kind("shards/meta.json", read_rows),
    Kind("shards/index.csv", read_rows),
    Kind("shards/wave-00001.npy", read_rows),
    Kind("results/metrics.json", read_results),
    Kind("results/predictions.csv", read_results),
    Kind("results/confusion.json", read_results),
    Kind("results/model_card.md", read_results),
    Kind("targets/zero_shot_targets.json", read_targets),
    Kind("data/promotions.jsonl", read_promotions),
    Kind("studies/tess/study.json", lambda folder: read_studies(folder.parent)),
    Kind("training/state.safetensors", read_state),
]


@pytest.fixture(scope="module")
def files(
    trained: dict[str, Path], tone_shards: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Every kind of file, as the stages and commands write it."""
    root = tmp_path_factory.mktemp("files")
    for name in ("serct", "svm"):
        shutil.copytree(trained[name], root / name)
    shutil.copytree(tone_shards, root / "shards")
    for name in ("results", "targets", "studies/tess"):
        (root / name).mkdir(parents=True)
    write_test_results(root / "results", trained["svm"], tone_shards)
    targets = ZeroShotTargets(digests={f"corpus_{number}": "0" * 64 for number in range(10)})
    write_json(root / "targets" / "zero_shot_targets.json", targets.as_json())
    for version in ("1", "2"):
        append_promotion(root / "data", entry(version))
    study = json.loads((ROOT / "benchmarks/results/study-plus.json").read_text())
    (root / "studies" / "tess" / STUDY_FILE).write_text(json.dumps(study))
    [result] = read_studies(root / "studies")
    write_json(root / "studies" / "tess" / STUDY_FILE, result.as_json())
    learner = make_learner()
    learner.module(torch.ones(30)).sum().backward()
    learner.optimizer.step()
    best = {name: value.clone() for name, value in learner.module.state_dict().items()}
    row = EpochRow(1, 0.1, 0.5, 0.5, 0.6, {"ua": 0.4}, 1.0)
    state = TrainingState("of this training", "now", [row], 1, best)
    save_state(root / "training" / "state.safetensors", state, learner)
    return root


def write_test_results(folder: Path, model: Path, shards: Path) -> None:
    classical, card = load_model(model)
    dataset = ShardDataset(shards, ["test"], card.emotions)
    found = evaluate(as_classifier(classical, torch.device("cpu")), dataset, 8)
    write_confusion(folder / "confusion.json", found.scores)
    write_predictions(folder / "predictions.csv", dataset, card.emotions, found.probabilities)
    metrics = summarise_test(card, dataset, found, {})
    (folder / "model_card.md").write_text(model_card(card, metrics), encoding="utf-8")
    write_metrics(folder, metrics)


def overwritten(content: bytes, chance: np.random.Generator) -> bytes:
    """Overwrite 500 bytes in a row, all of a smaller file."""
    noise = chance.bytes(min(500, len(content)))
    first = int(chance.integers(0, len(content) - len(noise) + 1))
    return content[:first] + noise + content[first + len(noise) :]


def cut(content: bytes, chance: np.random.Generator) -> bytes:
    return content[: int(chance.integers(0, len(content) - 1))]


def scattered(content: bytes, chance: np.random.Generator) -> bytes:
    """Overwrite 500 bytes anywhere."""
    damaged = np.frombuffer(content, dtype=np.uint8).copy()
    places = chance.integers(0, len(content), 500)
    damaged[places] = np.frombuffer(chance.bytes(500), dtype=np.uint8)
    return damaged.tobytes()


@pytest.mark.parametrize("damage", [overwritten, scattered, cut])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.path)
def test_damage_is_an_error_that_names_the_file(
    files: Path, kind: Kind, damage: Callable[[bytes, np.random.Generator], bytes]
) -> None:
    if (damage, kind.read) == (cut, read_promotions):
        pytest.skip("a promotion that is cut off was none, see tests/promotion")
    path = files / kind.path
    content = path.read_bytes()
    kind.read(path.parent)
    try:
        for seed in range(4):
            path.write_bytes(damage(content, np.random.default_rng(seed)))
            with pytest.raises(SerctError, match=re.escape(path.name)):
                kind.read(path.parent)
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.path)
def test_one_changed_bit_is_an_error_or_changes_nothing(files: Path, kind: Kind) -> None:
    """A space more or less in JSON changes nothing."""
    path = files / kind.path
    content = path.read_bytes()
    expected = kind.read(path.parent)
    chance = np.random.default_rng(0)
    num_errors = 0
    try:
        for _ in range(8):
            damaged = bytearray(content)
            damaged[chance.integers(len(content))] ^= 1 << chance.integers(8)
            path.write_bytes(damaged)
            try:
                found = kind.read(path.parent)
            except SerctError as error:
                problem = str(error)
            else:
                assert found == expected
                continue
            assert path.name in problem
            num_errors += 1
    finally:
        path.write_bytes(content)
    assert num_errors > 3


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.path)
def test_a_missing_file_is_an_error_that_names_it(files: Path, kind: Kind) -> None:
    if kind.read is read_promotions or kind.read is read_state or "studies" in kind.path:
        pytest.skip("without the file nothing was promoted, trained or studied")
    path = files / kind.path
    path.rename(path.with_suffix(".away"))
    try:
        with pytest.raises(SerctError, match=re.escape(path.name)):
            kind.read(path.parent)
    finally:
        path.with_suffix(".away").rename(path)


def test_the_weights_of_an_equal_model_are_an_error(
    trained: dict[str, Path], tmp_path: Path
) -> None:
    from safetensors.numpy import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(trained["serct"], folder)
    weights = load_file(folder / "weights.safetensors")
    save_file({name: 0.9 * value for name, value in weights.items()}, tmp_path / "other")
    shutil.copy(tmp_path / "other", folder / "weights.safetensors")
    expected = (
        rf"{re.escape(str(folder))}/weights\.safetensors: damaged: SHA-256 [0-9a-f]{{64}}, "
        r"expected [0-9a-f]{64} as card\.json says$"
    )
    with pytest.raises(CheckpointError, match=expected):
        Predictor.load(folder)


def test_files_of_rows_that_changed_places_are_an_error(tone_shards: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    shutil.copytree(tone_shards, folder)
    first, second = folder / "wave-00000.npy", folder / "wave-00001.npy"
    first.rename(tmp_path / "first")
    second.rename(first)
    (tmp_path / "first").rename(second)
    expected = (
        r"wave-0000[01]\.npy: damaged: row \d+, \w+/s\d_\d\d, has SHA-256 [0-9a-f]{64}, expected "
        r"[0-9a-f]{64} as index\.csv says; the preprocess stage writes it$"
    )
    with pytest.raises(ShardError, match=expected):
        read_rows(folder)


def test_another_header_of_the_same_bytes_is_an_error(tone_shards: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    shutil.copytree(tone_shards, folder)
    path = folder / "wave-00000.npy"
    expected = (
        r"wave-00000\.npy: found u?int16 \(1., [78]...\), expected int16 \(16, 8000\) or more"
    )
    content = path.read_bytes()
    for was, becomes in ((b"'<i2'", b"'<u2'"), (b"8000), ", b"7999), "), (b"(16, ", b"(15, ")):
        path.write_bytes(content.replace(was, becomes))
        with pytest.raises(ShardError, match=expected):
            read_rows(folder)


def test_a_record_may_be_formatted_anew_but_not_edited(
    trained: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(trained["svm"], folder)
    path = folder / "card.json"
    content = json.loads(path.read_text())
    expected = Predictor.load(folder).predict(CLIP, 16000)
    path.write_text(json.dumps(dict(reversed(content.items()))))
    assert Predictor.load(folder).predict(CLIP, 16000) == expected
    path.write_text(json.dumps(content | {"majority_emotion": "sad"}))
    with pytest.raises(
        CheckpointError,
        match=r"card\.json: damaged or edited: SHA-256 of its content [0-9a-f]{64}, expected "
        r"[0-9a-f]{64} as its content_sha256 says",
    ):
        Predictor.load(folder)
    del content["content_sha256"]
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"card\.json: .* content_sha256 is missing"):
        Predictor.load(folder)
