"""Rebuilding what MLflow shows from the files: after a lost database, a pull, a cache hit."""

from dataclasses import dataclass
from pathlib import Path

from serct.errors import TrackingError
from serct.tracking import completion, promotions, registry
from serct.tracking.connection import Connection, talking
from serct.tracking.folders import ModelFolder, ResultsFolder
from serct.tracking.results import log_results


@dataclass(frozen=True)
class SyncReport:
    """What a sync did.

    Attributes:
        models: How many model folders there are.
        actions: What was built, one line each; empty if all was there.
        problems: Folders that could not be shown, one line each.
    """

    models: int
    actions: tuple[str, ...]
    problems: tuple[str, ...]

    def __str__(self) -> str:
        """What to tell people, one line for each action and problem."""
        lines = [f"built {action}" for action in self.actions]
        lines += [f"problem: {problem}" for problem in self.problems]
        return "\n".join(lines or [f"nothing to do: {self.models} models are all shown"])


def sync(connection: Connection, data: Path) -> SyncReport:
    """Build whatever is missing: runs, versions, results; a second time there is nothing to do.

    Models are taken in the order in which their trainings ended, which is that of their
    registration, so versions are numbered as before.

    Args:
        connection: The store.
        data: The workspace's data folder.
    """
    actions: list[str] = []
    problems: list[str] = []
    folders = []
    for path in sorted((data / "models").glob("[!.]*/")):
        try:
            folders.append(ModelFolder.read(path))
        except TrackingError as error:
            problems.append(str(error))
    for folder in sorted(folders, key=lambda folder: (folder.ended_ms, folder.path.name)):
        name = folder.path.name
        try:
            with talking(connection.uri, f"sync {name}"):
                actions += [f"{name}: {action}" for action in _sync_model(connection, data, folder)]
        except TrackingError as error:
            problems.append(str(error))
    try:
        with talking(connection.uri, "give the champion back its name"):
            actions += _restore_champion(connection, data)
    except TrackingError as error:
        problems.append(str(error))
    return SyncReport(len(folders), tuple(actions), tuple(problems))


def _restore_champion(connection: Connection, data: Path) -> list[str]:
    """Set the aliases as the workspace's record of promotions says, unless there is a champion.

    One is left as it is: where a team shares a registry, another workspace may have promoted it.
    """
    entries = promotions.read_promotions(data)
    if not entries or any(
        registry.CHAMPION in version.aliases
        for version in registry.list_versions(connection.client, connection.registered_model)
    ):
        return []
    last = entries[-1]
    champion, previous = (
        registry.find_weights(connection, model.fingerprint, model.weights) if model else None
        for model in (last.champion, last.previous)
    )
    if champion is None:
        return []  # its folder holds another training by now
    registry.appoint(connection, champion, previous)
    return [f"champion: version {champion}"]


def _sync_model(connection: Connection, data: Path, folder: ModelFolder) -> list[str]:
    actions = []
    run_id, is_built = completion.ensure(connection, folder)
    if is_built:
        actions.append("run and version")
    elif registry.ensure_version(connection, run_id, folder):
        actions.append("version")
    for stage in ("evaluate", "zero_shot"):
        path = data / "reports" / stage / folder.path.name
        if (path / "metrics.json").exists() and log_results(
            connection, folder, ResultsFolder.read(path)
        ):
            actions.append(f"results of {stage}")
    return actions
