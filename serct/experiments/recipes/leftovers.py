"""Keeps what params.yaml no longer names out of what DVC records.

Some stages depend on a folder as a whole, as the report does on all models. A model that was
dropped from the list would be recorded in dvc.lock with the rest, and a clone, which never had it,
would differ.
"""

import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from serct.config.params import PipelineParams
from serct.models.records import UNUSED
from serct.runtime.disk import disk_errors
from serct.runtime.log import logger

_FOLDERS_OF_CORPORA = ("shards",)
_FOLDERS_OF_MODELS = ("models", "reports/evaluate", "reports/zero_shot")
_STAGES_OF_CORPORA = ("download", "manifest", "preprocess")
_STAGES_OF_MODELS = ("train", "evaluate", "zero_shot")
_STAGE_OF_ENCODERS = "download_encoder"


def set_leftovers_aside(data: Path, pipeline: PipelineParams, lock: Path) -> None:
    """Move folders that params.yaml does not ask for to ``unused``, and forget their stages.

    Nothing is lost: what was built stays in ``unused``, and in DVC's cache, from which `dvc repro`
    takes it when it is named again.

    Args:
        data: The folder of all artefacts.
        pipeline: What is asked for.
        lock: The file dvc.lock, if there is one.

    Raises:
        DiskError: If a folder cannot be moved.
    """
    trained = [(corpus, model) for corpus in pipeline.train_corpora for model in pipeline.models]
    folders = {f"{corpus}-{model}" for corpus, model in trained}
    for parents, wanted in (
        (_FOLDERS_OF_CORPORA, set(pipeline.corpora)),
        (_FOLDERS_OF_MODELS, folders),
    ):
        for parent in parents:
            for folder in _others(data / parent, wanted):
                _move(folder, data / UNUSED / parent / folder.name)
    stages = {f"{stage}@{name}" for stage in _STAGES_OF_CORPORA for name in pipeline.corpora}
    stages |= {
        f"{stage}@{model}-{corpus}" for stage in _STAGES_OF_MODELS for corpus, model in trained
    }
    stages |= {f"{_STAGE_OF_ENCODERS}@{name}" for name in pipeline.encoders}
    if lock.exists():
        _forget_stages(lock, stages)


def _others(parent: Path, wanted: Collection[str]) -> Iterator[Path]:
    """Yield what lies in a folder and is not wanted; a hidden file is what a kill left."""
    for path in sorted(parent.iterdir()) if parent.is_dir() else ():
        if path.name not in wanted and not path.name.startswith("."):
            yield path


def _move(folder: Path, aside: Path) -> None:
    with disk_errors(aside):
        aside.parent.mkdir(parents=True, exist_ok=True)
        if aside.is_dir():
            shutil.rmtree(aside)  # of the same name, set aside earlier
        folder.rename(aside)
    logger.info("%s: params.yaml does not name it any more; moved to %s", folder, aside)


def _forget_stages(lock: Path, wanted: Collection[str]) -> None:
    """Remove the stages of other corpora and models; DVC reads the file anew before it writes."""

    def is_other(name: str) -> bool:
        kind = name.partition("@")[0]
        ours = {*_STAGES_OF_CORPORA, *_STAGES_OF_MODELS, _STAGE_OF_ENCODERS}
        return "@" in name and kind in ours and name not in wanted

    lines = lock.read_text(encoding="utf-8").splitlines()
    if not any(is_other(line.strip(" :")) for line in lines if line.endswith(":")):
        return
    # DVC takes a while to import, and there is seldom anything to forget.
    from dvc.fs import LocalFileSystem
    from dvc.utils.serialize import modify_yaml

    with modify_yaml(str(lock), fs=LocalFileSystem()) as content:
        for name in [each for each in content.get("stages") or {} if is_other(each)]:
            del content["stages"][name]
