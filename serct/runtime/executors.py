"""Executors, as the ``executor`` section of params.yaml chooses: this process, or a Ray cluster.

Work is passed as a function, the same for both.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from serct.config.params import LocalExecutor, RayExecutor


class Executor(Protocol):
    """Runs functions. They and their items travel to other processes and must be picklable."""

    def map(
        self, work: Callable[[Any], Any], items: Sequence[Any], *, on_gpu: bool = False
    ) -> Iterable[Any]:
        """Call ``work`` with each item, and return its results in the order of the items."""

    def train(self, work: Callable[[], None], name: str, folder: Path) -> None:
        """Run work that divides itself with `serct.runtime.distributed`.

        Args:
            work: Called in each process; may be called again after a process was lost.
            name: Of the work.
            folder: Shared by all processes, for the engine's own files.

        Raises:
            TrainingError: If processes were lost too often, or the work fails.
        """

    def repeat(self, work: Callable[[], None], times: int, name: str, folder: Path) -> None:
        """Run ``work`` so many times, several at once where that is possible; as `train`."""


class InProcessExecutor:
    """Runs work in this process."""

    def map(
        self, work: Callable[[Any], Any], items: Sequence[Any], *, on_gpu: bool = False
    ) -> Iterable[Any]:
        """See `Executor`; ``on_gpu`` changes nothing, the work chooses its device."""
        return map(work, items)

    def train(self, work: Callable[[], None], name: str, folder: Path) -> None:
        """See `Executor`."""
        work()

    def repeat(self, work: Callable[[], None], times: int, name: str, folder: Path) -> None:
        """See `Executor`."""
        for _ in range(times):
            work()


@contextmanager
def open_executor(section: LocalExecutor | RayExecutor) -> Iterator[Executor]:
    """Yield the executor; if it is a cluster, stay connected to it meanwhile.

    Raises:
        SerctError: If the cluster cannot be reached.
    """
    if isinstance(section, LocalExecutor):
        yield InProcessExecutor()
        return
    from serct.runtime.ray_cluster import Cluster, connected

    with connected(section):
        yield Cluster(section)
