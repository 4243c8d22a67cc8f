"""Runs the steps of `benchmarks/gpu.py`: each a process with a time limit, its answer kept."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open

from serct.runtime.atomic import write_json

ROOT = Path(__file__).resolve().parent.parent
_LOG_LINES = 30
# On Linux a step dies with this command, also if that is killed: no two may write one state.
_TIED = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


@dataclass(frozen=True)
class Step:
    """One process.

    Attributes:
        arguments: For Python; the last one is an option that takes the file for the answer.
        useful_s: It is not started with less time left, which would bring nothing.
        limit_s: It is killed after so long.
        training: The file with the state of its training.
        notes: What its answer says besides.
        is_verdict: Whether it fails with a whole answer if that is no.
    """

    name: str
    arguments: Sequence[str]
    useful_s: float
    limit_s: float
    training: Path | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    is_verdict: bool = False


def run_steps(
    steps: Sequence[Step], report: dict[str, Any], out: Path, work: Path, deadline: float
) -> None:
    """Run what is not done yet; what failed before comes last.

    Args:
        steps: In their order.
        report: Gets an entry for each step.
        out: Where the report is written after every change.
        work: A folder for the answers and the output of the steps.
        deadline: On `time.monotonic`.
    """
    entries = report["steps"]
    todo = [step for step in steps if entries.get(step.name, {}).get("state") != "done"]
    todo.sort(key=lambda step: entries.get(step.name, {}).get("state") == "error")
    for step in todo:
        left = deadline - time.monotonic()
        if left < step.useful_s:
            entries.setdefault(step.name, {"state": "not started"})
        else:
            entries[step.name] = {"state": "running"}
            write_json(out, report)
            entries[step.name] = run_step(step, work, min(step.limit_s, left))
        write_json(out, report)
        print(f"{step.name}: {entries[step.name]['state']}", flush=True)


def run_step(step: Step, work: Path, limit_s: float) -> dict[str, Any]:
    """Run one step and return its entry in the report."""
    work.mkdir(parents=True, exist_ok=True)
    answer, log = work / f"{step.name}.json", work / f"{step.name}.log"
    answer.unlink(missing_ok=True)
    started = time.monotonic()
    with log.open("wb") as output:
        exit_code = _run([*step.arguments, str(answer)], output, limit_s)
    found: dict[str, Any] = {
        "state": "out of time" if exit_code is None else "error",
        "seconds": time.monotonic() - started,
        "limit_s": limit_s,
        "exit_code": exit_code,
        "command": ["python", *map(_short, step.arguments), _short(str(answer))],
    }
    content = _read_answer(answer)
    if content:
        found["answer"] = content | step.notes
    is_whole = exit_code == 0 or (step.is_verdict and exit_code == 1)
    if content is not None and is_whole and "error" not in content:
        found["state"] = "done"
    else:
        lines = log.read_text("utf-8", "replace").splitlines()
        found["error"] = [_short(line) for line in lines[-_LOG_LINES:]]
        if step.training is not None and step.training.exists():
            found["epochs"] = _epochs(step.training)
    return found


def _short(text: str) -> str:
    return text.replace(f"{ROOT}/", "")


def _run(arguments: Sequence[str], output: Any, limit_s: float) -> int | None:
    """Run Python with these arguments; return its exit code, None if it was killed for its time."""
    tied = ["-c", _TIED] if sys.platform == "linux" else []
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    extra = {
        "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", "SERCT_OFFLINE": "1"
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, *tied, *arguments], stdin=subprocess.DEVNULL, stdout=output,
        stderr=subprocess.STDOUT, env=os.environ | extra, start_new_session=True,
    )  # fmt: skip
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        # With whatever it started.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _read_answer(path: Path) -> dict[str, Any] | None:
    """Return what a step wrote; of `full_size.py` the row of its training, {} if there is none."""
    if not path.exists():
        return None
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return next(iter(content["results"]), {}) if "results" in content else content


def _epochs(state: Path) -> list[dict[str, float]]:
    """Return a row for each whole epoch of a training that did not end."""
    with safe_open(state, framework="np") as file:
        return json.loads(file.metadata()["history"])
