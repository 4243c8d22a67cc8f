"""Shared fixtures: a tiny corpus of tones on disk, and the real params made small."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
import torch
from filelock import FileLock

from serct.config.params import Params
from serct.config.reader import read_params, read_yaml
from serct.config.section import merge
from serct.runtime.log import logger

if TYPE_CHECKING:
    from tests.service_process import Service

ROOT = Path(__file__).resolve().parent.parent

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# Several processes with as many threads each as there are cores are slower by far than with one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)

_CONDITIONS = read_yaml(ROOT / "params.yaml")["robustness"]["conditions"]
_SERCT = {
    "conv_layers": [[8, 10, 5, 0], [16, 8, 8, 0], [16, 8, 8, 1]],
    "width": 16,
    "num_layers": 1,
    "num_heads": 2,
    "feed_forward": 16,
    "classifier_widths": [16],
}
# Everything that makes the real params.yaml small enough for a test.
TINY = {
    "audio": {"num_samples": 8000},
    "preprocess": {"rows_per_shard": 16},
    "train": {"epochs": 3, "batch_size": 8, "device": "cpu"},
    "robustness": {"conditions": dict.fromkeys(_CONDITIONS.keys() - {"telephone", "softer"})},
    "tracking": {"system_metrics": False},
    "models": {
        "serct": {**_SERCT, "train": {"learning_rate": 0.01}},
        "serct_fast": _SERCT,
        "serct_plus": _SERCT,
        "cnn": {"num_pooled_steps": 4},
        "lstm": {"hidden": 16},
        "cnn_bilstm": {"hidden": 8},
        "mlp": {"pool": 8},
        "svm": {"pool": 8},
    },
}


def shrink(params: Path, destination: Path, **sections: object) -> Params:
    """Write the real params.yaml, made small and changed by ``sections``, and read it."""
    import yaml

    data = merge(merge(read_yaml(params), TINY), sections)
    destination.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return read_params(destination)


@pytest.fixture(scope="session")
def tiny_params(tmp_path_factory: pytest.TempPathFactory) -> Params:
    return shrink(ROOT / "params.yaml", tmp_path_factory.mktemp("params") / "params.yaml")


@pytest.fixture(autouse=True)
def _no_user_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Keep a test from reading or writing the user's cache, store or network."""
    monkeypatch.setenv("SERCT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)


@pytest.fixture(autouse=True)
def _messages_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test see each message once, also where an earlier one ran a command's set-up."""
    monkeypatch.setattr(logger, "propagate", True)


def write_tones(
    root: Path, emotions: dict[str, float], num_each: int = 12, rate: int = 16000
) -> Path:
    """Write `<emotion>/<speaker>_<n>.wav`: a noisy tone whose pitch tells the emotion."""
    rng = np.random.default_rng(0)
    for emotion, hertz in emotions.items():
        (root / emotion).mkdir(parents=True, exist_ok=True)
        for number in range(num_each):
            seconds = np.arange(int(rate * rng.uniform(0.2, 0.4))) / rate
            tone = 0.3 * np.sin(2 * np.pi * hertz * rng.uniform(0.95, 1.05) * seconds)
            noise = 0.01 * rng.standard_normal(len(seconds))
            path = root / emotion / f"s{number % 4}_{number:02d}.wav"
            soundfile.write(path, tone + noise, rate, subtype="PCM_16")
    return root


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder corpus of three emotions, 12 clips each, read-only by convention."""
    folder = tmp_path_factory.mktemp("tones")
    return write_tones(folder, {"angry": 1500.0, "happy": 600.0, "sad": 200.0})


def make_shards(root: Path, destination: Path, params: Params) -> Path:
    """Write `<emotion>/<speaker>_<n>.wav` below a folder as shards, divided 9:1."""
    from serct.data.manifest import Scan, Utterance, inspect_recordings
    from serct.data.preprocessing import ShardPlan, write_shards
    from serct.data.splitting import split_utterances

    clips = tuple(
        Utterance(
            path=str(path.relative_to(root)),
            speaker=path.stem[:2],
            gender="",
            text_id="",
            emotion=path.parent.name,
        )
        for path in root.rglob("*.wav")
    )
    utterances, _ = inspect_recordings(root, Scan(clips), "tones", "en", params.checks)
    plan = ShardPlan(
        corpus="tones",
        synthetic=True,
        protocol="random",
        audio=params.audio,
        checks=params.checks,
        rows_per_shard=16,
    )
    write_shards(root, split_utterances(utterances, params.split, 3), destination, plan)
    return destination


@pytest.fixture(scope="session")
def tone_shards(tones: Path, tiny_params: Params, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tones as shards, divided 9:1."""
    return make_shards(tones, tmp_path_factory.mktemp("shards") / "tones", tiny_params)


@pytest.fixture(scope="session")
def trained(
    tone_shards: Path, tiny_params: Params, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The folder of each model, trained briefly on the tones, untracked, once for all workers."""
    from serct.tracking import run_logger
    from serct.training import experiment

    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "trained"
    # The encoders that the others need are made in tests/models/encoders.py.
    names = [name for name, entry in tiny_params.models.items() if "encoder" not in entry]
    folders = {name: root / f"tones-{name}" for name in names}
    with FileLock(f"{root}.lock"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_logger, "open_store", _no_store)
        for name, folder in folders.items():
            if not folder.exists():
                state = root / f"{name}.safetensors"
                experiment.train_and_track(tiny_params, name, tone_shards, state, folder)
    return folders


def _no_store(*_: object) -> None:
    from serct.errors import TrackingError

    raise TrackingError("tests of training do without a store")


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody speaks, for a second or two: tones are no speech. wav, 22.05 kHz."""
    from serct.data.corpora import demo

    folder = tmp_path_factory.mktemp("spoken")
    return demo.speak_examples(folder, "en")["happy"]


@pytest.fixture(scope="session")
def new_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of MLflow, migrated once; the migrations take seconds."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("new") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


def make_workspace(root: Path, model: Path, shards: Path, new_database: Path) -> None:
    """Make a workspace where any model may be promoted, with one version."""
    import shutil

    from serct.tracking import open_store
    from serct.tracking.folders import ModelFolder

    promotion = {"min_test_ua": 0.0, "min_zero_shot_ua": 0.0, "margin": 0.99, "max_changed": 0.99}
    pipeline = {
        "corpora": ["demo_en"],
        "train_corpora": ["demo_en"],
        "zero_shot_corpora": [],
        "models": ["serct"],
    }
    shrink(ROOT / "params.yaml", root / "params.yaml", promotion=promotion, pipeline=pipeline)
    shutil.copytree(shards, root / "data" / "shards" / "tones")
    shutil.copytree(model, root / "data" / "models" / "tones-serct")
    shutil.copy(new_database, root / "mlflow.db")
    folder = ModelFolder.read(root / "data" / "models" / "tones-serct")
    open_store(root, "serct", "serct").ensure(folder)


def add_version(root: Path, seed: int, noise: float) -> str:
    """Register a second training: the first one's weights with some noise; gives its version."""
    import shutil

    from safetensors.numpy import load_file, save_file

    from serct.tracking import open_store
    from serct.tracking.folders import ModelFolder
    from tests.edited import edit_record

    folder = root / "data" / "models" / f"tones-serct{seed}"
    shutil.copytree(root / "data" / "models" / "tones-serct", folder)
    weights = load_file(folder / "weights.safetensors")
    rng = np.random.default_rng(seed)
    for name, value in weights.items():
        weights[name] = (value + noise * rng.standard_normal(value.shape)).astype(value.dtype)
    save_file(weights, folder / "weights.safetensors")
    edit_record(folder / "card.json", fingerprint=f"seed{seed}")
    store = open_store(root, "serct", "serct")
    store.ensure(ModelFolder.read(folder))
    return store.versions()[-1].version


@pytest.fixture(scope="module")
def served(
    trained: dict[str, Path],
    tone_shards: Path,
    new_database: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A workspace with two versions, of which the first is the champion."""
    from serct.tracking import open_store

    root = tmp_path_factory.mktemp("served")
    make_workspace(root, trained["serct"], tone_shards, new_database)
    add_version(root, 2, 0.5)
    open_store(root, "serct", "serct").set_aliases("1", None, {})
    return root


@pytest.fixture(scope="module")
def service(served: Path) -> "Iterator[Service]":
    """A running service of that workspace."""
    from tests.service_process import running

    with running("--workspace", str(served)) as service:
        service.wait_for_version("1")
        yield service
