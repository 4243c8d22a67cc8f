"""Start the demonstrator, and a service for it if there is none."""

import math
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from serct.app.client import Client
from serct.config.serving import ServingParams
from serct.errors import BackendUnavailableError, SerctError

_START_S = 60.0


def launch(
    service: str | None,
    model: str | None,
    workspace: Path | None,
    limits: ServingParams,
    host: str,
    port: int,
) -> None:
    """Run the page until it is stopped; a service that was started for it ends with it.

    Args:
        service: Address of a running service; None to start one.
        model: The model of a service that is started; None for the one that it chooses.
        workspace: Folder whose registry it follows.
        limits: Its limits; the page accepts files of the same size.
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
    # Without a handler SIGTERM would end this process only and leave the others running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with ExitStack() as stack:
        if service is None:
            service = _start_service(stack, model, workspace, limits)
        command = [
            sys.executable, "-m", "streamlit", "run", str(Path(__file__).with_name("page.py")),
            "--server.address", host, "--server.port", str(port), "--server.headless", "true",
            "--browser.gatherUsageStats", "false", "--client.toolbarMode", "minimal",
            "--server.maxUploadSize", str(math.ceil(limits.max_body_mb)),
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


def _start_service(
    stack: ExitStack, model: str | None, workspace: Path | None, limits: ServingParams
) -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "serct.cli", "serve", "--port", str(port)]
    command += [] if model is None else ["--model", model]
    command += [f"--{name.replace('_', '-')}={value}" for name, value in limits]
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
    raise SerctError("the service did not start; see its messages above")
