"""A new corpus is one new file and an entry in params.yaml: the example of the documentation."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from serct.data.dataset import ShardDataset
from serct.data.manifest import read_manifest
from tests.conftest import ROOT
from tests.recordings import write_recording

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "how-to" / "add-corpus.md").read_text("utf-8")
CODE, TEST = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
[ENTRY] = re.findall(r"```yaml\ncorpora:\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project with the new corpus, and a mirror that has it."""
    project = tmp_path / "project"
    for package in ("serct", "pipeline"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, project / package, ignore=ignored)
    shutil.copy(ROOT / "dvc.yaml", project)
    (project / "serct/data/corpora/studio.py").write_text(CODE, "utf-8")
    params = (ROOT / "params.yaml").read_text("utf-8")
    (project / "params.yaml").write_text(params.replace("\ncorpora:\n", f"\ncorpora:\n{ENTRY}"))
    for speaker in ("F01", "F02", "M01"):
        for letter in "AHS":
            for take in ("01", "02"):
                write_recording(tmp_path / f"mirror/STUDIO/{speaker}{letter}{take}.wav")
    return project


def run(project: Path, *arguments: str) -> str:
    environment = os.environ | {
        "PYTHONPATH": str(project),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SERCT_MIRROR": str(project.parent / "mirror"),
        "COLUMNS": "250",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def sources(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for package in ("serct", "pipeline")
        for path in (root / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_one_new_file_takes_a_corpus_through_the_data_stages(project: Path) -> None:
    raw, manifest, shards = ("data/raw/studio", "data/manifests/studio.csv", "data/shards/studio")
    run(project, "pipeline.download", "--corpus", "studio", "--out", raw)
    run(project, "pipeline.manifest", "--corpus", "studio", "--raw", raw, "--out", manifest)
    run(
        project, "pipeline.preprocess", "--corpus", "studio", "--raw", raw, "--manifest", manifest,
        "--out", shards,
    )  # fmt: skip
    utterances = read_manifest(project / manifest)
    assert len(utterances) == 18
    assert {(u.corpus, u.language, u.gender) for u in utterances if u.speaker == "M01"} == {
        ("studio", "en", "m")
    }
    dataset = ShardDataset(project / shards, ["train", "validation", "test"])
    assert (len(dataset), dataset.emotions) == (18, ("angry", "happy", "sad"))
    listing = run(project, "serct.cli", "corpora", "list")
    assert re.search(r"studio .*Studio recordings of this example.* en .*as its authors", listing)
    assert sources(project) == sources(ROOT) | {
        "serct/data/corpora/studio.py": CODE.encode("utf-8")
    }


def test_the_test_of_the_documentation_passes(project: Path) -> None:
    (project / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "recordings.py", project / "tests")
    (project / "tests" / "test_corpora_studio.py").write_text(TEST, "utf-8")
    (project / "pytest.ini").write_text("[pytest]\n")
    output = run(project, "pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert "1 passed" in output
