"""Telling MLflow's database where its artifacts lie, after a workspace was moved or copied."""

import sqlite3
from contextlib import closing
from pathlib import Path

from filelock import FileLock

from serct.errors import TrackingError
from serct.tracking import address
from serct.tracking.connection import LOCK_TIMEOUT_S

# Where MLflow keeps absolute addresses of artifacts.
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("model_versions", "source"),
)


def relocate(root: Path, experiment: str) -> int:
    """Rewrite the addresses of a workspace's artifacts to where they lie now.

    Runs, versions and aliases stay what they are. Done whole or not at all; the old place is
    neither read nor changed, so a copy leaves its original usable.

    Args:
        root: The workspace.
        experiment: Name of MLflow's experiment.

    Returns:
        How many addresses were changed; 0 if all were right.

    Raises:
        TrackingError: If the store is no database of the workspace's own, or the artifacts were
            not moved with it.
    """
    root = root.resolve()
    uri = address.tracking_uri(root)
    database, folder = address.database_path(uri), address.artifact_folder(uri, root)
    if database is None or database.parent != root:
        raise TrackingError(
            f"{uri}: not a database of the workspace {root}; only that moves with it. A server's "
            "artifacts stay where the server keeps them"
        )
    if not database.exists():
        raise TrackingError(f"{database}: no such database; nothing to relocate")
    with (
        FileLock(address.lock_path(uri, root), timeout=LOCK_TIMEOUT_S),
        closing(sqlite3.connect(database)) as connection,
        connection,
    ):
        try:
            row = connection.execute(
                "SELECT artifact_location FROM experiments WHERE name = ?", (experiment,)
            ).fetchone()
            if row is None:
                raise TrackingError(f"{database}: no experiment {experiment!r}")
            before, behind = str(row[0]).rsplit("/", 1)[0], str(folder)
            if before == behind:
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
                    (f"{behind}/", len(before) + 2, len(before) + 1, f"{before}/"),
                ).rowcount
                for table, column in _ADDRESSES
            )
        except sqlite3.DatabaseError as error:
            raise TrackingError(f"{database}: not a database of MLflow ({error})") from error
