"""Starting the demonstrator, and a service for it if there is none."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from serct.app.client import Client
from serct.errors import BackendUnavailableError, SerctError

_START_S = 60.0


def launch(service: str | None, model: str, workspace: Path | None, host: str, port: int) -> None:
    """Run the page until it is stopped; a service that was started for it ends with it.

    Args:
        service: Address of a running service; None: start one.
        model: What that one serves.
        workspace: Whose registry it follows.
        host: Address of the page.
        port: Port of the page.

    Raises:
        BackendUnavailableError: If Streamlit is not installed.
        SerctError: If the service does not start.
    """
    try:
        import streamlit  # noqa: F401
    except ModuleNotFoundError as error:
        raise BackendUnavailableError(
            "the demonstrator needs Streamlit, which is not installed: pip install 'serct[app]'"
        ) from error
    # By default SIGTERM would end this process alone and leave the others behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with ExitStack() as stack:
        if service is None:
            service = _start_service(stack, model, workspace)
        command = [
            sys.executable, "-m", "streamlit", "run", str(Path(__file__).with_name("page.py")),
            "--server.address", host, "--server.port", str(port), "--server.headless", "true",
            "--browser.gatherUsageStats", "false", "--server.maxUploadSize", "20",
            "--client.toolbarMode", "minimal",
        ]  # fmt: skip
        page = stack.enter_context(
            subprocess.Popen(command, env={**os.environ, "SERCT_SERVICE": service})
        )
        stack.callback(page.terminate)
        try:
            status = page.wait()
        except KeyboardInterrupt:
            return
        if status:
            raise SerctError(f"the demonstrator stopped with exit status {status}")


def _start_service(stack: ExitStack, model: str, workspace: Path | None) -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "serct.cli", "serve", "--model", model, "--port", str(port)]
    if workspace is not None:
        command += ["--workspace", str(workspace)]
    process = stack.enter_context(subprocess.Popen(command))
    stack.callback(process.terminate)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            Client(url).ready()
        except SerctError:
            time.sleep(0.2)
        else:
            return url
    raise SerctError("the service did not start; what it said stands above")
