"""Ray: blocks of recordings and the processes of a training, spread over a cluster's machines.

Nothing of the work is written twice: Ray Data maps the function that writes one shard, Ray Train
starts processes that run the one training. All machines share the workspace's folder, which holds
recordings, shards and the state that a training resumes from.
"""

import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serct.errors import SerctError, TrainingError
from serct.experiment import train_and_track
from serct.params import Params, RayExecutor
from serct.preprocessing import Block, MapBlocks, Shard
from serct.runtime import keep_freed_memory, setup_logging

# What a worker must know of this process' environment; its own comes from where Ray was started.
_PASSED_ON = ("SERCT_", "MLFLOW_", "AWS_", "DVC_", "OMP_")


@contextmanager
def connected(executor: RayExecutor) -> Iterator[None]:
    """Join the cluster meanwhile; a connection that is there already is used and left.

    Raises:
        SerctError: If Ray is not installed or the cluster does not answer.
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
    # Workers import this very code, wherever Ray was started.
    passed["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent)
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    # Ray Data would rather print a moving bar a stage.
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
    """Find at once what Ray would look for during many minutes.

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


def map_on_cluster(executor: RayExecutor) -> MapBlocks:
    """Give what maps blocks with Ray Data, in order, each with ``executor.cpus`` cores."""

    def run(work: Callable[[Block], Shard], blocks: Sequence[Block]) -> Iterable[Shard]:
        import ray

        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        absolute = [Block(block.path.resolve(), block.utterances) for block in blocks]
        root = Path.cwd()

        def one(row: dict[str, Any]) -> dict[str, Any]:
            os.chdir(root)
            return {"shard": work(absolute[row["id"]])}

        numbers = ray.data.range(len(blocks), override_num_blocks=len(blocks))
        rows = numbers.map(one, num_cpus=executor.cpus)
        return (row["shard"] for row in rows.iter_rows())

    return run


def train_on_cluster(
    params: Params, executor: RayExecutor, name: str, shards: Path, state: Path, out: Path
) -> None:
    """Train in ``executor.workers`` processes; lost ones go on from the last epoch's state.

    Raises:
        TrainingError: If processes were lost more often than ``executor.max_failures``, or
            training cannot go on.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    root = Path.cwd()
    paths = [path.resolve() for path in (shards, state, out)]

    def work() -> None:
        os.chdir(root)
        setup_logging()
        keep_freed_memory()
        train_and_track(params, name, *paths)

    trainer = TorchTrainer(
        work,
        torch_config=TorchConfig(backend="nccl" if executor.gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=executor.workers,
            use_gpu=executor.gpus > 0,
            resources_per_worker={"CPU": executor.cpus, "GPU": executor.gpus},
        ),
        run_config=RunConfig(
            name=f"{state.stem}-ray",
            storage_path=str(paths[1].parent),
            failure_config=FailureConfig(max_failures=executor.max_failures),
        ),
    )
    try:
        result = trainer.fit()
    except Exception as error:
        # Ray wraps what workers raise in classes that differ between versions.
        raise TrainingError(f"training on the cluster failed: {error}") from error
    if result.error is not None:
        raise TrainingError(f"training on the cluster failed: {result.error}")
