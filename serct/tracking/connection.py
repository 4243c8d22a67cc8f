"""The tracking store's address, its files, and how MLflow is reached: late and quietly."""

import logging
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from serct.errors import SerctError, TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SQLITE = "sqlite:///"
# Another process may hold the lock while it makes the database (up to ten seconds on a slow disk)
# or copies a large model into the registry.
_LOCK_TIMEOUT_S = 120.0

# MLflow reads these when it is imported. A server that is down must not delay a training by the
# minutes that MLflow's default of seven retries takes.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "GIT_PYTHON_REFRESH": "quiet",
}


@contextmanager
def mlflow_errors(uri: str, action: str) -> Iterator[None]:
    """Turn every error of MLflow into a `TrackingError`, and suppress its warnings.

    Args:
        uri: The store, for the error message.
        action: What is tried, for the error message, as in "open the store".

    Raises:
        TrackingError: For any error that is not a `SerctError` already. MLflow lets errors of its
            database and HTTP libraries through, and none of them may end a training.
    """
    # Recorded to be dropped: MLflow shows some of its warnings past a filter.
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("ignore")
        try:
            for name, value in _SETTINGS.items():
                os.environ.setdefault(name, value)
            import mlflow  # noqa: F401  after the settings, which it reads on import

            # Alembic announces each of some fifty migrations of a new database.
            logging.getLogger("alembic").setLevel(logging.WARNING)
            yield
        except SerctError:
            raise
        except Exception as error:
            first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise TrackingError(f"{uri}: cannot {action}: {first_line}") from error


def open_client(uri: str) -> "MlflowClient":
    """Return a client of a store; MLflow's global address stays as it is."""
    from mlflow import MlflowClient

    return MlflowClient(uri, registry_uri=uri)


def tracking_uri(root: Path) -> str:
    """Return the store's address: ``MLFLOW_TRACKING_URI`` if set, else mlflow.db in the workspace.

    A relative sqlite path is taken from the workspace, so that the working directory, which
    differs for `dvc exp run --temp`, does not matter.
    """
    root = root.resolve()
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}{root}/mlflow.db"
    path = database_path(uri)
    return uri if path is None else f"{_SQLITE}{root / path}"


def database_path(uri: str) -> Path | None:
    """Return the file behind a sqlite address, None for any other store."""
    return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None


def exists(uri: str) -> bool:
    """Return whether the store's database is made; True for a server, which is not contacted."""
    path = database_path(uri)
    return path is None or path.exists()


def is_server(uri: str) -> bool:
    """Return whether the store is a tracking server, which then decides where artifacts go."""
    return uri.startswith(("http://", "https://"))


def artifact_folder(uri: str, root: Path) -> Path:
    """Return the folder for artifacts of a store without a server: beside the database."""
    path = database_path(uri)
    return (root if path is None else path.parent) / "mlruns"


def store_lock(uri: str, root: Path) -> FileLock:
    """Return the lock that is held while something is looked up and then made, such as a version.

    Its file lies beside the database, so that all workspaces which share that use the same lock.
    The process that holds it may take it again.
    """
    path = database_path(uri)
    file = root / ".mlflow.lock" if path is None else path.with_name(f"{path.name}.lock")
    return FileLock(file, timeout=_LOCK_TIMEOUT_S)


def server_command(root: Path, host: str, port: int) -> tuple[list[str], dict[str, str]]:
    """Return the command and environment of MLflow's server, which shows a workspace's runs.

    One worker and no job runner: 2 processes and half a gigabyte instead of 15 and 2.6.

    Args:
        root: The workspace.
        host: Address to listen on.
        port: Port to listen on.

    Raises:
        TrackingError: If ``MLFLOW_TRACKING_URI`` names a server, which needs no second one.
    """
    root = root.resolve()
    uri = tracking_uri(root)
    if is_server(uri):
        raise TrackingError(f"MLFLOW_TRACKING_URI is {uri}, already a server: open that address")
    # Requests for any other host name are refused, against DNS rebinding.
    names = dict.fromkeys(["localhost", "127.0.0.1", "[[]::1]", host, socket.gethostname()])
    argv = [sys.executable, "-m", "mlflow", "server"]
    argv += ["--backend-store-uri", uri, "--registry-store-uri", uri]
    argv += ["--default-artifact-root", str(artifact_folder(uri, root))]
    argv += ["--host", host, "--port", str(port), "--workers", "1"]
    argv += ["--allowed-hosts", ",".join(f"{name}:*" for name in names)]
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    return argv, environment
