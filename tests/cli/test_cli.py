"""The command line starts at once and says what is wrong in one line."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from serct.experiments.workspace import prepare_workspace
from tests.conftest import ROOT


def serct(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "serct.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=cwd,
    )


def test_help_is_quick_and_lists_the_commands() -> None:
    took = []
    for _ in range(3):
        started = time.monotonic()
        result = serct("--help")
        took.append(time.monotonic() - started)
    assert result.returncode == 0
    for command in ("repro", "demo", "predict", "evaluate", "report", "models", "sync", "ui",
                    "corpora", "doctor"):  # fmt: skip
        assert command in result.stdout
    assert min(took) < 1


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, serct, serct.cli; heavy = {'torch', 'mlflow', 'dvc', 'pandas', 'librosa'}; "
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "--model", "nowhere", "x.wav"], "error: nowhere/card.json: no such file"),
        (["repro", "--profile", "nope"], "error: no profile 'nope', expected one of: "),
        (["report", "--workspace", "."], "not a workspace, it has no params.yaml"),
        (["corpora", "verify", "nope"], "params.yaml: no corpus 'nope', expected one of: tess"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = serct(*arguments, cwd=tmp_path)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--speaker", "--voice"])
def test_recordings_of_a_speaker_under_both_spellings(
    option: str, trained: dict[str, Path], tones: Path
) -> None:
    file = next(tones.rglob("*.wav"))
    result = serct("predict", "--model", str(trained["cnn"]), option, str(tones), str(file))
    assert result.returncode == 1
    assert "error: model cnn " in result.stderr  # it does not adapt to a speaker
    assert ("note: --voice is now --speaker" in result.stderr) is (option == "--voice")


def test_an_unusable_file_does_not_silence_the_good_ones(
    trained: dict[str, Path], tones: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_text("not audio")
    good = [str(tones / "sad" / f"s{n}_0{n}.wav") for n in (0, 1)]
    model = str(trained["serct"])
    result = serct("predict", "--model", model, good[0], str(broken), good[1])
    assert result.returncode == 1
    assert [line.split(":")[0] for line in result.stdout.splitlines()] == good
    assert "broken.wav: not readable as audio" in result.stderr
    assert "s1_01" not in result.stderr


def test_version_and_corpora() -> None:
    from serct import __version__

    assert serct("--version").stdout.strip() == __version__
    listing = serct("corpora", "list").stdout
    assert "emodb" in listing
    assert "CC BY-NC-ND" in listing


@pytest.mark.slow
def test_the_workspace_around_the_current_folder_is_used_and_named(tmp_path: Path) -> None:
    mine = 'corpora.mine={"reader": "folder", "path": "recordings", "language": "en"}'
    workspace, _ = prepare_workspace(tmp_path / "ws", "demo", [mine])
    inside = workspace / "data" / "raw"
    inside.mkdir(parents=True)
    for arguments, cwd in (([], inside), (["--workspace", str(workspace)], tmp_path)):
        listed = serct("corpora", "list", *arguments, cwd=cwd)
        assert "mine" in listed.stdout
        assert listed.stderr == f"workspace: {workspace}\n"
    listed = serct("corpora", "list", cwd=tmp_path)
    assert "mine" not in listed.stdout
    assert listed.stderr == f"workspace: {ROOT}\n"


@pytest.mark.slow
def test_repro_names_the_keys_that_it_adds_once_before_dvc_starts(tmp_path: Path) -> None:
    workspace, _ = prepare_workspace(tmp_path / "ws", "demo")
    params = yaml.safe_load((workspace / "params.yaml").read_text())
    del params["promotion"]
    (workspace / "params.yaml").write_text(yaml.safe_dump(params))
    line = f"{workspace}/params.yaml: added promotion, which an older version did not have"
    first = serct("repro", "--target", "no_such_stage", cwd=workspace)
    assert first.stderr.count(line) == 1
    assert first.stderr.index(line) < first.stderr.index("no_such_stage")
    assert first.returncode == 255  # DVC's
    assert line not in serct("repro", "--target", "no_such_stage", cwd=workspace).stderr
