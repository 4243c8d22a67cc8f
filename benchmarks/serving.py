"""The service under load, beside MLflow's own and LitServe, and through promotions.

    python benchmarks/serving.py compare --workspace build/demo --clip hello.wav \
        --litserve PYTHON --other 7 --bad 2 --out FILE
    python benchmarks/serving.py soak --workspace build/demo --clip hello.wav --other 7 --out FILE

The workspace needs a champion, a second version that passes the gates (`--other`), and one that
does not (`--bad`). Each part starts servers on free ports and sends requests over sockets.
PYTHON is that of an environment with litserve and SERCT's packages; without it, that part is left
out.
"""

import argparse
import asyncio
import base64
import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from load import Post, Usage, form, saturate
from servers import CLI, Server, litserve_serve, mlflow_serve, process_of, serct_serve, suspended

from serct.inference.serving_form import serving_form
from serct.runtime import machine
from serct.runtime.atomic import write_json
from serct.tracking import find_model, find_version

CHAMPION = "models:/serct@champion"
ROUNDS = 3
SAMPLE_S = 10
# Of the servers, before anything is measured.
_WARM_S = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parts: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
        "compare": compare,
        "soak": soak,
    }
    commands = parser.add_subparsers(dest="part", required=True)
    for name in parts:
        command = commands.add_parser(name)
        command.add_argument("--workspace", type=Path, required=True)
        command.add_argument("--clip", type=Path, required=True, help="a few seconds of speech")
        command.add_argument("--other", required=True, help="a version that may be promoted")
        command.add_argument("--clients", type=int, default=16)
        command.add_argument("--out", type=Path, required=True)
        if name == "compare":
            command.add_argument("--bad", required=True, help="a version that the gates refuse")
            command.add_argument("--litserve", metavar="PYTHON")
            command.add_argument("--seconds", type=float, default=10.0, help="of a round")
        else:
            command.add_argument("--minutes", type=float, default=30.0)
            command.add_argument("--every", type=float, default=3.0, help="minutes, a promotion")
    arguments = parser.parse_args()
    for version in (CHAMPION, f"models:/serct/{arguments.other}"):
        # As a service that has run for a while has them.
        serving_form(find_model(version, arguments.workspace), "cpu")
    results: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": vars(machine.machine()),
        "commit": machine.git_commit(),
        "clients": arguments.clients,
        **parts[arguments.part](arguments),
    }
    write_json(arguments.out, results)
    print(json.dumps({key: value for key, value in results.items() if key != "samples"}, indent=2))


def compare(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure all servers in turns, then the service through promotions."""
    return {"compare": in_turns(arguments), "promotions": promotions(arguments)}


def in_turns(arguments: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """Send requests to one server after the other, in rounds, while the others are suspended.

    LitServe spends a quarter of a core on waiting for requests.
    """
    content = arguments.clip.read_bytes()
    encoded = base64.b64encode(content).decode()
    rows = {"dataframe_records": [{"audio": encoded}]}
    workspace = arguments.workspace
    found: dict[str, list[dict[str, float]]] = {}
    with ExitStack() as stack:
        url = stack.enter_context(serct_serve("--workspace", str(workspace)))
        theirs = stack.enter_context(mlflow_serve(CHAMPION, workspace))
        servers: dict[str, tuple[Server, Post]] = {
            "serct serve": (
                Server(url, process_of(url)),
                lambda session: session.post(f"{url}/v1/predict", data=form(content)),
            ),
            "mlflow models serve": (
                theirs,
                lambda session: session.post(f"{theirs.url}/invocations", json=rows),
            ),
        }
        if arguments.litserve:
            num_workers = best_litserve(arguments, encoded)
            name = f"LitServe, {num_workers} worker{'s' * (num_workers > 1)}"
            servers[name] = (
                stack.enter_context(
                    litserve_serve(arguments.litserve, CHAMPION, workspace, num_workers)
                ),
                _litserve_post(servers, name, encoded),
            )
        else:
            print("without LitServe, since there is no --litserve PYTHON")
        for _, post in servers.values():
            asyncio.run(saturate(post, arguments.clients, _WARM_S))
        for clients in (1, arguments.clients):
            for _ in range(ROUNDS):
                for name, (server, post) in servers.items():
                    others = [each for each, _ in servers.values() if each != server]
                    with suspended(others):
                        measured = measure(server, post, clients, arguments.seconds)
                    found.setdefault(name, []).append({"clients": clients, **measured})
    return found


def _litserve_post(servers: dict[str, tuple[Server, Post]], name: str, encoded: str) -> Post:
    return lambda session: session.post(f"{servers[name][0].url}/predict", json={"audio": encoded})


def best_litserve(arguments: argparse.Namespace, encoded: str) -> int:
    """Return with how many processes LitServe answers the most requests."""
    rates = {}
    for num_workers in (1, 2):
        with litserve_serve(arguments.litserve, CHAMPION, arguments.workspace, num_workers) as it:

            def post(session: aiohttp.ClientSession, url: str = it.url) -> Any:
                return session.post(f"{url}/predict", json={"audio": encoded})

            asyncio.run(saturate(post, arguments.clients, _WARM_S))
            found = asyncio.run(saturate(post, arguments.clients, arguments.seconds / 2))
            rates[num_workers] = found["requests_per_s"]
    return max(rates, key=rates.__getitem__)


def measure(server: Server, post: Post, clients: int, seconds: float) -> dict[str, float]:
    """Saturate a server; add the processor time of a request and the server's memory."""
    usage = Usage(server.pid)
    before = usage.cpu_s()
    found = asyncio.run(saturate(post, clients, seconds))
    cpu_ms = 1000 * (usage.cpu_s() - before) / found["requests"]
    return {**found, "cpu_ms": cpu_ms, "memory_mb": sum(usage.memory_mb())}


def promotions(arguments: argparse.Namespace) -> dict[str, Any]:
    """Saturate the service while versions are promoted and one is refused."""
    content = arguments.clip.read_bytes()
    expected: dict[str, dict[str, float]] = {}
    verdicts: list[dict[str, Any]] = []
    champion = champion_of(arguments.workspace)
    # On two busy cores a promotion takes half a minute.
    seconds = 15 * arguments.seconds
    with serct_serve("--workspace", str(arguments.workspace)) as url:

        async def run() -> tuple[dict[str, float], list[tuple[int, dict[str, Any]]]]:
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
                    seconds,
                    answers,
                )
            )
            for change in (["promote", arguments.other], ["promote", arguments.bad], ["rollback"]):
                await asyncio.sleep(seconds / 8)
                code = await asyncio.to_thread(_change, change, arguments.workspace)
                verdicts.append({"change": " ".join(change), "exit_code": code})
            return await load, answers

        load, answers = asyncio.run(run())
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
        "promotions": verdicts,
        "load": load,
        "statuses": Counter(str(status) for status, _ in answers),
        "answers_by_version": Counter(body["model"]["version"] for s, body in answers if s == 200),
        "failed": load["failed"],
        "answers_of_another_version_than_they_say": wrong,
    }


def soak(arguments: argparse.Namespace) -> dict[str, Any]:
    """Saturate the service for long, with promotions, and watch its memory."""
    content = arguments.clip.read_bytes()
    samples: list[dict[str, float]] = []
    changes: list[dict[str, Any]] = []
    with serct_serve("--workspace", str(arguments.workspace)) as url:
        usage = Usage(process_of(url))

        async def watch() -> None:
            started = time.monotonic()
            while True:
                service, *decoders = await asyncio.to_thread(usage.memory_mb)
                samples.append(
                    {
                        "s": time.monotonic() - started,
                        "service_mb": service,
                        "decoders_mb": sum(decoders),
                        "decoders": len(decoders),
                    }
                )
                await asyncio.sleep(SAMPLE_S)

        async def promote() -> None:
            while True:
                for change in (["promote", arguments.other], ["rollback"]):
                    await asyncio.sleep(60 * arguments.every)
                    code = await asyncio.to_thread(_change, change, arguments.workspace)
                    changes.append({"change": " ".join(change), "exit_code": code})

        async def run() -> dict[str, float]:
            others = [asyncio.create_task(each) for each in (watch(), promote())]
            try:
                return await saturate(
                    lambda s: s.post(f"{url}/v1/predict", data=form(content)),
                    arguments.clients,
                    60 * arguments.minutes,
                )
            finally:
                for task in others:
                    task.cancel()

        load = asyncio.run(run())
    return {
        "minutes": arguments.minutes,
        "load": load,
        "changes": changes,
        # After the first third: until then both models and all batch sizes have been met.
        "service_mb_per_hour": _slope(samples, "service_mb"),
        "decoders_mb_per_hour": _slope(samples, "decoders_mb"),
        "samples": samples,
    }


def _slope(samples: list[dict[str, float]], key: str) -> float:
    late = samples[len(samples) // 3 :]
    hours = [each["s"] / 3600 for each in late]
    return float(np.polyfit(hours, [each[key] for each in late], 1)[0])


def _change(change: list[str], workspace: Path) -> int:
    command = [*CLI, *change, "--workspace", str(workspace)]
    return subprocess.run(command, capture_output=True).returncode


def champion_of(workspace: Path) -> str:
    version = find_version(CHAMPION, workspace)
    assert version is not None
    return version.number


if __name__ == "__main__":
    main()
