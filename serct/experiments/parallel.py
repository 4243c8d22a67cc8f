"""Runs independent stages of the pipeline side by side, with the result of `dvc repro`.

DVC itself runs one stage after the other. Each stage here is a `dvc repro` of its own, started when
all that it needs is done, so that locking, caching and dvc.lock stay DVC's. The entries of the lock
stand in the order in which stages ended.
"""

import os
import subprocess
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from serct.config.reader import read_params
from serct.errors import ParamsError
from serct.experiments.lock_file import mend_lock
from serct.experiments.recipes import division_changed
from serct.experiments.workspace import run_dvc, stage_environment
from serct.runtime.disk import check_writable

Graph = Mapping[str, frozenset[str]]


def read_graph(workspace: Path) -> Graph:
    """Return each stage of a workspace with the stages that it needs."""
    # DVC takes a second to import.
    from dvc.repo import Repo

    with warnings.catch_warnings():
        # Parts of DVC use what other parts deprecate.
        warnings.simplefilter("ignore", DeprecationWarning)
        with Repo(str(workspace)) as repo:
            graph = repo.index.graph
            return {
                stage.name: frozenset(needed.name for needed in graph.successors(stage))
                for stage in graph.nodes
            }


def only(graph: Graph, targets: Sequence[str]) -> Graph:
    """Return the targets and all that they need; the whole graph without targets.

    Args:
        graph: From `read_graph`.
        targets: Stages, or the name before the @ for all of a kind, as `dvc repro` takes them.

    Raises:
        ParamsError: If there is no such stage.
    """
    if not targets:
        return graph
    wanted: list[str] = []
    for target in targets:
        found = [stage for stage in graph if target in (stage, stage.partition("@")[0])]
        if not found:
            raise ParamsError(f"no stage {target!r}, expected one of: {', '.join(sorted(graph))}")
        wanted += found
    kept: set[str] = set()
    while wanted:
        stage = wanted.pop()
        if stage not in kept:
            kept.add(stage)
            wanted += graph[stage]
    return {stage: graph[stage] for stage in graph if stage in kept}


def rebuild(
    workspace: Path,
    jobs: int,
    targets: Sequence[str] = (),
    flags: Sequence[str] = (),
    show: Callable[[str], object] = print,
) -> int:
    """Run the stages that changed, up to ``jobs`` at once; with one job DVC runs them itself.

    When a stage fails no new one is started; those running end first.

    Args:
        workspace: Where to run.
        jobs: At least 1. Each gets its share of the cores, unless OMP_NUM_THREADS is set.
        targets: Only these and what they need.
        flags: More of `dvc repro`'s options.
        show: Called with each line of output, after the name of its stage, and each change of
            state.

    Returns:
        The exit code of the first stage that failed, 0 if none did.

    Raises:
        DiskError: If a stage failed and the workspace cannot be written.
        ParamsError: If there are several jobs and a target is no stage.
    """
    mend_lock(workspace)
    params = workspace / "params.yaml"
    if params.exists() and division_changed(read_params(params), workspace):
        show("the files that split.path names have changed: the recipes are written again")
        if code := run_dvc(workspace, ["repro", "--single-item", "--force", "corpus_recipes"]):
            return code
    if jobs == 1:
        return run_dvc(workspace, ["repro", *flags, *targets])
    graph = only(read_graph(workspace), targets)
    environment = stage_environment(os.environ)
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    runner = _Runner(workspace, flags, environment, show)
    # Those first that most others need.
    num_waiting = Counter(needed for needs in graph.values() for needed in needs)
    order = sorted(graph, key=lambda stage: -num_waiting[stage])
    done: set[str] = set()
    running: dict[Future[int], str] = {}
    failed = 0
    with ThreadPoolExecutor(jobs) as pool:
        try:
            while len(done) < len(graph):
                if not failed:
                    started = {*running.values(), *done}
                    ready = [s for s in order if s not in started and graph[s] <= done]
                    for stage in ready[: jobs - len(running)]:
                        running[pool.submit(runner.run, stage)] = stage
                        show(_state(graph, done, running.values()))
                if not running:
                    break
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    stage, code = running.pop(future), future.result()
                    if code:
                        failed = failed or code
                        show(f"{stage} failed with exit code {code}")
                    else:
                        done.add(stage)
        except BaseException:
            runner.stop()
            raise
    show(_state(graph, done, ()))
    if failed:
        check_writable(workspace)
    return failed


def _state(graph: Graph, done: set[str], running: Iterable[str]) -> str:
    now = ", ".join(running)
    return f"=== {len(done)} of {len(graph)} stages done" + (f"; running: {now}" if now else "")


@dataclass(frozen=True)
class _Runner:
    """Runs stages as processes and shows their output line by line, whole lines only."""

    workspace: Path
    flags: Sequence[str]
    environment: Mapping[str, str]
    show: Callable[[str], object]
    lock: threading.Lock = field(default_factory=threading.Lock)
    processes: set[subprocess.Popen[str]] = field(default_factory=set)

    def run(self, stage: str) -> int:
        """Run one stage and return its exit code; wait while another process holds DVC's lock."""
        command = [
            sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", *self.flags,
            stage,
        ]  # fmt: skip
        with subprocess.Popen(
            command,
            cwd=self.workspace,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            with self.lock:
                self.processes.add(process)
            assert process.stdout is not None  # noqa: S101  asked for above
            for line in process.stdout:
                if line.strip():
                    with self.lock:
                        self.show(f"[{stage}] {line.rstrip()}")
            code = process.wait()
            with self.lock:
                self.processes.discard(process)
            return code

    def stop(self) -> None:
        """End the processes that still run."""
        with self.lock:
            for process in self.processes:
                process.terminate()
