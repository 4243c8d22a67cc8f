"""The files of a corpus' shards: what `serct.data.preprocessing` writes and `ShardDataset` reads.

Padded int16 rows are in `wave-00000.npy` and so on, where each utterance is in `index.csv`, and
what they all share in `meta.json`. A recording that is longer than a row goes on in the next rows.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, JsonValue

from serct.config.files import read_table
from serct.config.record import Record
from serct.data.rows import HINT
from serct.errors import SerctError, ShardError
from serct.runtime.digests import check_files

# The columns of index.csv that are numbers.
_NUMBERS = ("part", "shard", "row", "num_valid_samples")
META, INDEX = "meta.json", "index.csv"


class ShardMeta(Record):
    """What a folder of shards holds (`meta.json`); `index.csv` beside it has the same version.

    Attributes:
        audio: The audio section it was made with.
        sample_rate_hz: Rate of the rows; with "native" that of most files.
        emotions: In table order.
        counts: Utterances by split and emotion.
        manifest_digest: Of the manifest it was made from.
        digest: SHA-256 over index and rows.
        files: SHA-256 of `index.csv`, which has those of the rows; none before version 3.
    """

    FORMAT: ClassVar[int] = 3
    SEALED_FROM: ClassVar[int] = 3
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
    files: dict[str, str] = Field(default_factory=dict)


class ZeroShotTargets(Record):
    """The corpora of zero-shot tests and the digests of their shards, `zero_shot_targets.json`."""

    FORMAT: ClassVar[int] = 2
    ERROR: ClassVar[type[SerctError]] = ShardError

    digests: dict[str, str]


@dataclass(frozen=True)
class IndexRow:
    """Where the shards hold one utterance or a part of it, and its metadata (in `index.csv`).

    Attributes:
        part: From 0; above it in the rows that go on where the one before was full.
        sha256: Of the samples without padding, "" in an index before version 3.
    """

    utterance: str
    corpus: str
    language: str
    speaker: str
    gender: str
    text_id: str
    split: str
    label: str
    part: int
    shard: int
    row: int
    num_valid_samples: int
    sha256: str = ""


def read_meta(folder: Path, corpus: str | None = None) -> ShardMeta:
    """Read `meta.json`.

    Args:
        folder: Of the shards.
        corpus: Whose shards they must be; None for those of any.

    Raises:
        ShardError: If it is missing, damaged, inconsistent, of a newer version or another corpus.
    """
    meta = ShardMeta.read(folder / META, HINT)
    if corpus not in (None, meta.corpus):
        raise ShardError(
            f"{folder / META}: shards of {meta.corpus}, expected those of {corpus}; {HINT}"
        )
    return meta


def read_index(folder: Path, meta: ShardMeta) -> list[list[IndexRow]]:
    """Read `index.csv`: the rows of each utterance, in their order.

    Raises:
        ShardError: If it is missing or not as preprocessing writes it.
    """
    path = folder / INDEX
    check_files(folder, meta.files, META, ShardError)
    # An index of version 1 names neither corpus nor language, since all rows were of the one
    # corpus; before version 3 an utterance was cut at its first row.
    same = {"corpus": meta.corpus, "language": meta.language, "part": "0"}
    lines: list[dict[str, Any]] = [
        {**same, **row} for row in read_table(path, HINT, ShardError).rows
    ]
    try:
        rows = [IndexRow(**line | {key: int(line[key]) for key in _NUMBERS}) for line in lines]
    except (KeyError, TypeError, ValueError) as error:
        raise ShardError(f"{path}: not a readable index: {error}") from error
    utterances: list[list[IndexRow]] = []
    for row in rows:
        if row.part == 0:
            utterances.append([])
        if not utterances or row.part != len(utterances[-1]):
            raise ShardError(f"{path}: part {row.part} of {row.utterance} is out of order")
        utterances[-1].append(row)
    return utterances
