"""Rebuilds what MLflow shows from the files: after a lost database, a pull, a cache hit."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from serct.errors import TrackingError
from serct.models.records import UNUSED
from serct.tracking.folders import ModelFolder, ResultsFolder
from serct.tracking.promotions import FILE as PROMOTIONS
from serct.tracking.promotions import Entry, Promoted, read_promotions
from serct.tracking.registry import CHAMPION
from serct.tracking.runs import Store
from serct.tracking.versions import Version


@dataclass(frozen=True)
class SyncReport:
    """The result of a sync.

    Attributes:
        models: How many model folders there are.
        actions: What was built, one line each; empty if all was there.
        problems: Folders that could not be shown, one line each.
    """

    models: int
    actions: tuple[str, ...]
    problems: tuple[str, ...]

    def __str__(self) -> str:
        """Return the report for people, one line for each action and problem."""
        lines = [f"built {action}" for action in self.actions]
        lines += [f"problem: {problem}" for problem in self.problems]
        return "\n".join(lines or [f"nothing to do: {self.models} models are all shown"])


def card_file(data: Path, name: str) -> Path:
    """Return where the report keeps the card for people of a model's folder."""
    return data / "reports" / "cards" / f"{name}.md"


def sync_store(store: Store, data: Path, names: Sequence[str] | None = None) -> SyncReport:
    """Build whatever is missing: runs, versions, results; a second time there is nothing to do.

    Models are taken in the order in which their trainings ended, which is that of their
    registration, so versions are numbered as before.

    Args:
        store: Where to build it.
        data: The workspace's data folder.
        names: Folders of models to show; None: all that are there, those of models that
            params.yaml names no more included.
    """
    actions: list[str] = []
    problems: list[str] = []
    folders = []
    places = [data] if names is not None else [data, data / UNUSED]
    for path in sorted(path for place in places for path in (place / "models").glob("[!.]*/")):
        if names is not None and path.name not in names:
            continue
        try:
            folders.append(ModelFolder.read(path))
        except TrackingError as error:
            problems.append(str(error))
    folders.sort(key=lambda folder: (folder.ended_ms, folder.path.name))
    steps = [partial(_sync_model, store, folder.path.parents[1], folder) for folder in folders]
    for step in (*steps, partial(_restore_champion, store, data)):
        try:
            actions += step()
        except TrackingError as error:
            problems.append(str(error))
    return SyncReport(len(folders), tuple(actions), tuple(problems))


def _sync_model(store: Store, data: Path, folder: ModelFolder) -> list[str]:
    name, actions = folder.path.name, []
    with store.errors(f"sync {name}"):
        run_id, is_built = store.ensure(folder)
        if is_built:
            actions.append(f"{name}: run and version")
        elif store.register(run_id, folder):
            actions.append(f"{name}: version")
        for stage in ("evaluate", "zero_shot"):
            path = data / "reports" / stage / name
            if (path / "metrics.json").exists() and store.log_results(
                folder, ResultsFolder.read(path)
            ):
                actions.append(f"{name}: results of {stage}")
        card = _tested_card(data, folder)
        if card is not None and store.describe(folder, card):
            actions.append(f"{name}: model card")
    return actions


def _tested_card(data: Path, folder: ModelFolder) -> str | None:
    """Return the card for people that has a model's scores, None if there is none of this model.

    Up to serct 0.2 it lay beside the results.
    """
    old = data / "reports" / "evaluate" / folder.path.name / "model_card.md"
    for path in (card_file(data, folder.path.name), old):
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            if folder.fingerprint in text:  # not that of an earlier training
                return text
    return None


def _restore_champion(store: Store, data: Path) -> list[str]:
    """Set the aliases as recorded in the workspace's promotions, if the registry lacks that."""
    with store.errors("restore the champion"):
        if _move_to_restore(store, data) is None:
            return []
        # A promotion that goes on has recorded its move a moment before the registry has it.
        with store.moving_champion():
            move = _move_to_restore(store, data)
            if move is None:
                return []
            champion, previous, tags = move
            store.set_aliases(champion, previous, tags)
            return [f"champion: {store.name_of(champion)}"]


def _move_to_restore(store: Store, data: Path) -> tuple[str, str | None, dict[str, str]] | None:
    """Return the champion, the previous one and the tags to set; None if there is nothing to do.

    A champion is left as it is unless this record put it there and has a later line that the
    registry lacks: from another clone, or cut off before the registry had it. Where a team shares
    a registry, another workspace may have promoted it.

    Raises:
        TrackingError: If there is no champion or an older one, and the recorded one's weights are
            gone.
    """
    entries = read_promotions(data)
    if not entries:
        return None
    *earlier, last = entries
    champion, previous = (
        store.find_weights(model.fingerprint, model.weights) if model else None
        for model in (last.champion, last.previous)
    )
    holder = store.holder(CHAMPION)
    if holder is not None:
        is_before = previous == holder.version or _is_by(store, holder, earlier)
        if not is_before or _is_weights(holder, last.champion):
            return None
    if champion is None:
        raise TrackingError(
            f"{data / PROMOTIONS} names {last.champion} as the champion, but no version has its "
            "weights: `dvc pull` brings them in a clone; a folder that was deleted or trained "
            "again is in the commit of that promotion; or promote another version with "
            "--replace-unusable-champion"
        )
    if holder is not None and store.has_tags(champion, last.tags):
        return None
    return champion, previous, last.tags


def _is_by(store: Store, holder: Version, entries: Sequence[Entry]) -> bool:
    """Check whether one of the entries made a version the champion."""
    return any(
        _is_weights(holder, entry.champion) and store.has_tags(holder.version, entry.tags)
        for entry in entries
    )


def _is_weights(version: Version, recorded: Promoted) -> bool:
    return (version.fingerprint, version.weights) == (recorded.fingerprint, recorded.weights)
