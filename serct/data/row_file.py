"""The file of one shard while it is written: padded rows, each where it belongs.

Not a memory map: on a full disk one ends the process with a bus error, without a word.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from serct.runtime.arrays import Pcm


class RowFile:
    """A .npy file of int16 rows, zeros where nothing was written; threads may share it."""

    def __init__(self, descriptor: int, first: int, num_samples: int) -> None:
        self._descriptor, self._first, self._num_samples = descriptor, first, num_samples

    def write(self, place: int, samples: Pcm) -> None:
        """Write the samples of a row that are not padding. int16 [1..num_samples]."""
        rest = np.ascontiguousarray(samples, dtype="<i2").data.cast("B")
        offset = self._first + place * self._num_samples * samples.itemsize
        while rest:
            num_written = os.pwrite(self._descriptor, rest, offset)
            rest, offset = rest[num_written:], offset + num_written


@contextmanager
def writing_rows(path: Path, num_rows: int, num_samples: int) -> Iterator[RowFile]:
    """Yield a new file of rows that are all zeros, which needs no space on the disk."""
    kind = np.dtype("<i2")
    header = {"descr": kind.str, "fortran_order": False, "shape": (num_rows, num_samples)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.flush()
        first = file.tell()
        os.ftruncate(file.fileno(), first + num_rows * num_samples * kind.itemsize)
        yield RowFile(file.fileno(), first, num_samples)


def keep_rows(path: Path, places: Sequence[int]) -> None:
    """Write a file again with some of its rows, and remove it if there are none."""
    old = np.load(path, mmap_mode="r", allow_pickle=False)
    path.unlink()
    if places:
        with writing_rows(path, len(places), old.shape[1]) as rows:
            for place, kept in enumerate(places):
                rows.write(place, old[kept])
