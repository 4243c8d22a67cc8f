"""dvc.yaml against the code: a forgotten dependency is a stale result."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo

from serct.config.params import Params
from serct.config.reader import read_params
from serct.experiments.recipes import write_corpus_recipes, write_model_recipes
from serct.experiments.recipes.stages import SPARED
from serct.runtime.digests import file_digest
from serct.runtime.source import file_of_module, find_imported, is_within, source_digest
from tests.conftest import ROOT

STAGES: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
DATA_STAGES = ("download", "manifest", "preprocess")
RECIPES = {"corpora": "corpus_recipes", "models": "model_recipes"}


def stage_body(name: str) -> dict[str, Any]:
    body = STAGES[name]
    return dict(body.get("do", body))


def outs_of(name: str) -> list[str]:
    body = stage_body(name)
    listed = [*body["outs"], *body.get("metrics", [])]
    return [str(next(iter(out)) if isinstance(out, dict) else out) for out in listed]


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, dict[str, Any]]]:
    """The recipes of all corpora and models that params.yaml describes: kind -> path -> content."""
    params = read_params(ROOT / "params.yaml")
    params = params.replace(
        pipeline={
            **params.data["pipeline"],
            "corpora": list(params.corpora),
            "encoders": list(params.encoders),
            "models": list(params.models),
        }
    )
    folder = tmp_path_factory.mktemp("recipes")
    write_corpus_recipes(params, folder / "corpora")
    write_model_recipes(params, folder / "models")
    return {
        kind: {
            path.relative_to(folder / kind).with_suffix("").as_posix(): json.loads(path.read_text())
            for path in (folder / kind).rglob("*.json")
        }
        for kind in RECIPES
    }


@pytest.mark.parametrize("kind", RECIPES)
def test_recipes_are_written_again_when_what_they_hold_changes(
    kind: str, recipes: dict[str, dict[str, dict[str, Any]]]
) -> None:
    body = stage_body(RECIPES[kind])
    for path, recipe in recipes[kind].items():
        modules = [file_of_module(module) for module in recipe["code"]]
        for file in [*modules, *(ROOT / name for name in recipe["files"])]:
            assert file is not None
            relative = file.relative_to(ROOT)
            covered = any(str(each) in body["deps"] for each in (relative, *relative.parents))
            assert covered, f"{path}: {relative} is no dependency of {RECIPES[kind]}"


def test_the_code_that_makes_recipes_is_a_dependency_of_them() -> None:
    for stage in RECIPES.values():
        covered = set(stage_body(stage)["deps"])
        assert {f"pipeline/{stage}.py", "serct/experiments/recipes", "serct/config"} <= covered


def test_each_stage_depends_on_its_recipe(recipes: dict[str, dict[str, dict[str, Any]]]) -> None:
    for name in STAGES.keys() - set(RECIPES.values()):
        body = stage_body(name)
        [dep] = [dep for dep in body["deps"] if dep.startswith("data/recipes/")]
        assert dep.endswith(f"/{name}.json")
        path = re.sub(r"\$\{item(\.model)?\}", "*", dep.removeprefix("data/recipes/"))
        kind = path.partition("/")[0]
        assert any(Path(f"{kind}/{each}.json").match(path) for each in recipes[kind])
        assert all(dep.startswith("data/") for dep in body["deps"])


def test_recipes_differ_where_the_models_do(recipes: dict[str, dict[str, dict[str, Any]]]) -> None:
    models = recipes["models"]
    code = {name: set(models[f"{name}/train"]["code"]) for name in ("serct", "svm", "serct_plus")}
    assert "serct.models.layers.window_attention" in code["serct"] - code["svm"]
    assert "serct.models.classical.kernel" in code["svm"] - code["serct"]
    assert "serct.training.effects.noise" in code["serct_plus"] - code["serct"]
    assert not any(name.startswith("serct.models.cnn") for names in code.values() for name in names)
    assert set(models["svm/train"]["params"]["train"]) == {"augment", "max_error"}
    assert "gradient_clip" in models["serct/train"]["params"]["train"]
    corpora = recipes["corpora"]
    assert corpora["tess/download"]["files"] == {
        "serct/data/corpora/checksums/tess.csv": corpora["tess/download"]["files"][
            "serct/data/corpora/checksums/tess.csv"
        ]
    }
    joint = corpora["tess_emodb/download"]
    assert {"serct.data.corpora.tess", "serct.data.corpora.emodb"} <= set(joint["code"])
    assert len(joint["files"]) == 2


@pytest.mark.parametrize("stage", SPARED)
def test_what_is_spared_would_be_there_otherwise(stage: str) -> None:
    """A name that matches nothing says that the list is out of date."""
    readers = [
        f"serct.data.corpora.{path.stem}"
        for path in (ROOT / "serct/data/corpora").glob("[a-z]*.py")
        if stage in ("download", "manifest")
    ]
    imported = find_imported([f"pipeline.{stage}", *readers], spared=())
    for name in SPARED[stage]:
        assert file_of_module(name) is not None, f"{name} does not exist"
    everywhere = {module for each in SPARED for module in find_imported([f"pipeline.{each}"], ())}
    for name in SPARED[stage]:
        of_stage = imported if name not in SPARED["train"] else everywhere
        assert any(is_within(module, {name}) for module in of_stage), f"{stage}: {name} is stale"


def test_a_digest_ignores_what_does_nothing() -> None:
    assert source_digest("serct.data") == ""
    assert len(source_digest("serct.data.splitting")) == 64


@pytest.mark.parametrize("name", STAGES)
def test_paths_come_from_dvc_yaml(name: str) -> None:
    body = stage_body(name)
    for dep in body["deps"]:
        if not dep.startswith("data/"):
            assert (ROOT / dep).exists(), dep
    assert f"python -m pipeline.{name}" in body["cmd"]
    for dep in body["deps"]:
        if dep.startswith("data/") and not dep.startswith("data/recipes/"):
            assert dep in body["cmd"] or any(p in body["cmd"] for p in parents(dep)), dep
    for out in outs_of(name):
        assert out in body["cmd"] or any(p in body["cmd"] for p in parents(out)), out


def parents(path: str) -> list[str]:
    return [str(p) for p in Path(path).parents if str(p) not in (".", "data")] or ["--data data"]


def test_stage_scripts_and_stages_are_the_same() -> None:
    scripts = {p.stem for p in (ROOT / "pipeline").glob("*.py")} - {"__init__", "stage"}
    assert scripts == set(STAGES)


def test_stage_scripts_are_thin() -> None:
    for path in (ROOT / "pipeline").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 100, path


def test_no_output_is_written_twice() -> None:
    outs = [out for name in STAGES for out in outs_of(name)]
    assert len(outs) == len(set(outs))


def test_every_section_of_params_belongs_to_a_recipe() -> None:
    params = [str(param) for stage in RECIPES.values() for param in stage_body(stage)["params"]]
    used = {param.partition(".")[0] for param in params}
    # Names in MLflow, gates, limits of the service, searches and executors change no output.
    without = {"tracking", "promotion", "serving", "search", "executor"}
    assert used == set(Params.sections()) - without


def test_the_committed_lock_is_of_this_code() -> None:
    """Whoever repeats the data stages of TESS and EMO-DB gets this file, byte by byte."""
    refresh = "run `dvc repro preprocess@tess preprocess@emodb` and commit dvc.lock"
    locked = yaml.load((ROOT / "dvc.lock").read_bytes(), yaml.CSafeLoader)["stages"]
    expected = {f"{kind}@{name}" for kind in DATA_STAGES for name in ("tess", "emodb")}
    assert locked.keys() == {"corpus_recipes", *expected}
    with Repo(str(ROOT)) as repo:
        [stage] = repo.stage.collect("corpus_recipes")
        changed = {str(dep): status for dep in stage.deps if (status := dep.status())}
    assert not changed, f"{changed}: {refresh}; without the recordings `dvc repro corpus_recipes`"


def test_the_committed_lock_is_of_these_recipes(tmp_path: Path) -> None:
    locked = yaml.load((ROOT / "dvc.lock").read_bytes(), yaml.CSafeLoader)["stages"]
    write_corpus_recipes(read_params(ROOT / "params.yaml"), tmp_path / "corpora")
    for kind in DATA_STAGES:
        for name in ("tess", "emodb"):
            recipe = f"data/recipes/corpora/{name}/{kind}.json"
            [digest] = [
                dep["md5"] for dep in locked[f"{kind}@{name}"]["deps"] if dep["path"] == recipe
            ]
            assert digest == file_digest(tmp_path / recipe.removeprefix("data/recipes/"), "md5")
