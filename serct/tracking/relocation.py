"""Where MLflow's artifacts lie: checked, and corrected after a workspace was moved or copied."""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlparse

from serct.errors import TrackingError
from serct.tracking.connection import Connection

# Where MLflow keeps absolute addresses of artifacts.
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("model_versions", "source"),
)


def local_path(location: str) -> Path | None:
    """Return the folder behind an artifact location, None if it is not on this machine."""
    parsed = urlparse(location)
    if parsed.scheme not in ("", "file"):
        return None
    return Path(unquote(parsed.path) if parsed.scheme else location)


def relocation_problem(store: Connection, experiment: str, location: str) -> str | None:
    """Check that an experiment's artifacts lie where its database is.

    MLflow stores absolute paths. After a workspace has been moved or copied, it would go on
    writing to the old place, or find nothing there.

    Returns:
        What is wrong and what to do about it, None if all is well.
    """
    folder, database = local_path(location), store.database
    if folder is None or database is None:
        return None
    is_ours = database.parent == store.root
    if folder.is_relative_to(store.artifacts) or (not is_ours and folder.exists()):
        return None
    return (
        f"{store.shown}: experiment {experiment!r} keeps its artifacts in {folder}, expected them "
        f"in {store.artifacts}: the workspace was moved or copied. Run `serct relocate`; or delete "
        f"{database} and run `serct sync`, which builds runs and versions anew from data/"
    )


def store_problems(root: Path) -> list[str]:
    """Check that a workspace's store can be used; one that is not made yet is no problem.

    Returns:
        One sentence for each problem, with what to do about it.
    """
    store = Connection.of(root)
    if not store.exists:
        return []
    try:
        with store.errors("open the store"):
            experiments = store.open_client().search_experiments()
    except TrackingError as error:
        remedy = (
            "start the server or unset MLFLOW_TRACKING_URI"
            if store.database is None
            else f"delete {store.database} and run `serct sync`, which builds it anew from data/"
        )
        return [f"{error}; {remedy}"]
    found = (
        relocation_problem(store, experiment.name, experiment.artifact_location)
        for experiment in experiments
        # MLflow makes "Default" itself, with a folder in whatever directory it ran; unused here.
        if experiment.name != "Default"
    )
    return [problem for problem in found if problem is not None]


def artifact_place(root: Path, experiment: str) -> str | None:
    """Return where an experiment keeps its models, None if there is no such experiment yet.

    Raises:
        TrackingError: If the place cannot be read.
    """
    store = Connection.of(root)
    if not store.exists:
        return None
    with store.errors("read where models are kept"):
        from mlflow.artifacts import list_artifacts

        found = store.open_client().get_experiment_by_name(experiment)
        if found is None:
            return None
        list_artifacts(artifact_uri=found.artifact_location, tracking_uri=store.uri)
        return str(found.artifact_location)


def relocate(root: Path, experiment: str) -> int:
    """Write the present addresses of a workspace's artifacts into its database.

    Runs, versions and aliases stay what they are. All addresses are changed or none; the old
    place is neither read nor changed, so a copy leaves its original usable.

    Args:
        root: The workspace.
        experiment: Name of MLflow's experiment.

    Returns:
        How many addresses were changed; 0 if all were right.

    Raises:
        TrackingError: If the store is no database of the workspace's own, or the artifacts were
            not moved with it.
    """
    store = Connection.of(root)
    database, folder = store.database, store.artifacts
    if database is None or database.parent != store.root:
        raise TrackingError(
            f"{store.shown}: not a database of the workspace {store.root}; only that moves with "
            "it. A server's artifacts stay where the server keeps them"
        )
    if not store.exists:
        raise TrackingError(f"{database}: no such database; nothing to relocate")
    with store.lock, closing(sqlite3.connect(database)) as connection, connection:
        try:
            row = connection.execute(
                "SELECT artifact_location FROM experiments WHERE name = ?", (experiment,)
            ).fetchone()
            if row is None:
                raise TrackingError(f"{database}: no experiment {experiment!r}")
            old, new = str(row[0]).rsplit("/", 1)[0], store.artifacts_address
            if old == new:
                return 0
            if not folder.is_dir():
                raise TrackingError(
                    f"{folder}: no such folder, the runs' artifacts were not moved with the "
                    f"database. Bring them, or delete {database} and run `serct sync`, which "
                    "builds runs and versions anew from data/"
                )
            return sum(
                connection.execute(
                    # Names of tables and columns are the constants above.
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608
                    f"WHERE substr({column}, 1, ?) = ?",
                    (f"{new}/", len(old) + 2, len(old) + 1, f"{old}/"),
                ).rowcount
                for table, column in _ADDRESSES
            )
        except sqlite3.DatabaseError as error:
            raise TrackingError(f"{database}: not a database of MLflow ({error})") from error
