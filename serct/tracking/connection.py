"""The tracking store of a workspace, and how MLflow is reached: late and quietly."""

import errno
import logging
import os
import re
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from filelock import FileLock, Timeout

from serct.errors import SerctError, TrackingError
from serct.runtime.disk import disk_errors, disk_problem
from serct.runtime.log import logger

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SQLITE = "sqlite:///"
# Of a path with characters that mean something in an address: MLflow makes the folder of an address
# that begins like the one above, as it is written.
_QUOTED_SQLITE = "sqlite+pysqlite:///"
_PLAIN_PATH = re.compile(r"[\w /.+~@,=-]*")
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
# A file may be replaced while a service follows it, as by deleting it and `serct sync`: connections
# that a pool keeps would go on to read the one that was deleted.
_SETTINGS_OF_FILES = {"MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool"}


@dataclass(frozen=True)
class Connection:
    """The tracking store of a workspace: its address, its files, and the way to MLflow.

    Attributes:
        root: The workspace, absolute.
        uri: Of tracking store and registry.
    """

    root: Path
    uri: str

    @classmethod
    def of(cls, root: Path) -> "Connection":
        """Return that of a workspace: ``MLFLOW_TRACKING_URI`` if set, else mlflow.db in it.

        A relative sqlite path is taken from the workspace, so that the working directory, which
        differs for `dvc exp run --temp`, does not matter.

        Raises:
            TrackingError: If a sqlite address cannot name the path.
        """
        root = root.resolve()
        given = os.environ.get("MLFLOW_TRACKING_URI")
        path = _sqlite_path(given) if given else Path("mlflow.db")
        if path is not None and "?" in str(given):
            raise TrackingError(
                f"MLFLOW_TRACKING_URI is {given}, expected a sqlite address without options; a "
                "question mark in a path is written %3F"
            )
        if path is None:
            return cls(root, str(given))
        return cls(root, _sqlite_address(root / path))

    @property
    def shown(self) -> str:
        """The address as messages show it, which clients of the service get too: no password."""
        return without_password(self.uri)

    @property
    def database(self) -> Path | None:
        """The file behind a sqlite address, None for any other store."""
        return _sqlite_path(self.uri)

    @property
    def exists(self) -> bool:
        """Whether the store's database is made; True for a server, which is not contacted."""
        return self.database is None or self.database.exists()

    @property
    def is_server(self) -> bool:
        """Whether the store is a tracking server, which then decides where artifacts go."""
        return self.uri.startswith(("http://", "https://"))

    @property
    def artifacts(self) -> Path:
        """The folder for artifacts of a store without a server: beside the database."""
        return (self.root if self.database is None else self.database.parent) / "mlruns"

    @property
    def artifacts_address(self) -> str:
        """The same as `folder_address`."""
        return folder_address(self.artifacts)

    @cached_property
    def lock(self) -> FileLock:
        """The lock that is held while something is looked up and then made, such as a version.

        Its file lies beside the database, so that all workspaces which share that use the same
        lock. The process that holds it may take it again.
        """
        return FileLock(self._lock_file("lock"), timeout=_LOCK_TIMEOUT_S)

    def _lock_file(self, suffix: str) -> Path:
        path = self.database
        beside = self.root / ".mlflow" if path is None else path
        return beside.with_name(f"{beside.name}.{suffix}")

    @contextmanager
    def moving_champion(self) -> Iterator[None]:
        """Wait until nobody else moves the champion, then keep others from it; a kill frees it.

        Not the lock above, which trainings wait for: the gates take minutes.

        Raises:
            DiskError: If the lock's file cannot be made.
        """
        file = self._lock_file("promotion.lock")
        with disk_errors(file):
            lock = FileLock(file)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                logger.warning("%s: waiting for a promotion that goes on", self.shown)
                lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock; without it where nothing can be written and the database is there."""
        try:
            self.lock.acquire()
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES) or not self.exists:
                raise
            yield
            return
        try:
            yield
        finally:
            self.lock.release()

    @contextmanager
    def errors(self, action: str) -> Iterator[None]:
        """Turn every error of MLflow into a `TrackingError`, and suppress its warnings.

        Args:
            action: What is tried, for the error message, as in "open the store".

        Raises:
            TrackingError: For any error that is not a `SerctError` already. MLflow lets errors of
                its database and HTTP libraries through, and none of them may end a training.
        """
        # Recorded to be dropped: MLflow shows some of its warnings past a filter.
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("ignore")
            try:
                settings = _SETTINGS | (_SETTINGS_OF_FILES if self.database else {})
                for name, value in settings.items():
                    os.environ.setdefault(name, value)
                import mlflow  # noqa: F401  after the settings, which it reads on import

                # Alembic announces each of some fifty migrations of a new database.
                logging.getLogger("alembic").setLevel(logging.WARNING)
                # It logs with a traceback each error of the database that it raises too.
                logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
                yield
            except SerctError:
                raise
            except Exception as error:
                first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
                reason = disk_problem(error, self.database) or first_line
                reason = reason.replace(self.uri, self.shown)
                raise TrackingError(f"{self.shown}: cannot {action}: {reason}") from error

    def open_client(self) -> "MlflowClient":
        """Return a client of the store; MLflow's global address stays as it is."""
        from mlflow import MlflowClient

        return MlflowClient(self.uri, registry_uri=self.uri)


def folder_address(folder: Path) -> str:
    """Return a local folder as MLflow takes it: its path, or an address if that must be quoted."""
    return str(folder) if _PLAIN_PATH.fullmatch(str(folder)) else folder.as_uri()


def without_password(address: str) -> str:
    """Return the address of a server without the password in it.

    >>> without_password("postgresql://anna:secret@db.example.org/mlflow")
    'postgresql://anna:***@db.example.org/mlflow'
    """
    return re.sub(r"(?<=://)([^/?#@:]*):[^/?#]*@", r"\1:***@", address)


def _sqlite_address(path: Path) -> str:
    """Return the address of a database file, its path quoted where that is needed.

    Raises:
        TrackingError: If no address can name the path.
    """
    if _PLAIN_PATH.fullmatch(str(path)):
        return f"{_SQLITE}{path}"
    try:
        address = _QUOTED_SQLITE + quote(str(path))
    except UnicodeEncodeError as error:
        raise TrackingError(
            f"{str(path)!r}: a name in it is not UTF-8, and MLflow's database cannot lie there; "
            "rename the folder"
        ) from error
    from sqlalchemy.engine import make_url  # takes a while, and most paths need no quotes

    if make_url(address).database != str(path):
        found = sorted({character for character in str(path) if not _PLAIN_PATH.match(character)})
        raise TrackingError(
            f"{path}: MLflow's database cannot lie below a folder with {' '.join(found)} in its "
            "name; rename the folder, or install SQLAlchemy 2.1"
        )
    return address


def _sqlite_path(address: str) -> Path | None:
    """Return the file behind a sqlite address, None for any other."""
    for prefix in (_SQLITE, _QUOTED_SQLITE):
        if address.startswith(prefix):
            return Path(unquote(address.removeprefix(prefix)))
    return None


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
    store = Connection.of(root)
    if store.is_server:
        raise TrackingError(
            f"MLFLOW_TRACKING_URI is {store.shown}, already a server: open that address"
        )
    # Requests for any other host name are refused, against DNS rebinding.
    names = dict.fromkeys(["localhost", "127.0.0.1", "[[]::1]", host, socket.gethostname()])
    argv = [sys.executable, "-m", "mlflow", "server"]
    argv += ["--backend-store-uri", store.uri, "--registry-store-uri", store.uri]
    argv += ["--default-artifact-root", store.artifacts_address]
    argv += ["--host", host, "--port", str(port), "--workers", "1"]
    argv += ["--allowed-hosts", ",".join(f"{name}:*" for name in names)]
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    return argv, environment
