"""The checks of `serct doctor --deep`: is every file of a workspace the one that was written.

Whoever uses a file checks it all the same; here all of them are read, before anybody needs them.
A folder that is sound and stands in the place of another is found by its name.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from serct.config.reader import read_params
from serct.data.dataset import ShardDataset
from serct.data.shards import ZeroShotTargets, read_meta
from serct.errors import SerctError, list_problems
from serct.experiments.studies.results import read_studies
from serct.tracking import artifact_place, find_model, known_versions, read_promotions
from serct.tracking.folders import ModelFolder, ResultsFolder
from serct.training.state import check_state


def check_models(root: Path) -> str:
    """Read every trained model's folder; see `check_shards`."""

    def read(folder: Path) -> None:
        card = _read_model(folder).card
        _check_name(folder, f"{card['corpus']}-{card['name']}")

    return _check("models", _folders(root / "data" / "models"), read)


def check_shards(root: Path) -> str:
    """Read every row of every corpus.

    Returns:
        How many there are.

    Raises:
        SerctError: Naming every file that is damaged or missing.
    """

    def read_rows(folder: Path) -> None:
        dataset = ShardDataset(folder, list(read_meta(folder, folder.name).counts))
        for index in range(len(dataset)):
            dataset.recording(index)

    return _check("corpora", _folders(root / "data" / "shards"), read_rows)


def check_results(root: Path) -> str:
    """Read the results of models and studies, and the record of promotions; see `check_shards`."""

    def read(folder: Path) -> None:
        found = ResultsFolder.read(folder)
        list(found.confusions())
        _check_name(folder, f"{found.metrics['corpus']}-{found.metrics['model']}")

    read_promotions(root / "data")
    read_studies(root / "build" / "studies")
    targets = root / "data" / "zero_shot_targets.json"
    if targets.exists():
        ZeroShotTargets.read(targets)
    reports = (root / "data" / "reports" / kind for kind in ("evaluate", "zero_shot"))
    return _check("results", [each for parent in reports for each in _folders(parent)], read)


def check_trainings(root: Path) -> str:
    """Read the state of every unfinished training; see `check_shards`."""
    states = [*root.glob("data/training/*.safetensors"), *root.glob("data/search/*/*.safetensors")]
    return _check("unfinished trainings", sorted(states), check_state)


def check_versions(root: Path) -> str:
    """Read the registry's copy of every version; see `check_shards`."""
    section = read_params(root / "params.yaml").tracking
    if artifact_place(root, section.experiment) is None:
        return "no experiment yet: the first training makes it"
    name = f"models:/{section.registered_model}"
    numbers = [found.version for found in known_versions(name, root)]
    return _check("versions", numbers, lambda each: _read_model(find_model(f"{name}/{each}", root)))


def _read_model(folder: Path) -> ModelFolder:
    found = ModelFolder.read(folder)
    _ = found.weights_digest
    return found


def _check_name(folder: Path, expected: str) -> None:
    if folder.name != expected:
        raise SerctError(f"{folder}: holds {expected}, expected what its name says")


def _folders(parent: Path) -> list[Path]:
    return sorted(parent.glob("[!.]*/"))


def _check(what: str, items: Iterable[object], read: Callable[..., object]) -> str:
    listed, problems = list(items), []
    for item in listed:
        try:
            read(item)
        except SerctError as error:
            problems.append(str(error))
    if problems:
        raise SerctError(f"{len(problems)} of {len(listed)} {what}:\n{list_problems(problems)}")
    return f"{len(listed)} {what}, all as they were written"
