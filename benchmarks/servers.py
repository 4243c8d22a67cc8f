"""Servers of one model, each started on a free port, for other benchmarks."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
import requests

CLI = [sys.executable, "-m", "serct.cli"]
_START_S = 120


class Server(NamedTuple):
    """A server that runs.

    Attributes:
        url: Its address.
        pid: Of the process that was started.
    """

    url: str
    pid: int


@contextmanager
def serct_serve(*source: str) -> Iterator[str]:
    """Run the service of a ``--workspace`` or ``--model``; yield its address."""
    command = [*CLI, "serve", *source, "--port", "0"]
    # In a session of its own, as the others: Linux shares processors out to sessions first.
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"http://[\d.:]+", line):
                break
        else:
            raise SystemExit("the service did not start")
        # A log that nobody reads would stop the service.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield found[0]
    finally:
        process.terminate()
        process.wait(timeout=60)


@contextmanager
def mlflow_serve(address: str, workspace: Path) -> Iterator[Server]:
    """Run MLflow's server of a registered model."""
    environment = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{workspace.resolve() / 'mlflow.db'}",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    port = _free_port()
    command = [
        str(Path(sys.executable).with_name("mlflow")), "models", "serve", "-m", address,
        "--env-manager", "local", "--port", str(port),
    ]  # fmt: skip
    with _running(command, environment, port, "ping") as server:
        yield server


@contextmanager
def litserve_serve(
    python: str, address: str, workspace: Path, num_workers: int
) -> Iterator[Server]:
    """Run `litserve_server.py` with a Python that has LitServe."""
    port = _free_port()
    command = [
        python, str(Path(__file__).with_name("litserve_server.py")), "--model", address,
        "--workspace", str(workspace), "--workers", str(num_workers), "--port", str(port),
    ]  # fmt: skip
    environment = {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    with _running(command, environment, port, "health") as server:
        yield server


@contextmanager
def _running(
    command: Sequence[str], environment: dict[str, str], port: int, page: str
) -> Iterator[Server]:
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{url}/{page}", process)
        yield Server(url, process.pid)
    finally:
        children = _descendants(process.pid)
        for each in (*children, process):
            each.terminate()
        process.wait(30)
        for each in psutil.wait_procs(children, 10)[1]:
            each.kill()


@contextmanager
def suspended(servers: Sequence[Server]) -> Iterator[None]:
    """Stop all processes of servers, and let them go on."""
    processes = [
        process
        for server in servers
        for process in (psutil.Process(server.pid), *_descendants(server.pid))
    ]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


def _wait_for(page: str, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            if requests.get(page, timeout=5).ok:
                return
        except requests.RequestException:
            pass
        time.sleep(0.5)
    raise SystemExit(f"no answer from {page}")


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def process_of(url: str) -> int:
    port = int(url.rsplit(":", 1)[1])
    for connection in psutil.net_connections("tcp4"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
            return int(connection.pid or 0)
    raise SystemExit(f"nothing listens on {url}")
