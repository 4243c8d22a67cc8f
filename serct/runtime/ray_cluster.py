"""Ray: recordings and the processes of a training, spread over the machines of a cluster.

No work is written twice: Ray Data maps the function that writes one shard or scores one
part, Ray Train starts processes that run the one training, Ray Tune places the trials of a search.
All machines share the workspace's folder, which holds recordings, shards and the states that
trainings resume from.
"""

import logging
import os
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serct.config.params import RayExecutor
from serct.errors import SerctError, TrainingError
from serct.runtime.log import setup_logging
from serct.runtime.machine import keep_freed_memory

# Variables that a worker needs from this process; its other ones come from where Ray was started.
_PASSED_ON = ("SERCT_", "MLFLOW_", "AWS_", "DVC_", "OMP_", "RAY_SERVE_")


@contextmanager
def connected(executor: RayExecutor) -> Iterator[None]:
    """Connect to the cluster meanwhile; use a connection that exists already, and keep it.

    Raises:
        SerctError: If Ray is not installed or the cluster cannot be reached.
    """
    try:
        import ray
    except ImportError as error:
        raise SerctError(
            "executor.name is ray: install it with `pip install serct[ray]`"
        ) from error
    if ray.is_initialized():
        yield
        return
    passed = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
    # Workers import this code, wherever Ray was started.
    passed["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    # A cluster that starts here sends no usage reports.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Ray Data prints a moving bar for each stage by default.
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    _check_listening(executor.address)
    try:
        ray.init(
            address=executor.address or "local",
            runtime_env={"env_vars": passed},
            logging_level=logging.WARNING,
            include_dashboard=False if executor.address is None else None,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _no_cluster(executor.address, error) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_listening(address: str | None) -> None:
    """Check the address at once; Ray would retry for many minutes.

    Raises:
        SerctError: If nothing listens at ``HOST:PORT``.
    """
    host, _, port = (address or "").rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str | None, error: Exception) -> SerctError:
    return SerctError(
        f"executor.address is {address!r}: no Ray cluster there ({error}). Start one with "
        "`ray start --head`, or set it to null"
    )


def describe(section: RayExecutor) -> str:
    """Describe the resources of the cluster.

    Raises:
        SerctError: If it cannot be reached, or no process of a training would fit.
    """
    with connected(section):
        import ray

        machines = sum(node["Alive"] for node in ray.nodes())  # type: ignore[no-untyped-call]
        has = ray.cluster_resources()  # type: ignore[no-untyped-call]
        cpus, gpus = has.get("CPU", 0), has.get("GPU", 0)
        found = f"Ray, {machines} machines, {cpus:g} cores, {gpus:g} GPUs"
        if cpus < section.cpus or gpus < section.gpus:
            raise SerctError(
                f"{found}: expected at least executor.cpus, {section.cpus}, and executor.gpus, "
                f"{section.gpus}, for each of executor.workers"
            )
        return found


class Cluster:
    """Runs work on the cluster that this process is connected to; see `Executor`."""

    def __init__(self, section: RayExecutor) -> None:
        self._section = section
        self._resources = {"CPU": float(section.cpus), "GPU": float(section.gpus)}

    def map(
        self, work: Callable[[Any], Any], items: Sequence[Any], *, on_gpu: bool = False
    ) -> Iterable[Any]:
        """Map with Ray Data, each item with the cores of a worker, and its GPUs if ``on_gpu``."""
        import ray

        if not items:
            return ()
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        remote_work = remote(work)

        def one(row: dict[str, Any]) -> dict[str, Any]:
            return {"result": remote_work(items[row["id"]])}

        numbers = ray.data.range(len(items), override_num_blocks=len(items))
        gpus = self._section.gpus if on_gpu else 0
        rows = numbers.map(one, num_cpus=self._section.cpus, num_gpus=gpus)
        return (row["result"] for row in rows.iter_rows())

    def train(self, work: Callable[[], None], name: str, folder: Path) -> None:
        """Train with Ray Train; lost processes start again from the last epoch's state."""
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer

        remote_work = remote(work)
        with _engine_folder(folder, name) as notes:
            trainer = TorchTrainer(
                lambda: remote_work(),
                torch_config=TorchConfig(backend="nccl" if self._section.gpus else "gloo"),
                scaling_config=ScalingConfig(
                    num_workers=self._section.workers,
                    use_gpu=self._section.gpus > 0,
                    resources_per_worker=self._resources,
                ),
                run_config=RunConfig(
                    name=name,
                    storage_path=str(notes),
                    failure_config=FailureConfig(max_failures=self._section.max_failures),
                ),
            )
            try:
                problem = trainer.fit().error
            except Exception as error:
                # Ray wraps what workers raise in classes that differ between versions.
                problem = error
        if problem is not None:
            raise TrainingError(f"training on the cluster failed: {problem}")

    def repeat(self, work: Callable[[], None], times: int, name: str, folder: Path) -> None:
        """Repeat with Ray Tune, as many at once as there are workers."""
        from ray import tune

        remote_work = remote(work)
        with _engine_folder(folder, name) as notes:
            tuner = tune.Tuner(
                tune.with_resources(lambda config: remote_work(), self._resources),
                tune_config=tune.TuneConfig(
                    num_samples=times, max_concurrent_trials=self._section.workers
                ),
                run_config=tune.RunConfig(
                    name=name,
                    storage_path=str(notes),
                    verbose=0,
                    failure_config=tune.FailureConfig(max_failures=self._section.max_failures),
                ),
            )
            errors = tuner.fit().errors
        if errors:
            raise TrainingError(f"{len(errors)} of {times} failed on the cluster: {errors[0]}")


def remote(work: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap work for a worker: relative paths start at this folder, messages go to stderr."""
    root = Path.cwd()

    def run(*arguments: Any) -> Any:
        os.chdir(root)
        setup_logging()
        keep_freed_memory()
        return work(*arguments)

    return run


@contextmanager
def _engine_folder(folder: Path, name: str) -> Iterator[Path]:
    """Yield a folder for Ray's own files and remove it at the end; the work writes its results."""
    notes = folder.resolve() / f".{name}-ray"
    try:
        yield notes
    finally:
        shutil.rmtree(notes, ignore_errors=True)
