"""Shards: a corpus as padded int16 rows in .npy files, read through memory maps.

`serct.data.preprocessing` writes them. Of a row only the samples that are not padding are read,
and a batch is as long as its longest waveform.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from serct.config.record import Record, read_table
from serct.emotions import in_table_order
from serct.errors import SerctError, ShardError
from serct.runtime.arrays import PCM_SCALE, Floats, Integers, Pcm

Waves = TypeVar("Waves")
Numbers = TypeVar("Numbers")
# The columns of index.csv that are numbers.
_NUMBERS = ("shard", "row", "num_valid_samples")


class ShardMeta(Record):
    """What a folder of shards holds (`meta.json`); `index.csv` beside it has the same version.

    Attributes:
        audio: The audio section it was made with.
        sample_rate_hz: Rate of the rows; with "native" that of most files.
        emotions: In table order.
        counts: Utterances by split and emotion.
        manifest_digest: Of the manifest it was made from.
        digest: SHA-256 over index and rows.
    """

    FORMAT: ClassVar[int] = 2
    ERROR: ClassVar[type[SerctError]] = ShardError
    SAYS_WRITER: ClassVar[bool] = False  # equal recordings make equal bytes

    corpus: str
    language: str
    synthetic: bool
    protocol: str
    audio: dict[str, JsonValue]
    sample_rate_hz: int
    num_samples: int
    pcm_scale: float
    resampler: str
    emotions: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    rows_per_shard: int
    rejections: tuple[dict[str, str], ...]
    manifest_digest: str
    digest: str


@dataclass(frozen=True)
class IndexRow:
    """Where the shards hold one utterance, and its metadata (a row of `index.csv`)."""

    utterance: str
    corpus: str
    language: str
    speaker: str
    gender: str
    text_id: str
    split: str
    label: str
    shard: int
    row: int
    num_valid_samples: int


def read_meta(folder: Path) -> ShardMeta:
    """Read `meta.json`.

    Raises:
        ShardError: If it is missing, inconsistent or of a newer version.
    """
    return ShardMeta.read(folder / "meta.json", "the preprocess stage writes it")


@dataclass(frozen=True, eq=False)
class Batch(Generic[Waves, Numbers]):
    """Waveforms and labels for a model, as arrays, or as tensors on a device.

    Attributes:
        waveforms: In [-1, 1), with zeros after each. float32 [B, M]
        num_valid: Samples that are not padding. int64 [B]
        labels: Class numbers. int64 [B]
    """

    waveforms: Waves
    num_valid: Numbers
    labels: Numbers


class ShardDataset:
    """Random access to the rows of one or more splits.

    Args:
        folder: A folder written by `write_shards`.
        splits: Which rows to hold.
        emotions: The label set that class numbers refer to; rows with other labels are left
            out and counted in ``dropped``. The corpus' own set if None.

    Attributes:
        labels: Class number of each row. int64 [n]
        num_valid: Samples of each row that are not padding. int64 [n]
        speakers: Of each row, "" if unknown.
    """

    def __init__(
        self, folder: Path, splits: Sequence[str], emotions: Sequence[str] | None = None
    ) -> None:
        self.folder = folder
        self.meta = read_meta(folder)
        self.emotions = tuple(emotions) if emotions is not None else self.meta.emotions
        rows = [row for row in _read_index(folder / "index.csv", self.meta) if row.split in splits]
        self.rows = [row for row in rows if row.label in self.emotions]
        strange = [row.label for row in rows if row.label not in self.emotions]
        self.dropped = {label: strange.count(label) for label in in_table_order(strange)}
        if not self.rows:
            raise ShardError(
                f"{folder}: no {' or '.join(splits)} rows labelled {', '.join(self.emotions)}"
            )
        self.labels = np.array([self.emotions.index(row.label) for row in self.rows])
        self.num_valid = np.array([row.num_valid_samples for row in self.rows])
        self.speakers = [row.speaker for row in self.rows]
        self._shard = np.array([row.shard for row in self.rows])
        self._row = np.array([row.row for row in self.rows])

    def __len__(self) -> int:
        return len(self.rows)

    def clip(self, index: int) -> Pcm:
        """Return the samples of one row without padding, not copied. int16 [1..num_samples]."""
        rows = self._shards[self._shard[index]]
        clip: Pcm = rows[self._row[index], : self.num_valid[index]]
        return clip

    def batch(
        self, indices: Sequence[int] | npt.NDArray[np.integer[Any]], num_samples: int | None = None
    ) -> Batch[Floats, Integers]:
        """Return rows by their positions in this dataset.

        Args:
            indices: Which rows.
            num_samples: Length to pad them to; that of the longest among them if None.
        """
        indices = np.asarray(indices)
        clips = [self.clip(index) for index in indices]
        waveforms, num_valid = stack_clips(clips, self.meta.pcm_scale, num_samples)
        return Batch(waveforms, num_valid, self.labels[indices])

    @cached_property
    def _shards(self) -> list[Pcm]:
        paths = [self.folder / f"wave-{n:05d}.npy" for n in range(int(self._shard.max()) + 1)]
        try:
            maps = [np.load(path, mmap_mode="r", allow_pickle=False) for path in paths]
        except (OSError, ValueError) as error:
            raise ShardError(f"{self.folder}: unreadable shard: {error}") from error
        # Slicing a memmap costs more than reading a row; slicing a plain array costs nothing.
        return [np.asarray(each) for each in maps]


def stack_clips(
    clips: Sequence[Pcm], pcm_scale: float = PCM_SCALE, num_samples: int | None = None
) -> tuple[Floats, Integers]:
    """Return int16 samples as rows of waveforms, with zeros after each.

    Args:
        clips: At least one. int16 [1..num_samples] each
        pcm_scale: The integer that stands for 1.0.
        num_samples: M, the length of the rows; that of the longest if None.

    Returns:
        Rows, float32 [B, M], and the number of samples of each that are not padding, int64 [B].

    Example:
        >>> rows, num_valid = stack_clips([np.int16([8192]), np.int16([-16384, 0])])
        >>> rows.tolist(), num_valid.tolist()
        ([[0.25, 0.0], [-0.5, 0.0]], [1, 2])
    """
    num_valid = np.array([len(clip) for clip in clips])
    rows = np.empty((len(clips), num_samples or num_valid.max()), dtype=np.float32)
    scale = np.float32(1 / pcm_scale)
    for row, clip in zip(rows, clips, strict=True):
        # In two steps: multiplying integers would convert them in small pieces first.
        row[: len(clip)] = clip
        row[: len(clip)] *= scale
        row[len(clip) :] = 0
    return rows, num_valid


def _read_index(path: Path, meta: ShardMeta) -> list[IndexRow]:
    # An index of version 1 names neither, since all rows were of the one corpus.
    same = {"corpus": meta.corpus, "language": meta.language}
    table = read_table(path, "the preprocess stage writes it", ShardError)
    rows: list[dict[str, Any]] = [{**same, **row} for row in table.rows]
    try:
        return [IndexRow(**row | {key: int(row[key]) for key in _NUMBERS}) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise ShardError(f"{path}: not a readable index: {error}") from error
