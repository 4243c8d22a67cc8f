"""How MLflow is reached: imported late and quietly, its errors put into our words."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filelock import FileLock

from serct.errors import SerctError, TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Another process may hold the lock while it makes the database (up to ten seconds on a slow disk)
# or copies a large model into the registry.
LOCK_TIMEOUT_S = 120.0

# Read by MLflow when it is imported. A server that is down must not hold a training up for the
# minutes that MLflow's own seven patient retries take.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "GIT_PYTHON_REFRESH": "quiet",
}


@dataclass(frozen=True)
class Connection:
    """An open tracking store.

    Attributes:
        client: Bound to ``uri``; MLflow's global address is not used.
        uri: Of tracking store and registry.
        experiment_id: Where runs go.
        registered_model: The name that versions are registered under.
        lock: Held while something is looked up and then made, such as a version; it may be taken
            again by who holds it.
    """

    client: "MlflowClient"
    uri: str
    experiment_id: str
    registered_model: str
    lock: FileLock


@contextmanager
def talking(uri: str, action: str) -> Iterator[None]:
    """Put whatever goes wrong with MLflow into a `TrackingError`, and keep its chatter out.

    Args:
        uri: The store, for the error.
        action: What was tried, for the error, as in "open the store".

    Raises:
        TrackingError: For any error that is not ours already. MLflow lets those of its database
            and HTTP libraries through, and none of them may end a training.
    """
    # Recorded to be dropped: MLflow shows some of its warnings past a filter.
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("ignore")
        try:
            _import_quietly()
            yield
        except SerctError:
            raise
        except Exception as error:
            first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise TrackingError(f"{uri}: cannot {action}: {first_line}") from error


def _import_quietly() -> None:
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    import mlflow  # noqa: F401  after the settings, which it reads on import

    # Alembic announces each of some fifty migrations of a new database.
    logging.getLogger("alembic").setLevel(logging.WARNING)
