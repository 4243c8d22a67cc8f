"""The service under load, beside MLflow's own, and through promotions.

    python benchmarks/serving.py --workspace build/demo --clip hello.wav --other 7 --out FILE

The workspace needs a champion, a second version that passes the gates (`--other`), and one that
does not (`--bad`). Each part starts a server on a free port and sends requests over sockets.
"""

import argparse
import asyncio
import base64
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from serct.runtime import machine
from serct.runtime.atomic import write_json

CLI = [sys.executable, "-m", "serct.cli"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--clip", type=Path, required=True, help="a few seconds of speech")
    parser.add_argument("--other", required=True, help="a version that may be promoted")
    parser.add_argument("--bad", required=True, help="a version that the gates refuse")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    results: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": vars(machine.machine()),
        "commit": machine.git_commit(),
        "clients": arguments.clients,
    }
    results["compare"] = compare(arguments)
    results["promotions"] = promotions(arguments)
    write_json(arguments.out, results)
    print(json.dumps(results, indent=2))


def compare(arguments: argparse.Namespace) -> dict[str, Any]:
    """Send requests to both servers in turns, three rounds each, both running all the time."""
    content = arguments.clip.read_bytes()
    rows = {"dataframe_records": [{"audio": base64.b64encode(content).decode()}]}
    found: dict[str, list[dict[str, float]]] = {"serct serve": [], "mlflow models serve": []}
    with (
        serct_serve("--workspace", str(arguments.workspace)) as ours,
        mlflow_serve(arguments.workspace) as theirs,
    ):
        ask: dict[str, Callable[[aiohttp.ClientSession], Any]] = {
            "serct serve": lambda s: s.post(f"{ours}/v1/predict", data=form(content)),
            "mlflow models serve": lambda s: s.post(f"{theirs}/invocations", json=rows),
        }
        for clients in (1, arguments.clients):
            for _ in range(3):
                for name, post in ask.items():
                    measured = asyncio.run(saturate(post, clients, arguments.seconds / 6))
                    found[name].append({"clients": clients, **measured})
    return found


def promotions(arguments: argparse.Namespace) -> dict[str, Any]:
    """Saturate the service while versions are promoted and one is refused."""
    content = arguments.clip.read_bytes()
    expected: dict[str, dict[str, float]] = {}
    verdicts: list[dict[str, Any]] = []
    champion = champion_of(arguments.workspace)
    with serct_serve("--workspace", str(arguments.workspace)) as url:

        async def run() -> list[tuple[int, dict[str, Any]]]:
            answers: list[tuple[int, dict[str, Any]]] = []
            async with aiohttp.ClientSession() as session:
                for version in (champion, arguments.other):
                    path = f"{url}/v1/predict?version={version}"
                    async with session.post(path, data=form(content)) as answer:
                        body = await answer.json()
                        expected[version] = body["predictions"][0]["probabilities"]
            load = asyncio.create_task(
                saturate(
                    lambda s: s.post(f"{url}/v1/predict", data=form(content)),
                    arguments.clients,
                    arguments.seconds,
                    answers,
                )
            )
            for version in (arguments.other, arguments.bad, champion):
                await asyncio.sleep(arguments.seconds / 8)
                command = [*CLI, "promote", version, "--workspace", str(arguments.workspace)]
                process = await asyncio.create_subprocess_exec(
                    *command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
                verdicts.append({"version": version, "exit_code": await process.wait()})
            verdicts.append(await load)
            return answers

        answers = asyncio.run(run())
    wrong = sum(
        status == 200
        and max(
            abs(body["predictions"][0]["probabilities"][key] - value)
            for key, value in expected[body["model"]["version"]].items()
        )
        > 1e-4
        for status, body in answers
    )
    return {
        "promotions": verdicts[:-1],
        "load": verdicts[-1],
        "statuses": Counter(str(status) for status, _ in answers),
        "answers_by_version": Counter(body["model"]["version"] for s, body in answers if s == 200),
        "failed": sum(status != 200 for status, _ in answers),
        "answers_of_another_version_than_they_say": wrong,
    }


def form(content: bytes) -> aiohttp.FormData:
    data = aiohttp.FormData()
    data.add_field("files", content, filename="clip.wav")
    return data


async def saturate(
    post: Callable[[aiohttp.ClientSession], Any],
    clients: int,
    seconds: float,
    answers: list[tuple[int, dict[str, Any]]] | None = None,
) -> dict[str, float]:
    """Let each client send its next request as soon as it has a response."""
    took: list[float] = []
    failed = 0
    until = time.perf_counter() + seconds

    async def client(session: aiohttp.ClientSession) -> None:
        nonlocal failed
        while time.perf_counter() < until:
            started = time.perf_counter()
            async with post(session) as answer:
                body = await answer.json()
            took.append(time.perf_counter() - started)
            failed += answer.status != 200
            if answers is not None:
                answers.append((answer.status, body))

    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        started = time.perf_counter()
        await asyncio.gather(*(client(session) for _ in range(clients)))
        elapsed = time.perf_counter() - started
    ordered = sorted(took)
    return {
        "requests_per_s": len(took) / elapsed,
        "p50_ms": 1000 * statistics.median(ordered),
        "p99_ms": 1000 * ordered[int(0.99 * (len(ordered) - 1))],
        "failed": failed,
    }


@contextmanager
def serct_serve(*source: str) -> Iterator[str]:
    """Run the service of a ``--workspace`` or ``--model``; yield its address."""
    command = [*CLI, "serve", *source, "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
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
def mlflow_serve(workspace: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = f"sqlite:///{workspace.resolve() / 'mlflow.db'}"
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": store,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }
    command = [
        str(Path(sys.executable).with_name("mlflow")), "models", "serve", "-m",
        "models:/serct@champion", "--env-manager", "local", "--port", str(port),
    ]  # fmt: skip
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        command, env={**environment, "PATH": path}, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        import requests

        for _ in range(240):
            try:
                if requests.get(f"{url}/ping", timeout=5).ok:
                    break
            except requests.ConnectionError:
                time.sleep(0.5)
        yield url
    finally:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.terminate()
        process.terminate()
        process.wait(30)


def process_of(url: str) -> int:
    port = int(url.rsplit(":", 1)[1])
    for connection in psutil.net_connections("tcp4"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
            return int(connection.pid or 0)
    raise SystemExit(f"nothing listens on {url}")


def champion_of(workspace: Path) -> str:
    from serct.tracking import find_version

    version = find_version("models:/serct@champion", workspace)
    assert version is not None
    return version


if __name__ == "__main__":
    main()
