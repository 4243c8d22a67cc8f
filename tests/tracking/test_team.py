"""A team's set-up, from nothing to a champion of one workspace served by another."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.conftest import ROOT

SMALL = {
    "pipeline": {
        "corpora": ["demo_en"], "train_corpora": ["demo_en"], "zero_shot_corpora": [],
        "models": ["serct"],
    },
    "corpora.demo_en": {"num_speakers": 2, "num_texts": 10},
    "models.serct.train.epochs": 2,
    "promotion": {"min_test_ua": 0.0, "min_zero_shot_ua": 0.0, "margin": 0.9, "max_changed": 0.99},
}  # fmt: skip
PORTS = ("DATABASE", "BUCKET", "TRACKING", "SERVICE")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("initdb") or list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))),
        reason="PostgreSQL is not installed",
    ),
]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's own user can reach; pytest's are closed to others."""
    path = Path(tempfile.mkdtemp(prefix="serct-team-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def free_ports() -> dict[str, str]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in PORTS]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return {
            f"SERCT_TEAM_{name}_PORT": str(each.getsockname()[1])
            for name, each in zip(PORTS, sockets, strict=True)
        }


def test_the_script_leads_from_nothing_to_a_shared_champion(folder: Path) -> None:
    settings = []
    for key, value in SMALL.items():
        for name, each in value.items() if isinstance(value, dict) else [("", value)]:
            settings += ["--set", f"{key}{'.' if name else ''}{name}={json.dumps(each)}"]
    ports = free_ports()
    process = subprocess.Popen(
        ["bash", str(ROOT / "deploy/team.sh"), str(folder), *settings],
        env={**os.environ, **ports, "PYTHON": sys.executable},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=900)
    finally:
        # If it did not end, neither did its servers.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    logs = {path.name: path.read_text()[-2000:] for path in folder.glob("*.log")}
    assert process.returncode == 0, (output, errors, logs)
    # Nothing that it started is left.
    for port in ports.values():
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", int(port))) != 0
    # The second workspace trained nothing: what it has, it pulled.
    first, second = folder / "first", folder / "second"
    [weights] = second.glob("data/models/*/weights.safetensors")
    assert weights.read_bytes() == (first / weights.relative_to(second)).read_bytes()
    assert not list(folder.glob("*/mlflow.db"))
    answer = json.loads((folder / "answer.json").read_text())
    card = json.loads((weights.parent / "card.json").read_text())
    assert answer["model"]["version"] == "1"
    [prediction] = answer["predictions"]
    assert set(prediction["probabilities"]) == set(card["emotions"])
    assert "PROBLEM" not in output
    searches = [list((each / "data/search").iterdir()) for each in (first, second)]
    # One search, two participants; who is done first may not have seen the other's last trial.
    assert [path.name for path in searches[0]] == [path.name for path in searches[1]]
    ended = [json.loads((each / "trials.json").read_text()) for [each] in searches]
    assert max(len(trials) for trials in ended) == 4


def test_without_its_connections_doctor_says_which(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from serct.experiments.doctor import examine
    from serct.experiments.workspace import prepare_workspace

    workspace, _ = prepare_workspace(folder / "workspace", "demo", [])
    good = {finding.check: finding for finding in examine(workspace)}
    for check in ("tracking", "models' store", "data remote", "search", "executor"):
        assert good[check].is_good, good[check]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("SERCT_SEARCH_STORAGE", "postgresql+psycopg2://nobody@127.0.0.1:1/search")
    (workspace / ".dvc/config").write_text(
        "[core]\n    no_scm = true\n    remote = store\n"
        f"['remote \"store\"']\n    url = {folder}/nowhere\n"
    )
    params = workspace / "params.yaml"
    params.write_text(
        params.read_text().replace(
            "executor:\n  name: local\n",
            "executor: {name: ray, address: '127.0.0.1:1', workers: 1, cpus: 1, gpus: 0, "
            "max_failures: 0}\n",
        )
    )
    bad = {finding.check: finding for finding in examine(workspace)}
    assert "127.0.0.1" in bad["tracking"].found
    assert "start the server" in bad["tracking"].found
    assert "the search's database cannot be opened" in bad["search"].found
    assert "no Ray cluster there" in bad["executor"].found
    assert "store" in bad["data remote"].found
    for check in ("tracking", "models' store", "search", "executor"):
        assert not bad[check].is_good, bad[check]
