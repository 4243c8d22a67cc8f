"""Opening the store: made by one process alone, in a place that stays where the database is."""

from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from serct.errors import TrackingError
from serct.tracking import address
from serct.tracking.connection import LOCK_TIMEOUT_S, Connection, talking

if TYPE_CHECKING:
    from mlflow import MlflowClient


def open_connection(root: Path, experiment: str, registered_model: str) -> Connection:
    """Open a workspace's store, made first if there is none.

    Raises:
        TrackingError: If the store cannot be opened, or belongs to a workspace that was moved.
    """
    uri = address.tracking_uri(root)
    lock_path = address.lock_path(uri, root)
    with talking(uri, "open the store"):
        lock_path.parent.mkdir(parents=True, exist_ok=True)
        # Two processes that both find no database would ruin it for good: each would run all
        # the migrations.
        lock = FileLock(lock_path, timeout=LOCK_TIMEOUT_S)
        with lock:
            client = _client(uri)
            experiment_id = _ensure_experiment(client, uri, root, experiment)
    return Connection(client, uri, experiment_id, registered_model, lock)


def _client(uri: str) -> "MlflowClient":
    from mlflow import MlflowClient

    return MlflowClient(uri, registry_uri=uri)


def _ensure_experiment(client: "MlflowClient", uri: str, root: Path, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        # Left to itself, MLflow would take the working directory of this process for ever.
        location = None if address.is_server(uri) else address.artifact_folder(uri, root) / name
        # Without the tag MLflow's pages guess what the runs are for, and open elsewhere.
        return str(
            client.create_experiment(
                name,
                str(location) if location else None,
                tags={"mlflow.experimentKind": "custom_model_development"},
            )
        )
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"{uri}: experiment {name!r} was deleted in MLflow: restore it there, or choose "
            "another name for tracking.experiment in params.yaml"
        )
    problem = address.relocation_problem(uri, root, name, found.artifact_location)
    if problem:
        raise TrackingError(problem)
    return str(found.experiment_id)
