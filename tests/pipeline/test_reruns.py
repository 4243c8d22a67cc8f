"""Which stages a change reruns: the table in the docs, held against the real DVC.

The workspace has every stage recorded in dvc.lock, but its outputs are stand-ins: DVC compares
digests and does not care what is in a file. So each change costs two short stages, and no training.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from serct.config.reader import read_yaml
from serct.experiments.workspace import stage_environment
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

_TABLE = re.compile(r"^\| (?P<change>[^|]+) \| (?P<reruns>[^|]+) \|$", re.M)
_MODELS = ["serct", "serct_plus", "cnn", "svm", "mlp", "functionals_lda"]


def table() -> dict[str, str]:
    """Return the docs' table: from a change to the stages that it reruns."""
    text = (ROOT / "docs/concepts/pipeline.md").read_text()
    section = text.split("## What reruns")[1].split("\n## ")[0]
    rows = {m["change"]: m["reruns"].strip("`") for m in _TABLE.finditer(section)}
    rows.pop("change")
    return {change: "" if stages == "nothing" else stages for change, stages in rows.items()}


def code(path: str, old: str = "", new: str = "\n_CHANGED = 1\n") -> Callable[[Path], None]:
    """Return a change of a source file: a replacement, or a statement at its end."""

    def change(root: Path) -> None:
        file = root / path
        text = file.read_text()
        assert old in text, f"{path}: {old!r} is not in it"
        file.write_text(text.replace(old, new, 1) if old else text + new)

    return change


def value(key: str, new: Any) -> Callable[[Path], None]:
    """Return a change of one value of params.yaml."""

    def change(root: Path) -> None:
        content = read_yaml(root / "params.yaml")
        *parents, last = key.split(".")
        section = content
        for parent in parents:
            section = section[parent]
        assert section[last] != new
        section[last] = new
        (root / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))

    return change


def comments(root: Path) -> None:
    for path in (root / "serct").rglob("*.py"):
        text = path.read_text().replace('"""', '"""So it is: ', 1)
        path.write_text("# A comment.\n\n\n" + text + "# another one\n")


def several(*changes: Callable[[Path], None]) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        for each in changes:
            each(root)

    return change


def nothing(root: Path) -> None:
    del root


CHANGES: dict[str, Callable[[Path], None]] = {
    "nothing": nothing,
    "comments, docstrings, empty lines anywhere": comments,
    "code of the service, the demonstrator, the gates or MLflow": several(
        *map(code, ("serct/serving/service.py", "serct/app/page.py", "serct/promotion/gates.py")),
        code("serct/tracking/runs.py"),
    ),
    "`serving`, `promotion`, `tracking` in params.yaml": several(
        value("serving.max_batch", 3),
        value("promotion.margin", 0.5),
        value("tracking.experiment", "other"),
    ),
    "a corpus that params.yaml describes but `pipeline.corpora` does not name": value(
        "corpora.demo_de.num_texts", 3
    ),
    "the licence of TESS": code("serct/data/corpora/tess.py", 'licence = "', 'licence = "not '),
    "the reader of TESS": code("serct/data/corpora/tess.py"),
    "how files are decoded": code("serct/data/decoding/source.py"),
    "how splits are made": code("serct/data/splitting.py"),
    "`audio.num_samples`": value("audio.num_samples", 48_000),
    "`split.test_fraction`": value("split.test_fraction", 0.2),
    "the code of `cnn`": code("serct/models/cnn.py"),
    "the code of an augmentation, noise": code("serct/training/effects/noise.py"),
    "the training loop of networks": code("serct/training/loop.py"),
    "how scikit-learn's models are fitted": code("serct/training/classical.py"),
    "`train.epochs`": value("train.epochs", 3),
    "`train.label_smoothing`, which `serct_plus` has of its own": value(
        "train.label_smoothing", 0.2
    ),
    "`models.cnn.channels`": value("models.cnn.channels", [8, 8]),
    "`evaluate.batch_size`": value("evaluate.batch_size", 5),
    "the probes of shortcuts": code("serct/evaluation/probes.py"),
    "the code of a condition, a room": code("serct/evaluation/conditions/room.py"),
    "the strength of a condition": value("robustness.conditions.softer.gain_db", -30.0),
    "the tables of the report": code("serct/reports/tables.py"),
    "one more model in `pipeline.models`": value("pipeline.models", [*_MODELS, "lstm"]),
    "one model fewer": value("pipeline.models", _MODELS[:-1]),
}


def test_every_row_of_the_table_is_tried() -> None:
    assert CHANGES.keys() == table().keys()


def dvc(root: Path, *arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=root, env=stage_environment(os.environ), capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, all of whose stages DVC takes for done."""
    root = tmp_path_factory.mktemp("reruns") / "checkout"
    for name in ("serct", "pipeline"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, root / name)
    content = read_yaml(ROOT / "params.yaml")
    content["pipeline"]["models"] = _MODELS
    (root / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    (root / ".dvc").mkdir()
    (root / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    dvc(root, "repro", "corpus_recipes", "model_recipes")
    for name, stage in stages(root).items():
        for out in stage["outs"]:
            path = root / out
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"stands in for what {name} makes")
    dvc(root, "commit", "--force")
    return root


def stages(root: Path) -> dict[str, Any]:
    """Return each stage of a workspace with its outputs."""
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        return {
            stage.name: {"outs": [str(Path(out.fs_path).relative_to(root)) for out in stage.outs]}
            for stage in repo.index.stages
        }


@pytest.fixture
def copy(recorded: Path, tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "checkout"
    shutil.copytree(recorded, root, symlinks=True)
    yield root
    shutil.rmtree(root)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_reruns_the_stages_of_its_row(change: str, copy: Path) -> None:
    CHANGES[change](copy)
    dvc(copy, "repro", "corpus_recipes", "model_recipes")
    changed = set(json.loads(dvc(copy, "status", "--json")))
    patterns = [stage.replace("*", ".*") for stage in table()[change].split()]
    names = stages(copy)
    expected = {name for name in names if any(re.fullmatch(p, name) for p in patterns)}
    unmatched = [p for p in patterns if not any(re.fullmatch(p, name) for name in names)]
    assert not unmatched
    assert changed == expected
