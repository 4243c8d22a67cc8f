"""Where the work of a stage is done, as the ``executor`` section of params.yaml says."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serct.experiment import train_and_track
from serct.params import LocalExecutor, Params, RayExecutor
from serct.preprocessing import MapBlocks


@contextmanager
def map_blocks_of(executor: LocalExecutor | RayExecutor) -> Iterator[MapBlocks]:
    """Give what does the work of `write_shards`; the bytes are the same everywhere.

    Raises:
        SerctError: If there is no cluster.
    """
    if isinstance(executor, LocalExecutor):
        yield map
        return
    from serct.ray_cluster import connected, map_on_cluster

    with connected(executor):
        yield map_on_cluster(executor)


def train(params: Params, name: str, shards: Path, state: Path, out: Path) -> None:
    """Do what `train_and_track` does, here or in processes on a cluster.

    Raises:
        SerctError: As `train_and_track`; if there is no cluster, or it lost too many processes.
    """
    if isinstance(params.executor, LocalExecutor):
        train_and_track(params, name, shards, state, out)
        return
    from serct.ray_cluster import connected, train_on_cluster

    with connected(params.executor):
        train_on_cluster(params, params.executor, name, shards, state, out)
