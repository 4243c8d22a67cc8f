"""The machine and the process: what is chosen, what is shown, what is refused."""

import logging
import subprocess
import sys

import pytest
import torch
from threadpoolctl import threadpool_info

from serct.errors import TrainingError
from serct.runtime import devices, log, machine


def test_auto_takes_what_is_there() -> None:
    best = "cuda" if torch.cuda.is_available() else "mps"
    if not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        best = "cpu"
    assert devices.pick_device("auto").type == best
    assert devices.pick_device("cpu").type == "cpu"
    for name in ("cuda", "mps"):
        if not getattr(torch, name if name == "cuda" else "mps").is_available():
            with pytest.raises(TrainingError, match=f"'{name}', but this machine has only"):
                devices.pick_device(name)


def test_precision_on_the_cpu() -> None:
    cpu = torch.device("cpu")
    assert devices.pick_precision("auto", cpu) == torch.float32
    assert devices.pick_precision("bfloat16", cpu) == torch.bfloat16


def float32_settings() -> list[str]:
    backends = torch.backends
    return [
        each.fp32_precision
        for each in (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)
    ]


@pytest.mark.parametrize("own", ["none", "tf32", "ieee"])
def test_tf32_is_set_for_a_while_whatever_the_program_had_chosen(own: str) -> None:
    assert devices.pick_precision("tf32", torch.device("cpu")) == torch.float32
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = own
    try:
        found = float32_settings()
        with devices.tensor_float32(is_allowed=True):
            assert float32_settings() == ["tf32"] * 3
            with devices.tensor_float32(is_allowed=False):
                assert float32_settings() == ["ieee"] * 3
            assert float32_settings() == ["tf32"] * 3
        assert float32_settings() == found
    finally:
        torch.backends.cuda.matmul.fp32_precision = before


def test_progress_in_a_log_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    monkeypatch.setattr(log.time, "monotonic", lambda: now)
    with (
        caplog.at_level(logging.INFO, logger="serct"),
        log.progress(10, "working", "files") as advance,
    ):
        for _ in range(10):
            now += 4.0
            advance()
    # Every third advance is ten seconds after the last line; 28 s are left after three of ten.
    assert caplog.messages[0] == "working: 3 of 10 files, about 28 s left"
    assert len(caplog.messages) == 3


def test_what_ends_soon_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="serct"), log.progress(5, "working") as advance:
        advance(5)
    assert caplog.messages == []


def test_seeding_repeats_and_deterministic_mode_is_set_and_unset() -> None:
    devices.seed_everything(3, deterministic=True)
    assert torch.are_deterministic_algorithms_enabled()
    first = torch.rand(4)
    devices.seed_everything(3, deterministic=False)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.equal(first, torch.rand(4))


def test_the_machine_is_described() -> None:
    described = machine.machine()
    assert described.cpu
    assert described.num_cores >= 1


@pytest.mark.skipif(sys.platform != "linux", reason="it is about glibc")
def test_freed_memory_is_kept() -> None:
    """A process that frees and takes a large block again gets no new pages from the system."""
    code = """
import resource, sys
from serct.runtime.machine import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
import numpy as np
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(20_000_000)
before = faults()
for _ in range(5):
    np.ones(20_000_000)
print(faults() - before)
"""
    counts = {
        mode: int(
            subprocess.run(
                [sys.executable, "-c", code, mode],
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
            ).stdout
        )
        for mode in ("keep", "give back")
    }
    assert counts["keep"] < counts["give back"] / 10


def test_workers_share_the_threads_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    try:
        for num_workers, each in ((1, 4), (2, 2), (3, 1), (8, 1)):
            machine.share_threads(num_workers)
            pools = [
                pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"
            ]
            assert (machine.threads_each(), torch.get_num_threads()) == (each, each)
            assert max(pools) <= each
    finally:
        machine.share_threads(1)
        torch.set_num_threads(before)
