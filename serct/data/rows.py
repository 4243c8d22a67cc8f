"""The rows of shards, read through memory maps; each is checked when it is first read."""

import hashlib
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from serct.errors import ShardError
from serct.runtime.arrays import Pcm

if TYPE_CHECKING:
    from serct.data.shards import IndexRow

# What errors add.
HINT = "the preprocess stage writes it"


def row_digest(samples: Pcm) -> str:
    """Compute the SHA-256 of a row's samples without padding, in hex. int16 [1..num_samples]."""
    return hashlib.sha256(samples.data).hexdigest()


def shard_path(folder: Path, number: int) -> Path:
    """Return the file of rows with a number."""
    return folder / f"wave-{number:05d}.npy"


class RowReader:
    """Reads rows of a folder of shards, in any order and as often as wanted.

    Training reads each row in every epoch and pays for its digest in the first one. Rows of an
    index before version 3 have no digest.
    """

    def __init__(self, folder: Path, num_samples: int, rows: "Iterable[IndexRow]") -> None:
        """Prepare; files are opened when a row is first read.

        Args:
            folder: A folder written by `write_shards`.
            num_samples: Length of a row.
            rows: All that will be read.
        """
        self.folder = folder
        self._num_samples = num_samples
        self._num_rows: dict[int, int] = {}
        for row in rows:
            self._num_rows[row.shard] = max(self._num_rows.get(row.shard, 0), row.row + 1)
        self._checked: set[tuple[int, int]] = set()

    def __call__(self, row: "IndexRow") -> Pcm:
        """Return the samples of a row without padding, not copied. int16 [1..num_samples].

        Raises:
            ShardError: If they are not those that were written, or their file is not readable.
        """
        padded = self._shards[row.shard][row.row]
        samples: Pcm = padded[: row.num_valid_samples]
        place = (row.shard, row.row)
        if row.sha256 and place not in self._checked:
            self._check(row, samples, padded[row.num_valid_samples :])
            self._checked.add(place)
        return samples

    def _check(self, row: "IndexRow", samples: Pcm, padding: Pcm) -> None:
        where = f"{shard_path(self.folder, row.shard)}: damaged: row {row.row}, {row.utterance},"
        found = row_digest(samples)
        if found != row.sha256:
            raise ShardError(
                f"{where} has SHA-256 {found}, expected {row.sha256} as index.csv says; {HINT}"
            )
        if padding.any():
            raise ShardError(f"{where} has samples behind its end, expected zeros; {HINT}")

    @cached_property
    def _shards(self) -> dict[int, Pcm]:
        return {number: self._open(number) for number in sorted(self._num_rows)}

    def _open(self, number: int) -> Pcm:
        path = shard_path(self.folder, number)
        try:
            shard = np.load(path, mmap_mode="r", allow_pickle=False)
        # A damaged header has errors of several kinds.
        except Exception as error:
            raise ShardError(f"{path}: unreadable shard: {error}; {HINT}") from error
        least = (self._num_rows[number], self._num_samples)
        is_whole = shard.ndim == 2 and shard.shape[0] >= least[0] and shard.shape[1] == least[1]
        if not is_whole or shard.dtype != np.dtype("<i2") or not shard.flags.c_contiguous:
            raise ShardError(
                f"{path}: found {shard.dtype} {shard.shape}, expected int16 {least} or more rows; "
                f"{HINT}"
            )
        # Slicing a memmap costs more than reading a row; slicing a plain array costs nothing.
        return np.asarray(shard)
