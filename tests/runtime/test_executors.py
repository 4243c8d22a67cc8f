"""Work done here; tests/test_ray.py does the same on a cluster."""

import sys
from pathlib import Path

import pytest

from serct.config.params import LocalExecutor, RayExecutor
from serct.errors import SerctError
from serct.runtime.executors import InProcessExecutor, open_executor


def test_this_process_keeps_the_order_and_the_number(tmp_path: Path) -> None:
    done: list[int] = []
    with open_executor(LocalExecutor(name="local")) as executor:
        assert isinstance(executor, InProcessExecutor)
        assert list(executor.map(lambda item: item * 2, [3, 1, 2])) == [6, 2, 4]
        executor.repeat(lambda: done.append(len(done)), 3, "three", tmp_path)
        executor.train(lambda: done.append(-1), "once", tmp_path)
    assert done == [0, 1, 2, -1]
    assert not list(tmp_path.iterdir())


def test_a_cluster_without_ray_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    section = RayExecutor(name="ray", address=None, workers=1, cpus=1, gpus=0, max_failures=0)
    with pytest.raises(SerctError, match=r"pip install serct\[ray\]"), open_executor(section):
        pass
