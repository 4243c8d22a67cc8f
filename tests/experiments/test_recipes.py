"""Leftovers: what is recorded is what params.yaml asks for."""

import contextlib
from pathlib import Path

import pytest
import yaml

from serct.config.params import Params, PipelineParams
from serct.errors import ParamsError
from serct.experiments.recipes import division_changed, set_leftovers_aside, write_corpus_recipes


def pipeline(models: list[str]) -> PipelineParams:
    return PipelineParams(
        corpora=("tess",), train_corpora=("tess",), zero_shot_corpora=(), models=tuple(models)
    )


def test_what_is_not_asked_for_is_set_aside_and_forgotten(tmp_path: Path) -> None:
    data, lock = tmp_path / "data", tmp_path / "dvc.lock"
    for name in ("models/tess-svm", "models/tess-cnn", "reports/evaluate/tess-svm", "shards/old"):
        (data / name).mkdir(parents=True)
        (data / name / "file").write_text(name)
    for name in ("shards/tess", "shards/.tess.partial", "raw/old", "unused/models/tess-svm"):
        (data / name).mkdir(parents=True)
    names = ("train@svm-tess", "train@cnn-tess", "download@old", "report", "mine@svm-tess")
    content = {"schema": "2.0", "stages": {name: {"cmd": name} for name in names}}
    lock.write_text(yaml.safe_dump(content, sort_keys=False))
    set_leftovers_aside(data, pipeline(["cnn"]), lock)
    left = {path.relative_to(data).as_posix() for path in data.rglob("*") if path.is_dir()}
    assert (data / "unused/models/tess-svm/file").read_text() == "models/tess-svm"
    assert {"unused/reports/evaluate/tess-svm", "unused/shards/old", "models/tess-cnn"} <= left
    # A killed process' folder is cleared by the next one; raw recordings are no one's dependency.
    assert {"shards/tess", "shards/.tess.partial", "raw/old"} <= left
    assert not {"models/tess-svm", "shards/old"} & left
    assert list(yaml.safe_load(lock.read_text())["stages"]) == [
        "train@cnn-tess", "report", "mine@svm-tess",
    ]  # fmt: skip
    before = lock.read_bytes()
    set_leftovers_aside(data, pipeline(["cnn"]), lock)
    assert lock.read_bytes() == before


def test_a_workspace_without_data_has_no_leftovers(tmp_path: Path) -> None:
    set_leftovers_aside(tmp_path / "data", pipeline(["cnn"]), tmp_path / "dvc.lock")
    assert list(tmp_path.iterdir()) == []


def test_a_changed_division_is_seen(tmp_path: Path, tiny_params: Params) -> None:
    """DVC does not watch a file outside the workspace; `serct repro` does."""
    table = tmp_path / "parts.csv"
    table.write_text("path,split\na.wav,train\n")
    path = "../parts.csv"
    split = tiny_params.data["split"] | {"protocol": "file", "path": path, "num_folds": None}
    params = Params({**tiny_params.data, "split": split}, "params.yaml")
    workspace = tmp_path / "workspace"
    assert not division_changed(params, workspace)
    recipes = workspace / "data" / "recipes" / "corpora"
    (tmp_path / "beside").mkdir()
    with contextlib.chdir(tmp_path / "beside"):
        write_corpus_recipes(params, recipes)
    assert not division_changed(params, workspace)
    table.write_text("path,split\na.wav,test\n")
    assert division_changed(params, workspace)
    assert not division_changed(tiny_params, workspace)


def test_a_corpus_may_be_divided_in_a_way_of_its_own(tmp_path: Path, tiny_params: Params) -> None:
    table = tmp_path / "parts.csv"
    table.write_text("path,split\na.wav,train\n")
    own = {"protocol": "file", "path": str(table), "num_folds": None}
    corpora = {
        name: entry | ({"split": own} if name == "emodb" else {})
        for name, entry in tiny_params.data["corpora"].items()
    }
    pipeline = tiny_params.data["pipeline"] | {"corpora": ["tess", "emodb"]}
    params = Params({**tiny_params.data, "corpora": corpora, "pipeline": pipeline}, "params.yaml")
    assert params.split_params("tess") == params.split
    assert params.split_params("emodb").path == str(table)
    write_corpus_recipes(params, tmp_path / "own")
    plain = Params({**tiny_params.data, "pipeline": pipeline}, "params.yaml")
    write_corpus_recipes(plain, tmp_path / "plain")
    changed = {
        path.relative_to(tmp_path / "own").as_posix()
        for path in (tmp_path / "own").rglob("*.json")
        if path.read_bytes()
        != (tmp_path / "plain" / path.relative_to(tmp_path / "own")).read_bytes()
    }
    assert changed == {"emodb/manifest.json", "emodb/preprocess.json"}
    corpora["emodb"] = {"reader": "emodb", "split": {"protocol": "emobox"}}
    with pytest.raises(ParamsError, match=r"corpora.emodb.split.*emobox protocol needs path"):
        Params({**params.data, "corpora": corpora}, "params.yaml").split_params("emodb")
