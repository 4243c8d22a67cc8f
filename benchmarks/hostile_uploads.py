"""The service under hostile uploads: mutated files of every format, lying headers, bombs.

    python benchmarks/hostile_uploads.py --workspace build/demo --clip hello.wav --uploads 10000

Each client sends one upload after the other over a connection of its own. Between them it sends
the clip, whose prediction must stay the same. Prints a JSON; the exit code is 1 if anything but
200, 400, 408, 413, 422 or 503 came back, a prediction changed, or the service is not ready at the
end.
"""

import argparse
import asyncio
import json
import random
import sys
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from hostile_files import all_makers
from servers import process_of, serct_serve

from serct.runtime import machine
from serct.runtime.atomic import write_json

EXPECTED = {200, 400, 408, 413, 422, 503}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--clip", type=Path, required=True, help="a few seconds of speech")
    parser.add_argument("--uploads", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a file for the JSON")
    arguments = parser.parse_args()
    with serct_serve(arguments.workspace) as url:
        found = asyncio.run(attack(url, arguments))
    results = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": vars(machine.machine()),
        "commit": machine.git_commit(),
        "clients": arguments.clients,
        "seed": arguments.seed,
        **found,
    }
    if arguments.out:
        write_json(arguments.out, results)
    print(json.dumps(results, indent=2))
    sys.exit(bool(found["unexpected"] or found["changed_predictions"]) or not found["ready"])


async def attack(url: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Send all uploads, and count what comes back."""
    clip, makers = arguments.clip.read_bytes(), all_makers(arguments.clip)
    kinds = list(makers)
    statuses: dict[str, Counter[str]] = defaultdict(Counter)
    unexpected: Counter[str] = Counter()
    memory = Memory(url)
    numbers = iter(range(arguments.uploads))
    changed = 0
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        await wait_until_ready(session, url)
        expected = (await predict(session, url, clip))[1]
        before = memory.mb()

        async def client() -> None:
            nonlocal changed
            for number in numbers:
                chance = random.Random(f"{arguments.seed} {number}")
                # A bomb takes seconds of the service's time: one in a hundred.
                kind = "bomb" if number % 100 == 99 else kinds[number % len(kinds)]
                status = await send(session, url, kind, makers[kind](chance), chance)
                statuses[kind][str(status)] += 1
                if status not in EXPECTED and not kind.startswith("http"):
                    unexpected[f"{kind} (upload {number}): {status}"] += 1
                if number % 20 == 0:
                    status, probabilities = await predict(session, url, clip)
                    changed += status == 200 and probabilities != expected
                    statuses["untouched clip"][str(status)] += 1
                    unexpected[f"untouched clip: {status}"] += status not in (200, 503)
                memory.note()

        await asyncio.gather(*(client() for _ in range(arguments.clients)))
        after = memory.mb()
        async with session.get(f"{url}/ready") as answer:
            is_ready = answer.status == 200
        async with session.get(f"{url}/metrics") as answer:
            metrics = await answer.text()
    return {
        "uploads": arguments.uploads,
        "ready": is_ready,
        "statuses": sum(statuses.values(), Counter()),
        "statuses_by_kind": dict(sorted(statuses.items())),
        "unexpected": +unexpected,
        "changed_predictions": changed,
        "decoders_lost": [line for line in metrics.splitlines() if "lost_total{" in line],
        "memory_mb": {"before": before, "most": memory.most_mb, "after": after},
    }


class Memory:
    """Memory of the service and its decoders, without what they share."""

    def __init__(self, url: str) -> None:
        self._server = psutil.Process(process_of(url))
        self.most_mb = 0

    def mb(self) -> int:
        """Return what it is now, in MB."""
        total = 0
        for process in (self._server, *self._server.children()):
            try:
                total += process.memory_info().rss - process.memory_info().shared
            except psutil.NoSuchProcess:  # replaced just now
                continue
        return round(total / 1e6)

    def note(self) -> None:
        """Remember the most."""
        self.most_mb = max(self.most_mb, self.mb())


async def wait_until_ready(session: aiohttp.ClientSession, url: str) -> None:
    for _ in range(600):
        async with session.get(f"{url}/ready") as answer:
            if answer.status == 200:
                return
        await asyncio.sleep(0.1)
    raise SystemExit(f"{url}: not ready")


async def predict(
    session: aiohttp.ClientSession, url: str, clip: bytes
) -> tuple[int, dict[str, float]]:
    data = aiohttp.FormData()
    data.add_field("files", clip, filename="clip.wav")
    async with session.post(f"{url}/v1/predict", data=data) as answer:
        body = await answer.json()
    if answer.status != 200:
        return answer.status, {}
    found = body["predictions"][0]["probabilities"]
    return 200, {name: round(value, 4) for name, value in found.items()}


async def send(
    session: aiohttp.ClientSession, url: str, kind: str, content: bytes, chance: random.Random
) -> int | str:
    """Send one upload; return its status, or what happened instead."""
    if kind.startswith("http"):
        return await send_raw(url, content)
    route, field = chance.choice((("predict", "files"), ("segments", "file")))
    try:
        if kind == "multipart":
            headers = {"Content-Type": "multipart/form-data; boundary=B"}
            request = session.post(f"{url}/v1/{route}", data=content, headers=headers)
        else:
            data = aiohttp.FormData()
            data.add_field(field, content, filename=f"x.{kind.split()[-1]}")
            request = session.post(f"{url}/v1/{route}", data=data)
        async with request as answer:
            body = await answer.json()
            if answer.status != 200 and not body.get("detail"):
                return f"{answer.status} without a reason"
            if len(await answer.read()) > 10_000 and answer.status != 200:
                return f"{answer.status} with a long reason"
            if answer.status == 503 and "Retry-After" not in answer.headers:
                return "503 without Retry-After"
            return answer.status
    except aiohttp.ClientError as error:
        return type(error).__name__


async def send_raw(url: str, content: bytes) -> int | str:
    """Send bytes that are no proper HTTP, and hang up half a second later."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(content)
        async with asyncio.timeout(0.5):
            line = await reader.readline()
        return int(line.split()[1]) if line else "closed"
    except (TimeoutError, OSError, IndexError, ValueError) as error:
        return f"none ({type(error).__name__})"
    finally:
        writer.close()


if __name__ == "__main__":
    main()
