"""Where work is done, as the ``executor`` section of params.yaml says: here, or on a Ray cluster.

What is to be done is handed over as a function. It is the same function in both places.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from serct.config.params import LocalExecutor, RayExecutor


class Executor(Protocol):
    """Does work. Functions and items travel to other processes and must be picklable."""

    def map(
        self, work: Callable[[Any], Any], items: Sequence[Any], *, on_gpu: bool = False
    ) -> Iterable[Any]:
        """Do something with each item, and give the answers in the items' order."""

    def train(self, work: Callable[[], None], name: str, folder: Path) -> None:
        """Do work that divides itself with `serct.runtime.distributed`.

        Args:
            work: Called in each process; may be called again after a process was lost.
            name: Of the work.
            folder: Shared by all processes, for the engine's own notes.

        Raises:
            TrainingError: If processes were lost too often, or the work cannot be done.
        """

    def repeat(self, work: Callable[[], None], times: int, name: str, folder: Path) -> None:
        """Do the same so many times, several at once where that is possible; as `train`."""


class Here:
    """This process."""

    def map(
        self, work: Callable[[Any], Any], items: Sequence[Any], *, on_gpu: bool = False
    ) -> Iterable[Any]:
        """See `Executor`; the device is the work's own choice."""
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
    """Give what does the work; joined to the cluster meanwhile, if it is one.

    Raises:
        SerctError: If there is no cluster.
    """
    if isinstance(section, LocalExecutor):
        yield Here()
        return
    from serct.runtime.ray_cluster import Cluster, connected

    with connected(section):
        yield Cluster(section)
