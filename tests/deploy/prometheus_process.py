"""A real Prometheus on this machine, and the metrics of a service for it."""

import asyncio
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests
import yaml

from serct.runtime.arrays import Floats
from serct.serving.batching import Batcher
from serct.serving.decoding.pool import DecodedAudio
from serct.serving.models import LoadedModel, ModelManager
from serct.serving.monitoring.metrics import ServiceMetrics
from serct.serving.predicting import analyse
from serct.serving.settings import Settings
from serct.serving.speakers import SpeakerStore
from tests.conftest import ROOT
from tests.waiting import wait_for
from tests.web import QuietHandler, free_port, in_background

ALERTS = ROOT / "deploy" / "monitoring" / "alerts.yml"


class Prometheus:
    """A running Prometheus, which reads one service each second.

    Attributes:
        url: Where it listens.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[dict[str, Any]]:
        response = requests.get(
            f"{self.url}/api/v1/query", params={"query": expression}, timeout=10
        )
        response.raise_for_status()
        return list(response.json()["data"]["result"])

    def firing(self) -> set[tuple[str, str]]:
        """Return the names of alerts that fire, each with its quantity, or ""."""
        found = self.query('ALERTS{alertstate="firing"}')
        return {(each["metric"]["alertname"], each["metric"].get("quantity", "")) for each in found}

    def num_evaluations(self) -> float:
        """Return how often it has evaluated the rules."""
        found = self.query("prometheus_rule_group_iterations_total")
        return max((float(each["value"][1]) for each in found), default=0)

    def wait(self, condition: Callable[[], object], timeout_s: float = 30) -> None:
        wait_for(condition, timeout_s)


@contextmanager
def running_prometheus(
    program: str, folder: Path, target: str, hold_s: int
) -> Iterator[Prometheus]:
    """Run Prometheus with the rules of deploy/, made quicker: each second, and ``hold_s`` long.

    Args:
        program: Its path.
        folder: Empty, for its files.
        target: Host and port of the service.
        hold_s: How long a condition must hold before an alert fires, instead of minutes.
    """
    rules = re.sub(r"for: \w+", f"for: {hold_s}s", ALERTS.read_text())
    (folder / "alerts.yml").write_text(rules)
    own = f"127.0.0.1:{free_port()}"
    jobs = [
        {"job_name": name, "static_configs": [{"targets": [each]}]}
        for name, each in (("serct", target), ("prometheus", own))
    ]
    every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    content = {"global": every, "rule_files": ["alerts.yml"], "scrape_configs": jobs}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(content))
    command = [
        program, f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={own}",
        "--log.level=error",
    ]  # fmt: skip
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        prometheus = Prometheus(f"http://{own}")
        prometheus.wait(lambda: requests.get(f"{prometheus.url}/-/ready", timeout=5).ok)
        yield prometheus
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def served_metrics(metrics: ServiceMetrics, model: LoadedModel) -> Iterator[str]:
    """Serve the metrics of a service that uses a model; give host and port."""
    models = ModelManager(Settings("", Path()))
    models.current = model
    batcher, speakers = Batcher(1), SpeakerStore(1, 1.0)

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            content = metrics.text(models, batcher, speakers)
            with suppress(ConnectionError):  # a late reader, which asks again
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.end_headers()
                self.wfile.write(content)

    with in_background(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as address:
        yield address


def predict_all(
    metrics: ServiceMetrics, model: LoadedModel, waveforms: Iterable[Floats], sample_rate: int
) -> None:
    """Predict recordings as the service does, and count them as it does."""

    async def main() -> None:
        batcher = Batcher(16)
        task = asyncio.create_task(batcher.run())
        try:
            for waveform in waveforms:
                found = await analyse(model, batcher, DecodedAudio(waveform, sample_rate))
                metrics.drift.observe(model, found)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    asyncio.run(main())
