"""Studies: one question, tested with folds, seeds and models, pooled into a table.

A study is a file in `studies/`. Each of its cells, a seed and a fold, is a workspace in which the
pipeline runs; the cells share DVC's cache, so that nothing is computed twice.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, JsonValue

from serct.config.params import Params
from serct.config.reader import read_yaml
from serct.config.section import Name, Section, merge, validate
from serct.errors import ParamsError, SerctError
from serct.experiments.parallel import rebuild
from serct.experiments.settings import with_setting
from serct.experiments.studies.page import studies_page
from serct.experiments.studies.pooling import pool
from serct.experiments.studies.published import read_published, write_submissions
from serct.experiments.studies.results import STUDY_FILE, StudyResult, read_studies
from serct.experiments.workspace import prepare_workspace, project_root
from serct.runtime import atomic

# They take time in each cell; a study states its own.
_NO_CONDITIONS = ("robustness.conditions={}",)


class LeaveOut(Section):
    """Corpora of which each is left out in turn, and tested on without having been seen.

    Attributes:
        corpora: Entries of params.yaml, in the order in which training takes them in: the first of
            the others alone, then the first two, up to all of them.
        emotions: Of which training learns; a test is over those that its corpus has too.
    """

    corpora: Annotated[tuple[Name, ...], Field(min_length=2)]
    emotions: Annotated[tuple[str, ...], Field(min_length=2)]


class Study(Section):
    """The content of a study's file.

    Attributes:
        profile: Overlay on params.yaml; ``settings`` go on top.
        settings: ``set`` in the file.
        seeds: Each is a repetition of all folds.
        leave_out: Gives ``pipeline`` its corpora.
        published: A table of `studies/published` with scores of others on the same folds.
    """

    profile: str | None
    seeds: tuple[int, ...]
    settings: dict[str, JsonValue] = Field(alias="set")
    leave_out: LeaveOut | None = None
    published: Name | None = None


def list_studies() -> dict[str, str]:
    """Return the names of the studies in `studies/`, each with its first line."""
    found = sorted((project_root() / "studies").glob("*.yaml"))
    return {path.stem: path.read_text("utf-8").splitlines()[0].lstrip("# ") for path in found}


def run_study(
    name: str,
    folder: Path | None,
    jobs: int = 1,
    on_cell: Callable[[str], object] = lambda cell: None,
    changes: Sequence[str] = (),
) -> tuple[Path, StudyResult]:
    """Run the missing cells of a study and pool all.

    Args:
        name: A file in `studies/`.
        folder: Of its workspaces; ``build/studies/<name>`` in the checkout if None.
        jobs: Stages of a cell that run at the same time.
        on_cell: Called with the name of each cell before it runs.
        changes: Values of the study's file to replace, as "seeds=[3]"; keys of params.yaml too, as
            "train.epochs=2".

    Returns:
        The folder, where study.json was written, and its content. The page of all studies,
        index.html beside the folder, is written again. On the folds of EmoBox, predictions in its
        form are in the folder ``submissions``.

    Raises:
        ParamsError: If there is no such study, or its file is not valid.
        SerctError: If a cell fails.
    """
    study = _read(name, changes)
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
                _NO_CONDITIONS,
                overlay={**settings, "seed": seed},
                cache=folder / "cache",
            )
            if rebuild(cell, jobs):
                raise SerctError(f"{cell}: the pipeline failed; its messages are above")
            cells.append((seed, cell))
    if params is None:
        raise ParamsError(f"studies/{name}.yaml: seeds is empty, expected at least one")
    published = read_published(study.published, params) if study.published else {}
    result = pool(name, list_studies()[name], params, cells, study.leave_out is not None, published)
    if params.split.protocol == "emobox":
        write_submissions(folder, params, cells)
    atomic.write_json(folder / STUDY_FILE, result.as_json())
    atomic.write_text(folder.parent / "index.html", studies_page(read_studies(folder.parent)))
    return folder, result


def _read(name: str, changes: Sequence[str] = ()) -> Study:
    known = list_studies()
    if name not in known:
        raise ParamsError(f"no study {name!r}, expected one of: {', '.join(known)}")
    path = project_root() / "studies" / f"{name}.yaml"
    content = read_yaml(path)
    for change in changes:
        own = change.partition("=")[0].partition(".")[0] in Study.model_fields
        content = with_setting(content, change if own else f"set.{change}")
    study: Study = validate(Study, content, f"studies/{path.name}")
    if study.leave_out is None:
        return study
    settings = merge(
        _leave_out(study.leave_out, read_yaml(project_root() / "params.yaml")), study.settings
    )
    return study.model_copy(update={"settings": settings})


def _leave_out(chosen: LeaveOut, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the corpora of a pipeline that trains on all needed combinations of the others."""
    entries: Mapping[str, Any] = params["corpora"]
    if unknown := [name for name in chosen.corpora if name not in entries]:
        raise ParamsError(
            f"leave_out.corpora names {', '.join(unknown)}, expected entries of corpora in "
            f"params.yaml: {', '.join(entries)}"
        )
    joint: dict[str, Any] = {}
    trained_on: dict[str, None] = {}
    for left_out in chosen.corpora:
        others = [name for name in chosen.corpora if name != left_out]
        for count in range(1, len(others) + 1):
            name = "_and_".join(others[:count])
            trained_on[name] = None
            if count > 1:
                members = {member: entries[member] for member in others[:count]}
                emotions = list(chosen.emotions)
                joint[name] = {"reader": "joint", "emotions": emotions, "members": members}
    corpora = list(chosen.corpora)
    pipeline = {
        "corpora": [*corpora, *joint], "train_corpora": list(trained_on),
        "zero_shot_corpora": corpora,
    }  # fmt: skip
    return {"corpora": joint, "pipeline": pipeline}


def _folds(study: Study) -> Iterator[tuple[int, dict[str, JsonValue]]]:
    split = study.settings.get("split")
    num_folds = split.get("num_folds") if isinstance(split, dict) else None
    if not isinstance(num_folds, int) or not isinstance(split, dict):
        yield 0, study.settings
        return
    for fold in range(num_folds):
        yield fold, {**study.settings, "split": {**split, "fold": fold}}
