"""Where the tracking store is: its address, its files, and what can be wrong with them."""

import os
from pathlib import Path
from urllib.parse import unquote, urlparse

from serct.errors import TrackingError
from serct.tracking.connection import talking

_SQLITE = "sqlite:///"


def tracking_uri(root: Path) -> str:
    """Give the store's address: ``MLFLOW_TRACKING_URI`` if set, else mlflow.db in the workspace.

    A relative sqlite path is taken from the workspace, so that the working directory, which
    differs for `dvc exp run --temp`, does not matter.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}{root.resolve()}/mlflow.db"
    path = database_path(uri)
    return uri if path is None else f"{_SQLITE}{root.resolve() / path}"


def database_path(uri: str) -> Path | None:
    """Give the file behind a sqlite address, None for any other store."""
    return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None


def is_server(uri: str) -> bool:
    """Tell whether the store is a tracking server, which then decides where artifacts go."""
    return urlparse(uri).scheme in ("http", "https")


def lock_path(uri: str, root: Path) -> Path:
    """Give the lock's file: beside the database, so that all workspaces that share it agree."""
    path = database_path(uri)
    return root / ".mlflow.lock" if path is None else path.with_name(f"{path.name}.lock")


def artifact_folder(uri: str, root: Path) -> Path:
    """Give the folder for artifacts of a store that we write directly: beside the database."""
    path = database_path(uri)
    return (root if path is None else path.parent) / "mlruns"


def local_path(location: str) -> Path | None:
    """Give the folder behind an artifact location, None if it is not on this machine."""
    parsed = urlparse(location)
    if parsed.scheme not in ("", "file"):
        return None
    return Path(unquote(parsed.path) if parsed.scheme else location)


def relocation_problem(uri: str, root: Path, experiment: str, location: str) -> str | None:
    """Tell whether an experiment's artifacts lie where the database no longer is.

    MLflow stores absolute paths. After a workspace has been moved or copied, it would go on
    writing to the old place, or find nothing there.
    """
    folder, database = local_path(location), database_path(uri)
    if folder is None or database is None:
        return None
    expected = artifact_folder(uri, root)
    is_ours = database.parent == root.resolve()
    if folder.is_relative_to(expected) or (not is_ours and folder.exists()):
        return None
    return (
        f"{uri}: experiment {experiment!r} keeps its artifacts in {folder}, expected them in "
        f"{expected}: the workspace was moved or copied. Run `serct relocate`; or delete "
        f"{database} and run `serct sync`, which builds runs and versions anew from data/"
    )


def artifact_place(root: Path, experiment: str) -> str | None:
    """Tell where an experiment keeps its models, having looked there.

    Args:
        root: The workspace.
        experiment: Its name.

    Returns:
        None if there is no such experiment yet.

    Raises:
        TrackingError: If the place cannot be read.
    """
    uri = tracking_uri(root)
    database = database_path(uri)
    if database is not None and not database.exists():
        return None
    with talking(uri, "read where models are kept"):
        from mlflow import MlflowClient
        from mlflow.artifacts import list_artifacts

        found = MlflowClient(uri, registry_uri=uri).get_experiment_by_name(experiment)
        if found is None:
            return None
        list_artifacts(artifact_uri=found.artifact_location, tracking_uri=uri)
        return str(found.artifact_location)


def store_problems(root: Path) -> list[str]:
    """Find what keeps the tracking store from being used; a store not yet made is no problem.

    Args:
        root: The workspace.

    Returns:
        One sentence for each problem, with what to do about it.
    """
    root = root.resolve()
    uri = tracking_uri(root)
    database = database_path(uri)
    if database is not None and not database.exists():
        return []
    try:
        with talking(uri, "open the store"):
            from mlflow import MlflowClient

            experiments = MlflowClient(uri, registry_uri=uri).search_experiments()
    except TrackingError as error:
        remedy = (
            "start the server or unset MLFLOW_TRACKING_URI"
            if database is None
            else f"delete {database} and run `serct sync`, which builds it anew from data/"
        )
        return [f"{error}; {remedy}"]
    found = (
        relocation_problem(uri, root, experiment.name, experiment.artifact_location)
        for experiment in experiments
        # MLflow makes "Default" itself, with a folder in whatever directory it ran; unused here.
        if experiment.name != "Default"
    )
    return [problem for problem in found if problem is not None]
