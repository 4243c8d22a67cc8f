"""The command line starts at once and says what is wrong in one line."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from serct import tracking
from serct.cli.shared import app
from serct.experiments.workspace import prepare_workspace
from tests.conftest import ROOT, add_version, make_workspace


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "--model", "nowhere", "x.wav"], "error: nowhere/card.json: no such file"),
        pytest.param(
            ["serve", "--model", "nowhere", "--port", "0"],
            "error: nowhere/card.json: no such file",
            marks=pytest.mark.slow,
        ),
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


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--enrol", "--voice"])
def test_recordings_of_a_speaker_under_all_spellings(
    option: str, trained: dict[str, Path], tones: Path
) -> None:
    file = next(tones.rglob("*.wav"))
    result = serct("predict", "--model", str(trained["cnn"]), option, str(tones), str(file))
    assert result.returncode == 1
    assert "error: model cnn " in result.stderr  # it does not adapt to a speaker
    assert ("--voice are now --enrol" in result.stderr) is (option != "--enrol")


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


@pytest.mark.slow
@pytest.mark.parametrize("command", ["ui", "serve", "app"])
def test_an_occupied_port_is_refused_at_once(command: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = serct(command, "--port", str(port), "--workspace", str(tmp_path))
    assert found.returncode == 1
    assert f"error: 127.0.0.1:{port} cannot be listened on: Address already in use" in found.stderr
    assert "Started" not in found.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize("port", ["65536", "99999", "-1"])
@pytest.mark.parametrize("command", ["ui", "serve", "app"])
def test_a_port_that_does_not_exist_is_refused(command: str, port: str) -> None:
    found = CliRunner().invoke(app, [command, "--port", port])
    assert found.exit_code == 2
    assert "or equal to" in found.output


@pytest.mark.slow
def test_listings_and_failures_make_nothing_in_a_new_workspace(tmp_path: Path) -> None:
    workspace, _ = prepare_workspace(tmp_path / "ws", "demo")
    before = sorted(tmp_path.rglob("*"))

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        found = serct(*arguments, "--workspace", str(workspace), cwd=tmp_path)
        assert sorted(tmp_path.rglob("*")) == before, arguments
        assert f"workspace: {workspace}\n" in found.stderr
        return found

    none = f"no registry yet in {workspace}: a training registers the first one (`serct repro`)"
    assert run("models").stdout == f"{none}\n"
    listed = run("models", "--json")
    assert json.loads(listed.stdout) == []
    assert none in listed.stderr
    assert f"error: {none}" in run("promote").stderr
    assert f"error: {none}" in run("rollback", "--json").stderr
    assert "no tracking store here" in run("predict", "x.wav").stderr
    assert run("report").returncode == 1
    model = workspace / "data" / "models" / "demo_en-svm"
    model.mkdir(parents=True)
    (model / "card.json").write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    assert run("models").stdout == (
        f"no registry yet in {workspace}, but trained models (demo_en-svm): `serct sync` registers "
        "them\n"
    )


@pytest.mark.slow
def test_all_commands_use_the_champion_else_the_challenger(
    trained: dict[str, Path], tone_shards: Path, new_database: Path, tones: Path, tmp_path: Path
) -> None:
    root = tmp_path / "ws"
    root.mkdir()
    make_workspace(root, trained["serct"], tone_shards, new_database)
    before = sorted(tmp_path.rglob("*"))
    clip = str(next(tones.rglob("*.wav")))
    shards = str(root / "data" / "shards" / "tones")

    def model_of(*arguments: str) -> str:
        found = serct(*arguments, "--workspace", str(root), cwd=tmp_path)
        assert found.returncode == 0, found.stderr
        line, *more = found.stderr.splitlines()
        assert line == f"workspace: {root}"
        return next(each for each in more if "version" in each)

    digits = tracking.known_versions("models:/serct", root)[0].fingerprint[:7]
    name = f"version 1 (serct on tones, {digits})"
    challenger = f"there is no champion yet: using challenger, {name}"
    assert model_of("predict", clip) == challenger
    assert sorted(tmp_path.rglob("*")) == before
    second = add_version(root, 2, 0.001)
    tracking.open_store(root, "serct", "serct").set_aliases(second, None, {})
    champion = f"model: version {second} (serct on tones, seed2), champion"
    for command in (
        ["predict", clip],
        ["score", str(tones), "--out", str(tmp_path / "scored"), "--json"],
        ["evaluate", "--shards", shards],
    ):
        assert model_of(*command) == champion
    listed = json.loads(serct("models", "--json", "--workspace", str(root)).stdout)
    assert [version["aliases"] for version in listed] == [["challenger"], ["champion"]]
    # A service resolves the same address at each of its polls.
    found = tracking.find_version("models:/serct", root)
    assert found is not None
    assert found.number == second
    missing = serct("predict", "--model", "models:/serct@previous", clip, "--workspace", str(root))
    assert (
        f"has no '@previous', it has {name[:-1]}, @challenger), version 2 (serct on tones, seed2, "
        "@champion); only a second"
    ) in missing.stderr


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_no_encoding_of_the_output_ends_a_command(encoding: str, tmp_path: Path) -> None:
    """Neither a Chinese name nor one that is not UTF-8."""
    workspace = tmp_path / "情感"
    workspace.mkdir()
    (workspace / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    for arguments in (
        ["corpora", "list", "--workspace", str(workspace)],
        ["models", "--workspace", str(workspace)],
        ["models", "--json", "--workspace", str(workspace)],
        ["predict", "--model", "nowhere", os.fsdecode(b"caf\xe9.wav")],
    ):
        found = subprocess.run(
            [sys.executable, "-m", "serct.cli", *arguments],
            env={**os.environ, "PYTHONIOENCODING": encoding},
            capture_output=True,
            timeout=120,
        )
        assert b"Traceback" not in found.stderr, arguments
        assert found.returncode == (1 if "predict" in arguments else 0)
        if arguments[0] == "models" and encoding != "ascii":  # for that click writes UTF-8
            written = "情感" if encoding == "utf-8" else r"\u60c5\u611f"
            assert written in found.stdout.decode(encoding) + found.stderr.decode(encoding)
