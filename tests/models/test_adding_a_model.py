"""The how-to on adding a model, followed to the letter: one file, one entry, one test."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from serct.config.reader import read_yaml
from tests.conftest import ROOT, shrink

pytestmark = pytest.mark.slow

HOW_TO = (ROOT / "docs" / "how-to" / "add-model.md").read_text(encoding="utf-8")


def example(language: str, number: int = 0) -> str:
    return re.findall(rf"^```{language}\n(.*?)^```", HOW_TO, re.M | re.S)[number]


def digests(root: Path) -> dict[str, str]:
    """Return the digest of each file of the code and of the params."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (root / "params.yaml", *root.glob("serct/**/*"), *root.glob("pipeline/**/*"))
        if path.is_file()
    }


def run(root: Path, *arguments: str) -> None:
    """Run a module of the copy, without a store of runs."""
    environment = {
        **os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": "nowhere://",
    }  # fmt: skip
    result = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=root, env=environment, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture
def copy(tmp_path: Path, tones: Path) -> Path:
    """The code, with small params and the corpus of tones."""
    for package in ("serct", "pipeline"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    corpora = {"tones": {"reader": "folder", "path": str(tones), "language": "en"}}
    shrink(ROOT / "params.yaml", tmp_path / "params.yaml", corpora=corpora)
    return tmp_path


def test_one_file_and_one_entry_add_a_model(copy: Path, tone_shards: Path) -> None:
    before = digests(copy)
    params = read_yaml(copy / "params.yaml")
    params["models"] |= yaml.safe_load(example("yaml"))["models"]
    (copy / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    (copy / "serct" / "models" / "gru.py").write_text(example("python"))
    model, shards = "data/models/tones-gru", str(tone_shards)
    train = ("pipeline.train", "--model", "gru", "--shards", shards, "--state", "data/state")
    run(copy, *train, "--out", model)
    run(copy, "pipeline.evaluate", "--model", model, "--shards", shards, "--out", "data/report")
    card = json.loads((copy / model / "card.json").read_text())
    assert card["architecture"] == {
        "train": {}, "architecture": "gru", "frame_samples": 320, "hidden": 128,
    }  # fmt: skip
    metrics = json.loads((copy / "data" / "report" / "metrics.json").read_text())
    assert metrics["model"] == "gru"
    changed = {name for name, digest in digests(copy).items() if before.get(name) != digest}
    assert changed == {"params.yaml", "serct/models/gru.py"}
    assert set(before) < set(digests(copy))


def test_the_test_of_the_how_to_passes(copy: Path) -> None:
    (copy / "serct" / "models" / "gru.py").write_text(example("python"))
    (copy / "test_gru.py").write_text(example("python", 1))
    run(copy, "pytest", "-q", "-p", "no:cacheprovider", "test_gru.py")
