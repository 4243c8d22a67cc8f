"""A service whose decoder crashes, hangs and eats memory, over real sockets."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import requests

from tests.service_process import Service, running
from tests.serving.decoding.hostile_decoder import file

pytestmark = pytest.mark.slow

PROGRAM = ("tests.serving.decoding.hostile_decoder",)
PROBLEMS = {
    "signal 11": "the decoder crashed (SIGSEGV)",
    "signal 6": "the decoder crashed (SIGABRT)",
    "exit 1": "the decoder crashed (exit code 1)",
    "sleep 60": "it takes longer than 8 s",
    "spin": "it takes longer than 8 s",
    "eat": "it needs more than 200 MB of memory",
    "raise": "the decoder failed (IndexError)",
}


@pytest.fixture
def hostile(served: Path) -> Iterator[Service]:
    options = ("decode_timeout_s=8", "decode_memory_mb=200")
    with running(str(served), "0", *options, program=PROGRAM) as service:
        service.wait_for_version("1")
        yield service


def children(service: Service) -> list[psutil.Process]:
    return psutil.Process(service.process.pid).children()


def test_each_file_costs_its_own_request_only(hostile: Service, spoken: Path) -> None:
    content = spoken.read_bytes()
    good: list[requests.Response] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            good.append(hostile.post("/v1/predict", "files", ("good.wav", content)))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for deed, problem in PROBLEMS.items():
            refused = hostile.post("/v1/predict", "files", ("bad.wav", file(deed)))
            expected = f"bad.wav: could not be decoded: {problem}"
            assert (refused.status_code, refused.json()["detail"]) == (422, expected)
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    assert len(good) > 20
    assert {answer.status_code for answer in good} == {200}
    assert hostile.get("/ready").status_code == 200
    metrics = hostile.get("/metrics").text
    for cause, count in (("crash", 3), ("timeout", 2), ("memory", 1)):
        assert f'serct_decoders_lost_total{{cause="{cause}"}} {count}.0' in metrics
    assert all(child.status() != psutil.STATUS_ZOMBIE for child in children(hostile))
    log = "".join(hostile.lines)
    assert "a decoder was replaced: the decoder crashed (SIGSEGV)" in log
    assert "bad.wav" not in log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_service(served: Path, number: int) -> None:
    with running(str(served), "0", "drain_s=2", program=PROGRAM) as service:
        service.wait_for_version("1")
        for deed in ("spin", "sleep 60"):

            def ask(deed: str = deed) -> None:
                with suppress(requests.ConnectionError):
                    service.post("/v1/predict", "files", ("a", file(deed)))

            threading.Thread(target=ask, daemon=True).start()
        service.wait(lambda: "serct_requests_in_flight 2.0" in service.get("/metrics").text)
        time.sleep(0.5)  # until both hang
        left = children(service)
        assert len(left) == 2
        service.process.send_signal(number)
        service.process.wait(30)
        _, alive = psutil.wait_procs(left, 5)
        assert alive == []
