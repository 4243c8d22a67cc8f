"""A corpus as a dataset: shards read through memory maps.

Of a row only the samples that are not padding are read, and a batch is as long as its longest
waveform. Models train on the first row of an utterance, and are evaluated on all of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from serct.data.rows import RowReader
from serct.data.shards import read_index, read_meta
from serct.data.windows import Plan, Timing, plan_recording
from serct.emotions import in_table_order
from serct.errors import ShardError
from serct.runtime.arrays import PCM_SCALE, Floats, Integers, Pcm

Waves = TypeVar("Waves")
Numbers = TypeVar("Numbers")


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
    """Random access to the utterances of one or more splits.

    Args:
        folder: A folder written by `write_shards`.
        splits: Which utterances to hold.
        emotions: The label set that class numbers refer to; utterances with other labels are left
            out and counted in ``dropped``. The corpus' own set if None.

    Attributes:
        rows: The first row of each utterance.
        labels: Class number of each utterance. int64 [n]
        num_valid: Samples of each first row that are not padding. int64 [n]
        lengths: Samples of each utterance, in all its rows. int64 [n]
        speakers: Of each utterance, "" if unknown.
    """

    def __init__(
        self, folder: Path, splits: Sequence[str], emotions: Sequence[str] | None = None
    ) -> None:
        self.folder = folder
        self.meta = read_meta(folder)
        self.emotions = tuple(emotions) if emotions is not None else self.meta.emotions
        found = read_index(folder, self.meta)
        parts = [parts for parts in found if parts[0].split in splits]
        self._parts = [each for each in parts if each[0].label in self.emotions]
        self.rows = [first for first, *_ in self._parts]
        strange = [first.label for first, *_ in parts if first.label not in self.emotions]
        self.dropped = {label: strange.count(label) for label in in_table_order(strange)}
        if not self.rows:
            raise ShardError(
                f"{folder}: no {' or '.join(splits)} rows labelled {', '.join(self.emotions)}"
            )
        self.labels = np.array([self.emotions.index(row.label) for row in self.rows])
        self.num_valid = np.array([row.num_valid_samples for row in self.rows])
        self.lengths = np.array(
            [sum(part.num_valid_samples for part in parts) for parts in self._parts]
        )
        self.speakers = [row.speaker for row in self.rows]
        rows = (part for parts in self._parts for part in parts)
        self._read = RowReader(folder, self.meta.num_samples, rows)

    def __len__(self) -> int:
        return len(self.rows)

    def clip(self, index: int) -> Pcm:
        """Return an utterance's first row without padding, not copied. int16 [1..num_samples].

        Raises:
            ShardError: If they are not those that were written.
        """
        return self._read(self.rows[index])

    def recording(self, index: int) -> Pcm:
        """Return the samples of a whole utterance. int16 [1..]; raises as `clip`."""
        return self.window(index, 0, int(self.lengths[index]))

    def window(self, index: int, start: int, end: int) -> Pcm:
        """Return samples ``start`` to ``end`` of an utterance; of its rows only those are read."""
        length = self.meta.num_samples
        first, last = start // length, (end - 1) // length
        parts = [self._read(part) for part in self._parts[index][first : last + 1]]
        joined = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return joined[start - first * length : end - first * length]

    def batch(
        self, indices: Sequence[int] | npt.NDArray[np.integer[Any]], num_samples: int | None = None
    ) -> Batch[Floats, Integers]:
        """Return the first rows of utterances by their positions in this dataset.

        Args:
            indices: Which utterances.
            num_samples: Length to pad them to; that of the longest among them if None.
        """
        indices = np.asarray(indices)
        clips = [self.clip(index) for index in indices]
        waveforms, num_valid = stack_clips(clips, self.meta.pcm_scale, num_samples)
        return Batch(waveforms, num_valid, self.labels[indices])

    @cached_property
    def plans(self) -> list[Plan]:
        """How each utterance is predicted as a whole.

        Voice activity chooses the windows of one that is longer than a row; where nobody speaks,
        all of it counts alike.
        """
        rate, timing = self.meta.sample_rate_hz, Timing.of_rows(self.meta.num_samples)
        return [
            plan_recording(length, rate, timing, partial(self.recording, index))
            for index, length in enumerate(self.lengths.tolist())
        ]


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
