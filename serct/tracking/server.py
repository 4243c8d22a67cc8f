"""The command that shows runs and models in a browser."""

import os
import socket
import sys
from pathlib import Path

from serct.errors import TrackingError
from serct.tracking.address import artifact_folder, is_server, tracking_uri


def server_command(root: Path, host: str, port: int) -> tuple[list[str], dict[str, str]]:
    """Give the command and environment of MLflow's server for this workspace.

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
