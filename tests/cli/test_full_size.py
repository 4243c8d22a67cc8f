"""`serct repro` says what the full size takes without a GPU, only while something is missing."""

from pathlib import Path

import pytest

from serct.cli.pipeline import _announce_full_size
from serct.config.reader import read_params
from serct.experiments import workspace
from serct.runtime import devices

PARAMS = read_params(Path(__file__).parents[2] / "params.yaml")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(workspace, "project_root", lambda: tmp_path)
    monkeypatch.setattr(devices, "may_have_gpu", lambda: False)
    return tmp_path


def test_without_a_gpu_the_time_and_the_small_profile_are_named(
    checkout: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _announce_full_size(checkout, PARAMS)
    found = capsys.readouterr()
    assert "about 10 hours" in found.err
    assert "serct repro --profile cpu" in found.err
    assert found.out == ""
    monkeypatch.setattr(devices, "may_have_gpu", lambda: True)
    _announce_full_size(checkout, PARAMS)
    assert capsys.readouterr().err == ""


def test_a_workspace_of_a_profile_gets_no_such_words(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _announce_full_size(checkout / "build/cpu", PARAMS)
    assert capsys.readouterr().err == ""


def test_once_all_is_trained_nothing_is_said(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    *trained, last = (checkout / "data/models" / f"tess-{m}" for m in PARAMS.pipeline.models)
    for folder in trained:
        folder.mkdir(parents=True)
        (folder / "card.json").touch()
    _announce_full_size(checkout, PARAMS)
    assert "10 hours" in capsys.readouterr().err
    last.mkdir()
    (last / "card.json").touch()
    _announce_full_size(checkout, PARAMS)
    assert capsys.readouterr().err == ""
