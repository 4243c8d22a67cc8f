"""dvc.yaml against the code: DVC follows no imports, a forgotten dependency is a stale result."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from serct.config.params import Params
from tests.conftest import ROOT

STAGES: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

# Modules whose change cannot change any stage's output. Errors and logging only speak; atomic
# decides when a file appears and how JSON is laid out, not what it says; params, emotions and
# spellings are data that reaches a stage through params.yaml, manifests and cards; tracking and
# what it draws with show results in MLflow and write nothing that another stage reads.
NOT_DATA = (
    "serct.errors", "serct.emotions", "serct.config", "serct.runtime", "pipeline.stage",
)  # fmt: skip
DATA = {"serct.runtime.distributed"}  # how processes divide a training decides its outcome
PROJECTIONS = (
    "serct.tracking",
    "serct.reports.plots",
    "serct.reports.thesis",
    "serct.reports.model_card",
)
# Verifying a download accepts or refuses; how to obtain or scan a corpus does not name its licence.
# Their __init__ files hold a docstring and nothing else.
PACKAGES = {
    "serct",
    "pipeline",
    "serct.data",
    "serct.data.decoding",
    "serct.evaluation",
    "serct.reports",
    "serct.training",
}
OBTAINING = {"serct.data.download", "serct.data.archives", "serct.data.partial_file"}
READING = {"serct.data.audio"} | {
    f"serct.data.decoding.{path.stem}" for path in ROOT.glob("serct/data/decoding/[a-z]*.py")
}
# Which recordings and names are one is decided by the manifest stage.
IDENTITY = {"serct.data.duplicates", "serct.data.names"}
SPARED = {
    "evaluate": {*OBTAINING, *IDENTITY, *READING, "serct.data.manifest"},
    "download": {*READING, "serct.data.duplicates", "serct.data.manifest"},
    "manifest": OBTAINING,
    "preprocess": OBTAINING | IDENTITY,
}


def stage_body(name: str) -> dict[str, Any]:
    body = STAGES[name]
    return dict(body.get("do", body))


def module_file(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.exists():
            return candidate
    return None


@cache
def imports_of(module: str) -> frozenset[str]:
    path = module_file(module)
    assert path is not None, module
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    if module == "serct.data.corpora":  # imports the file that params.yaml names
        found |= {f"{module}.{each.stem}" for each in path.parent.glob("*.py")} - {
            f"{module}.__init__"
        }
    return frozenset(
        m for m in found if m.split(".")[0] in ("serct", "pipeline") and module_file(m)
    )


def closure(module: str) -> set[str]:
    seen: set[str] = set()
    todo = [module]
    while todo:
        current = todo.pop()
        if current not in seen:
            seen.add(current)
            # What tracking imports is drawn, not computed with; `serct` names its parts lazily.
            stop = current == "serct" or current.startswith(PROJECTIONS)
            todo += [] if stop else imports_of(current)
    return seen


@pytest.mark.parametrize("name", STAGES)
def test_deps_cover_every_import_that_decides_the_output(name: str) -> None:
    body = stage_body(name)
    covered = {str(dep) for dep in body["deps"]}
    script = f"pipeline.{name}"
    needed = {
        module
        for module in closure(script) - SPARED.get(name, set()) - PACKAGES
        if module in DATA or not module.startswith(NOT_DATA)
    }
    own_outputs = {
        "evaluate": ("serct.reports.model_card",),
        "report": ("serct.reports.plots", "serct.reports.thesis"),
    }
    missing = []
    for module in sorted(needed):
        if module.startswith(PROJECTIONS) and module not in own_outputs.get(name, ()):
            continue
        # Preprocessing takes from a corpus only whether it is synthetic, which its reader decides.
        if name == "preprocess" and module.startswith(("serct.data.corpora", "serct.data.reading")):
            continue
        path = module_file(module)
        assert path is not None
        relative = path.relative_to(ROOT)
        if not any(str(p) in covered for p in (relative, *relative.parents)):
            missing.append(str(relative))
    assert not missing, f"stage {name} imports but does not depend on: {missing}"


@pytest.mark.parametrize("name", STAGES)
def test_deps_exist_and_paths_come_from_dvc_yaml(name: str) -> None:
    body = stage_body(name)
    for dep in body["deps"]:
        if not dep.startswith("data/"):
            assert (ROOT / dep).exists(), dep
    assert f"pipeline/{name}.py" in body["deps"]
    assert f"python -m pipeline.{name}" in body["cmd"]
    outs = [next(iter(out)) if isinstance(out, dict) else out for out in body["outs"]]
    for dep in body["deps"]:
        if dep.startswith("data/"):
            assert dep in body["cmd"] or any(p in body["cmd"] for p in parents(dep)), dep
    for out in outs:
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
    outs = [str(out) for name in STAGES for out in stage_body(name)["outs"]]
    assert len(outs) == len(set(outs))


def test_every_section_of_params_belongs_to_a_stage() -> None:
    used = {
        re.split(r"[.]", str(param))[0] for name in STAGES for param in stage_body(name)["params"]
    }
    # Names in MLflow, gates, limits of the service, searches and executors change no output.
    without = {"tracking", "promotion", "serving", "search", "executor"}
    assert used == set(Params.sections()) - without
