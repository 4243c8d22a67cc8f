"""Models and workspaces of commit ef68e99 are of use: they load, predict the same, and serve.

`tests/fixtures/ef68e99` holds what that commit wrote; `make_fixtures.py` there says how.
"""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from serct import Predictor
from serct.config.reader import read_params
from serct.data.archives import extract
from serct.data.dataset import ShardDataset
from serct.errors import CheckpointError
from serct.evaluation.classifiers import as_classifier
from serct.evaluation.evaluate import evaluate
from serct.models.checkpoint import load_card, load_model
from serct.reports.results import line_up, read_results
from serct.tracking.promotions import read_promotions
from tests.conftest import ROOT
from tests.service_process import running

FIXTURES = ROOT / "tests" / "fixtures" / "ef68e99"
EXPECTED: dict[str, Any] = json.loads((FIXTURES / "expected.json").read_text())
MODELS = sorted(EXPECTED["models"])


def unpack(destination: Path) -> Path:
    """Copy the fixtures, archives unpacked; give the workspace in it.

    Beside it, row.wav has what fits into a row of the models: those days predicted no more.
    """
    shutil.copytree(FIXTURES, destination)
    samples, rate = soundfile.read(destination / "clip.wav", dtype="int16")
    soundfile.write(destination / "row.wav", samples[:1000], rate)
    for path in destination.glob("*.tar.xz"):
        extract(path, destination / "unpacked", max_bytes=10**8)
        shutil.copytree(destination / "unpacked", destination, dirs_exist_ok=True)
    return destination / "workspace"


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(tmp_path_factory.mktemp("old") / "ef68e99")


@pytest.fixture(autouse=True)
def _in_workspace(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(old)  # the card of ssl names its encoder's folder from there


@pytest.mark.parametrize("name", MODELS)
def test_every_architecture_predicts_the_same(old: Path, name: str) -> None:
    predictor = Predictor.load(old / "data" / "models" / name)
    found = predictor.predict_file(old.parent / "row.wav")
    expected = EXPECTED["models"][name]
    assert found == pytest.approx(expected["probabilities"], abs=1e-4)
    assert predictor.decide(found) == expected["decision"]


@pytest.mark.parametrize("name", MODELS)
def test_every_architecture_scores_the_same(old: Path, name: str) -> None:
    model, card = load_model(old / "data" / "models" / name)
    dataset = ShardDataset(old / "data" / "shards" / "demo_en", ["test"], card.emotions)
    scores = evaluate(as_classifier(model, torch.device("cpu")), dataset, 8).scores
    expected = EXPECTED["models"][name]
    assert (scores.ua, scores.wa) == (
        pytest.approx(expected["test_ua"]),
        pytest.approx(expected["test_wa"]),
    )


def test_an_exported_model_predicts_the_same(old: Path) -> None:
    found = Predictor.load(old.parent / "onnx").predict_file(old.parent / "row.wav")
    assert found == pytest.approx(EXPECTED["onnx"]["probabilities"], abs=1e-4)


def test_results_and_promotions_are_read(old: Path) -> None:
    params = read_params(old / "params.yaml")
    models = read_results(old / "data", params.pipeline)
    assert {f"{m.corpus}-{m.name}" for m in models} == set(MODELS)
    assert {result.kind for result in line_up(models)} == {"test", "masked", "unmasked"}
    for model in models:
        expected = EXPECTED["models"][f"{model.corpus}-{model.name}"]
        assert model.metrics.ua == pytest.approx(expected["test_ua"])
    [entry] = read_promotions(old / "data")
    assert (entry.action, entry.champion.name) == ("promote", "serct")


GAINED_KEY = "a_key_of_a_later_version"


@pytest.mark.slow
def test_a_key_that_any_section_gains_stops_no_old_model(old: Path, tmp_path: Path) -> None:
    """In a copy of the code each section of params.yaml has one more required key."""
    shutil.copytree(ROOT / "serct", tmp_path / "serct", ignore=shutil.ignore_patterns("*.pyc"))
    sections = set()
    for path in [*(tmp_path / "serct/config").glob("*.py"), *(tmp_path / "serct").rglob("*.py")]:
        text = path.read_text()
        pattern = r'(class (\w+(?:Params|Section|Schedule|Executor))\(.*?\):\n    """.*?"""\n)'
        changed = re.sub(pattern, rf"\1\n    {GAINED_KEY}: int\n", text, flags=re.DOTALL)
        sections |= {found[1] for found in re.findall(pattern, text, flags=re.DOTALL)}
        if changed != text:
            path.write_text(changed)
    assert {"TrainParams", "AudioParams", "SplitParams", "SerctParams"} <= sections
    code = f"""
import json, sys
from pathlib import Path
from serct import Predictor
from serct.config.params import TrainParams
assert "{GAINED_KEY}" in TrainParams.model_fields
found = {{
    name: Predictor.load(Path("data/models") / name).predict_file("../row.wav")
    for name in {MODELS!r}
}}
print(json.dumps(found))
"""
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=old,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    for name, probabilities in json.loads(process.stdout.splitlines()[-1]).items():
        assert probabilities == pytest.approx(
            EXPECTED["models"][name]["probabilities"], abs=1e-4
        ), name


def rewritten(folder: Path, destination: Path, change: dict[str, Any]) -> Path:
    shutil.copytree(folder, destination)
    path = destination / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    return destination


def test_what_training_used_never_decides(old: Path, tmp_path: Path) -> None:
    folder = old / "data" / "models" / "demo_en-mlp"
    strange = {"epochs": "many", "a_vanished_key": 1}
    model, card = load_model(rewritten(folder, tmp_path / "m", {"training": strange}))
    assert card.training == strange
    assert model.num_parameters > 0


def test_cards_of_version_1_are_not_calibrated(old: Path, tmp_path: Path) -> None:
    folder = old / "data" / "models" / "demo_en-cnn"
    first = rewritten(folder, tmp_path / "m", {"format_version": 1})
    card = json.loads((first / "card.json").read_text())
    del card["calibration"]
    (first / "card.json").write_text(json.dumps(card))
    assert load_card(first).calibration.temperature == 1.0


def test_keys_that_an_architecture_gained_have_the_value_of_before(
    old: Path, tmp_path: Path
) -> None:
    folder = old / "data" / "models" / "demo_en-serct"
    entry = json.loads((folder / "card.json").read_text())["architecture"]
    for key in ("attention", "neutral_input", "noise_floor_db"):
        del entry[key]
    before = rewritten(folder, tmp_path / "m", {"architecture": entry})
    found = Predictor.load(before).predict_file(old.parent / "row.wav")
    expected = EXPECTED["models"]["demo_en-serct"]["probabilities"]
    assert found == pytest.approx(expected, abs=1e-4)


def test_an_unknown_architecture_is_named(old: Path, tmp_path: Path) -> None:
    folder = old / "data" / "models" / "demo_en-cnn"
    gone = rewritten(folder, tmp_path / "m", {"architecture": {"architecture": "functionals_svm"}})
    with pytest.raises(
        CheckpointError, match=r"architecture is 'functionals_svm', expected one of: cnn"
    ):
        load_model(gone)


def test_shards_of_version_1_name_their_one_corpus(old: Path, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shutil.copytree(old / "data" / "shards" / "demo_de", shards)
    meta = json.loads((shards / "meta.json").read_text()) | {"format_version": 1}
    (shards / "meta.json").write_text(json.dumps(meta))
    with (shards / "index.csv").open(newline="") as file:
        rows = [
            {key: value for key, value in row.items() if key not in ("corpus", "language")}
            for row in csv.DictReader(file)
        ]
    with (shards / "index.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    dataset = ShardDataset(shards, ["train", "validation", "test"])
    assert {(row.corpus, row.language) for row in dataset.rows} == {("demo_de", "de")}


@pytest.mark.slow
def test_an_old_workspace_is_synced_promoted_and_served(tmp_path: Path) -> None:
    """Everything that `serct` does with a workspace, on one that lacks MLflow's database."""
    workspace = unpack(tmp_path / "old")

    def serct(*arguments: str) -> str:
        command = [sys.executable, "-m", "serct.cli", *arguments, "--workspace", str(workspace)]
        process = subprocess.run(command, capture_output=True, text=True, cwd=workspace)
        assert process.returncode == 0, process.stderr
        return process.stdout

    serct("sync")
    listed = serct("models")
    assert "champion" in listed
    report = serct("report")
    assert report.count("demo_en*") >= len(MODELS)
    assert "champion: version 11 (functionals_lda on demo_en" in serct("promote", "11")
    clip = (workspace.parent / "row.wav").read_bytes()
    with running("--workspace", str(workspace)) as service:
        service.wait_for_version("11")
        found = service.post("/v1/predict", "files", ("row.wav", clip)).json()
    [prediction] = found["predictions"]
    expected = EXPECTED["models"]["demo_en-functionals_lda"]["probabilities"]
    assert prediction["probabilities"] == pytest.approx(expected, abs=1e-4)
