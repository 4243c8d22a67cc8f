"""Studies: one question, tested with folds, seeds and models, pooled into a table.

A study is a file in `studies/`. Each of its cells, a seed and a fold, is a workspace in which the
pipeline runs; the cells share DVC's cache, so that nothing is computed twice.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import Field, JsonValue

from serct.config.params import Params
from serct.config.reader import read_yaml
from serct.config.section import Section, validate
from serct.errors import ParamsError, SerctError
from serct.experiments.parallel import rebuild
from serct.experiments.studies.page import studies_page
from serct.experiments.studies.pooling import pool
from serct.experiments.studies.results import STUDY_FILE, StudyResult, read_studies
from serct.experiments.workspace import prepare_workspace, project_root
from serct.runtime import atomic

# What takes time in each cell and stands in no study's table.
_NOT_POOLED = ("robustness.conditions={}",)


class Study(Section):
    """The content of a study's file.

    Attributes:
        profile: Overlay on params.yaml; ``settings`` go on top.
        settings: ``set`` in the file.
        seeds: Each is a repetition of all folds.
    """

    profile: str | None
    seeds: tuple[int, ...]
    settings: dict[str, JsonValue] = Field(alias="set")


def list_studies() -> dict[str, str]:
    """Return the names of the studies in `studies/`, each with its first line."""
    found = sorted((project_root() / "studies").glob("*.yaml"))
    return {path.stem: path.read_text("utf-8").splitlines()[0].lstrip("# ") for path in found}


def run_study(
    name: str,
    folder: Path | None,
    jobs: int = 1,
    on_cell: Callable[[str], object] = lambda cell: None,
) -> tuple[Path, StudyResult]:
    """Run the missing cells of a study and pool all.

    Args:
        name: A file in `studies/`.
        folder: Of its workspaces; ``build/studies/<name>`` in the checkout if None.
        jobs: Stages of a cell that run at the same time.
        on_cell: Called with the name of each cell before it runs.

    Returns:
        The folder, where study.json was written, and its content. The page of all studies,
        index.html beside the folder, is written again.

    Raises:
        ParamsError: If there is no such study, or its file is not valid.
        SerctError: If a cell fails.
    """
    study = _read(name)
    folder = (folder or project_root() / "build" / "studies" / name).resolve()
    cells: list[tuple[int, Path]] = []
    params: Params | None = None
    for seed in study.seeds:
        for fold, settings in _folds(study):
            cell = folder / f"seed-{seed}-fold-{fold}"
            on_cell(cell.name)
            cell, params = prepare_workspace(
                cell,
                study.profile,
                _NOT_POOLED,
                overlay={**settings, "seed": seed},
                cache=folder / "cache",
            )
            if rebuild(cell, jobs):
                raise SerctError(f"{cell}: the pipeline failed; its messages are above")
            cells.append((seed, cell))
    if params is None:
        raise ParamsError(f"studies/{name}.yaml: seeds is empty, expected at least one")
    result = pool(name, list_studies()[name], params, cells)
    atomic.write_json(folder / STUDY_FILE, result.as_json())
    atomic.write_text(folder.parent / "index.html", studies_page(read_studies(folder.parent)))
    return folder, result


def _read(name: str) -> Study:
    known = list_studies()
    if name not in known:
        raise ParamsError(f"no study {name!r}, expected one of: {', '.join(known)}")
    path = project_root() / "studies" / f"{name}.yaml"
    return validate(Study, read_yaml(path), f"studies/{path.name}")


def _folds(study: Study) -> Iterator[tuple[int, dict[str, JsonValue]]]:
    split = study.settings.get("split")
    num_folds = split.get("num_folds") if isinstance(split, dict) else None
    if not isinstance(num_folds, int) or not isinstance(split, dict):
        yield 0, study.settings
        return
    for fold in range(num_folds):
        yield fold, {**study.settings, "split": {**split, "fold": fold}}
