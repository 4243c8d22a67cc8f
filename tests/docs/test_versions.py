"""The page on versions: its commands run in fresh clones, and do what it says."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from tests.conftest import ROOT

SCRIPT = ROOT / "docs" / "start" / "versions.sh"


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def copy_of_the_checkout(folder: Path) -> Path:
    """Copy what is, or would be, in git; also what is not committed yet."""
    names = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
    git(folder, *identity, "commit", "--quiet", "--message", "all")
    return folder


class Transcript:
    """What a script printed, by command."""

    def __init__(self, text: str) -> None:
        parts = re.split(r"^\+ (\S.*)$", text, flags=re.MULTILINE)[1:]
        self.outputs = list(zip(parts[::2], parts[1::2], strict=True))

    def of(self, command: str) -> str:
        [output] = [output for each, output in self.outputs if each.startswith(command)]
        return output


def stages_of(output: str) -> set[str]:
    return {name for name in re.findall(r"Running stage '(.*)'", output) if "@" in name}


@pytest.mark.slow
@pytest.mark.long
def test_the_commands_do_what_the_page_says(tmp_path: Path) -> None:
    checkout = copy_of_the_checkout(tmp_path / "checkout")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    result = subprocess.run(
        ["bash", "docs/start/versions.sh", str(tmp_path / "versions")],
        cwd=checkout,
        env=os.environ | {"PATH": path, "COLUMNS": "600"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=570,
    )
    assert result.returncode == 0, result.stdout
    printed = Transcript(result.stdout)
    mine = tmp_path / "versions" / "mine"

    # Elsewhere: the same, without a run, and git sees no change.
    assert "Data and pipelines are up to date." in printed.of("dvc status")
    assert "Running stage" not in printed.of("dvc repro")
    assert printed.of("git status --short").strip() == ""

    # One value: one line, and the stages of one model.
    of_cnn = {f"{stage}@cnn-demo_en" for stage in ("train", "evaluate", "zero_shot")}
    assert stages_of(printed.of("dvc exp run --name wide")) == of_cnn
    changed = re.findall(r"^[-+] .*", printed.of("git diff"), re.MULTILINE)
    assert [line[:16] for line in changed] == ["-    hidden: 32 ", "+    hidden: 64 "]
    scores = printed.of("dvc metrics diff")
    assert "cnn.test.ua" in scores
    page = (mine / "dvc_plots" / "index.html").read_text().partition("</head>\n<body>\n")[2]
    assert "://" not in page
    specs = [json.loads(each) for each in re.findall(r"var spec = (.*);", page)]
    for spec in specs:
        assert {row["rev"] for row in spec["data"]["values"]} == {"HEAD", "workspace"}
    titles = {spec["title"]["text"].partition("reports/")[2] for spec in specs}
    assert titles == {
        f"{kind}/demo_en-{model}.csv"
        for kind in ("curves", "confusion")
        for model in ("cnn", "mfcc_svm")
    }

    # The table names the value that was set, and has few columns.
    tables = [output for command, output in printed.outputs if command.startswith("dvc exp show")]
    for table, name, key in zip(
        tables, ("wide", "soft"), ("cnn.hidden", "mfcc_svm.regularisation"), strict=True
    ):
        assert name in table
        assert key in table
        heading = next(line for line in table.splitlines() if "Experiment" in line)
        assert len(heading.split()) < 25

    # A queued experiment leaves its run in the tracking of the clone, and no folder.
    client = mlflow.MlflowClient(f"sqlite:///{mine / 'mlflow.db'}")
    [experiment] = client.search_experiments(filter_string="name = 'serct'")
    runs = client.search_runs([experiment.experiment_id])
    models = sorted(run.data.tags["serct.model"] for run in runs)
    assert models == ["cnn", "cnn", "mfcc_svm", "mfcc_svm"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert not list((mine / ".dvc" / "tmp" / "exps").rglob("params.yaml"))

    # Applied and committed here, listed in the other clone.
    assert "regularisation: 0.1 " in (mine / "params.yaml").read_text()
    assert git(mine, "status", "--short") == ""
    assert "soft" in printed.of("dvc exp list")


def test_the_page_shows_every_part_of_the_script() -> None:
    parts = re.findall(r"^# -- \d\.", SCRIPT.read_text(), re.MULTILINE)
    page = SCRIPT.with_suffix(".md").read_text()
    assert parts == re.findall(r':start-after: "(# -- \d\.)"', page)
