"""The page on remotes: its script runs, and what it leaves is the same in every further clone."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides

from tests.conftest import ROOT
from tests.faults.test_dvc_faults import KILLER, dvc, repro

SCRIPT = ROOT / "docs" / "how-to" / "remote.sh"
PAGE = SCRIPT.with_suffix(".md")
UP_TO_DATE = "Data and pipelines are up to date."
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
NAMES = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")


def part(begin: str, end: str) -> str:
    """Return the lines of the script between two marks, as the page shows them."""
    return SCRIPT.read_text().partition(begin)[2].partition(end)[0]


def git(clone: Path, *arguments: str) -> str:
    environment = {**os.environ, **dict.fromkeys(NAMES, "demo")}
    result = subprocess.run(
        ["git", *arguments], cwd=clone, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder that the script made, and what it printed."""
    if not (ROOT / ".git").exists():
        pytest.skip("a source archive has no commit to clone")
    folder = tmp_path_factory.mktemp("remote") / "demo"
    result = subprocess.run(
        ["bash", str(SCRIPT), str(folder)],
        env={**os.environ, "PATH": PATH, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return folder, result.stdout


@pytest.mark.slow
def test_both_clones_have_the_same_data_and_champion(shown: tuple[Path, str]) -> None:
    folder, printed = shown
    first, second = folder / "first", folder / "second"
    assert (
        printed.count(UP_TO_DATE) == 3
    )  # status and repro of the second clone, status of the first
    assert "\n$ git status --short\n$ serct sync\n" in printed
    assert "num_coefficients  30  40" in re.sub(" +", "  ", printed).replace("mfcc_svm.", "")
    record = (first / "data/promotions.jsonl").read_text()
    entries = [json.loads(line) for line in record.splitlines()]
    assert [entry["why"] for entry in entries] == ["the first one", "more coefficients"]
    names = [f"(mfcc_svm on demo_en, {e['champion']['fingerprint'][:7]})" for e in entries]
    moves = re.findall(r"^built champion: version \d+ (\(.*\))$", printed, re.M)
    assert moves == names  # the first one in the second clone, then the other way round
    for path in ("data/promotions.jsonl", "dvc.lock", "params.yaml"):
        assert (first / path).read_bytes() == (second / path).read_bytes()
    for clone in (first, second):
        assert git(clone, "status", "--porcelain") == ""
        assert set(git(clone, "ls-files", "data").split()) == {
            "data/.gitignore", "data/README.md", "data/promotions.jsonl",
        }  # fmt: skip
        weights = clone / "data/models/demo_en-mfcc_svm"
        card = json.loads((weights / "card.json").read_text())
        assert card["fingerprint"] == entries[-1]["champion"]["fingerprint"]


@pytest.mark.slow
def test_a_dropped_model_and_killed_stages_are_nothing_in_another_clone(
    shown: tuple[Path, str], tmp_path: Path
) -> None:
    folder, _ = shown
    first, third = folder / "first", folder / "third"
    params = first / "params.yaml"
    apply_overrides(params, ["pipeline.models=[mfcc_svm]"])
    (tmp_path / "sitecustomize.py").write_text(KILLER)
    for stage, name, left in (
        ("pipeline.train", "train@mfcc_svm-demo_en", "data/models/.demo_en-mfcc_svm.partial"),
        ("pipeline.preprocess", "preprocess@demo_en", "data/shards/.demo_en.partial"),
    ):
        killer = {
            "KILLED_STAGE": stage,
            "KILLED_AT": "4",
            "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
        }
        killed = dvc(first, "repro", "--force", "--single-item", name, environment=killer)
        assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
        assert (first / left).exists()
    repro(first)
    git(first, "add", ".")
    git(first, "commit", "--message", "Drop a model")
    assert dvc(first, "push").returncode == 0
    git(first, "push")

    git(folder, "clone", "origin.git", "third")
    assert dvc(third, "pull").returncode == 0
    assert dvc(third, "status").stdout.strip() == UP_TO_DATE
    lock = (third / "dvc.lock").read_bytes()
    assert b"@functionals_lda" not in lock
    found = dvc(third, "repro")
    assert found.returncode == 0, found.stderr
    assert "Running stage" not in found.stdout
    assert (third / "dvc.lock").read_bytes() == lock
    assert git(third, "status", "--porcelain") == ""
    assert not list((third / "data").rglob(".*.partial"))


@pytest.fixture
def bucket() -> Iterator[str]:
    """The address of an S3 server with a bucket."""
    pytest.importorskip("moto.server")
    pytest.importorskip("flask_cors")
    boto3 = pytest.importorskip("boto3")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    address = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            for _ in range(240):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.25)
            boto3.client("s3", endpoint_url=address).create_bucket(Bucket="team")
            yield address
        finally:
            server.kill()


@pytest.mark.slow
def test_a_bucket_does_the_same(
    shown: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "team")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    endpoint = request.getfixturevalue("bucket")
    folder, _ = shown
    git(folder, "clone", "second", "fourth")
    fourth = folder / "fourth"
    assert dvc(fourth, "pull").returncode == 0
    assert dvc(fourth, "remote", "remove", "store").returncode == 0
    _, _, commands = part("# -- 2b.", "# -- 2c.").partition("else\n")
    environment = {**os.environ, "PATH": PATH, "bucket": "s3://team/dvc", "endpoint": endpoint}
    subprocess.run(["bash", "-euc", commands], cwd=fourth, env=environment, check=True)
    pushed = dvc(fourth, "push")
    assert pushed.returncode == 0, pushed.stderr
    git(fourth, "commit", "--all", "--message", "Share data in a bucket")

    git(folder, "clone", "fourth", "fifth")
    fifth = folder / "fifth"
    pulled = dvc(fifth, "pull")
    assert pulled.returncode == 0, pulled.stderr
    assert dvc(fifth, "status").stdout.strip() == UP_TO_DATE
    weights = next((fifth / "data/models/demo_en-mfcc_svm").glob("model.*"))
    assert weights.read_bytes() == (fourth / weights.relative_to(fifth)).read_bytes()


def test_the_page_shows_marks_of_the_script() -> None:
    script = SCRIPT.read_text()
    marks = re.findall(r':(?:start|end)-(?:after|before|at): "(.+)"', PAGE.read_text())
    assert len(marks) == 12
    for mark in marks:
        assert script.count(mark.replace('\\"', '"')) == 1, mark
