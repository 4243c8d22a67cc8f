"""Preprocessing: write a manifest's recordings as shards of padded rows.

The bytes depend on the recordings and the parameters alone: they are the same from wav or flac,
and on one core or many.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from serct.config.files import as_csv
from serct.config.params import AudioParams, CheckParams
from serct.data.audio import Recording, is_silent, read_recording
from serct.data.manifest import (
    SPLITS,
    Rejection,
    Utterance,
    check_rejections,
    common_language,
    manifest_digest,
)
from serct.data.preparing import prepare, resampler_version
from serct.data.rows import row_digest, shard_path
from serct.data.shards import INDEX, META, IndexRow, ShardMeta
from serct.emotions import in_table_order
from serct.errors import AudioError
from serct.runtime import atomic
from serct.runtime.arrays import PCM_SCALE, Pcm
from serct.runtime.digests import file_digests
from serct.runtime.disk import check_space
from serct.runtime.machine import num_threads


@dataclass(frozen=True, kw_only=True)
class ShardPlan:
    """What `write_shards` needs besides the utterances."""

    corpus: str
    synthetic: bool
    protocol: str
    audio: AudioParams
    checks: CheckParams
    rows_per_shard: int


@dataclass(frozen=True)
class Block:
    """Utterances that become one file of rows.

    Attributes:
        path: That file.
    """

    path: Path
    utterances: Sequence[Utterance]


@dataclass(frozen=True)
class Shard:
    """The result of writing a block.

    Attributes:
        rows: Of each usable utterance; ``shard`` is -1 until its number is known.
        rejections: Files that are unusable.
        digest: SHA-256 over the rows' own.
    """

    rows: list[IndexRow]
    rejections: list[Rejection]
    digest: bytes


# Runs a function on each block, here or on a cluster, and returns the results in order.
MapBlocks = Callable[[Callable[[Block], Shard], Sequence[Block]], Iterable[Shard]]


def write_shards(
    root: Path,
    utterances: Sequence[Utterance],
    destination: Path,
    plan: ShardPlan,
    on_progress: Callable[[int], object] = lambda count: None,
    map_blocks: MapBlocks = map,
) -> ShardMeta:
    """Read, resample and pad every utterance of a manifest into shards.

    Memory stays bounded by one shard. A recording longer than a row goes on in the next rows.

    Args:
        root: The corpus' folder, which the manifest's paths are relative to.
        utterances: The manifest.
        destination: Folder to make, whole or not at all.
        plan: Audio form, limits and labels.
        on_progress: Called with the number of utterances just done.
        map_blocks: Runs the work, here or on a cluster.

    Raises:
        DiskError: If the disk is full, read-only or failing.
        ManifestError: If more files are unusable than ``plan.checks.max_rejected``; each is named.
    """
    ordered = sorted(utterances, key=lambda u: u.name)
    with atomic.replacing_folder(destination) as folder:
        check_space(destination, sum(_num_bytes(u, plan.audio) for u in ordered))
        index: list[IndexRow] = []
        rejections: list[Rejection] = []
        digest = hashlib.sha256()
        num_shards = 0
        blocks = [
            Block(shard_path(folder, number), block)
            for number, block in enumerate(_divide(ordered, plan))
        ]
        work = partial(_write_shard, root, plan)
        for block, shard in zip(blocks, map_blocks(work, blocks), strict=True):
            on_progress(len(block.utterances))
            rejections += shard.rejections
            if shard.rows:
                # A shard that lost all its rows leaves no gap in the numbers.
                block.path.rename(shard_path(folder, num_shards))
                index += [replace(row, shard=num_shards) for row in shard.rows]
                digest.update(shard.digest)
                num_shards += 1
        check_rejections(plan.corpus, rejections, plan.checks.max_rejected)
        text = as_csv((asdict(row) for row in index), list(IndexRow.__dataclass_fields__))
        (folder / INDEX).write_text(text, "utf-8", newline="\n")
        digest.update(text.encode())
        rates = [u.sample_rate for u in ordered]
        rate = plan.audio.sample_rate
        meta = ShardMeta(
            corpus=plan.corpus, language=common_language(u.language for u in ordered),
            synthetic=plan.synthetic, protocol=plan.protocol, audio=plan.audio.model_dump(),
            sample_rate_hz=max(set(rates), key=rates.count) if rate == "native" else rate,
            num_samples=plan.audio.num_samples, pcm_scale=PCM_SCALE,
            resampler=resampler_version(plan.audio.resampler),
            emotions=in_table_order(row.label for row in index), counts=_count(index),
            rows_per_shard=plan.rows_per_shard, rejections=tuple(asdict(r) for r in rejections),
            manifest_digest=manifest_digest(ordered), digest=digest.hexdigest(),
            files=file_digests(folder, [INDEX]),
        )  # fmt: skip
        (folder / META).write_text(json.dumps(meta.as_json(), indent=2) + "\n", "utf-8")
    return meta


def _divide(ordered: Sequence[Utterance], plan: ShardPlan) -> Iterator[Sequence[Utterance]]:
    """Divide utterances into blocks of about ``plan.rows_per_shard`` rows."""
    first, num_rows = 0, 0
    for place, utterance in enumerate(ordered):
        rate_hz = _rate_hz(utterance, plan.audio)
        # Resampling rounds: a recording that fills its rows exactly may need one more.
        needed = max(1, math.ceil(utterance.duration_s * rate_hz / plan.audio.num_samples))
        if num_rows and num_rows + needed > plan.rows_per_shard:
            yield ordered[first:place]
            first, num_rows = place, 0
        num_rows += needed
    yield ordered[first:]


def _num_bytes(utterance: Utterance, audio: AudioParams) -> int:
    """Return about how many bytes an utterance needs; padding needs no space on the disk."""
    return round(2 * utterance.duration_s * _rate_hz(utterance, audio))


def _rate_hz(recording: Utterance | Recording, audio: AudioParams) -> int:
    """Return the rate of a recording's rows."""
    return recording.sample_rate if audio.sample_rate == "native" else audio.sample_rate


def _write_shard(root: Path, plan: ShardPlan, block: Block) -> Shard:
    utterances, length = block.utterances, plan.audio.num_samples

    def read(utterance: Utterance) -> Pcm | Rejection:
        try:
            recording = read_recording(root / utterance.path, plan.checks, name=utterance.path)
            if recording.digest() != utterance.sha256:
                raise AudioError(f"{utterance.path}: changed since the manifest was made")
            samples = prepare(recording.waveform, recording.sample_rate, plan.audio)
            _check_silence(samples, recording, plan, utterance.path)
            return samples
        except AudioError as error:
            return Rejection(utterance.path, str(error).removeprefix(f"{utterance.path}: "))

    rows: list[IndexRow] = []
    rejections: list[Rejection] = []
    digest = hashlib.sha256()
    # Decoding and resampling release the interpreter lock, so threads use all cores; map keeps
    # the manifest's order.
    with ThreadPoolExecutor(num_threads()) as pool, _RowFile(block.path, length) as file:
        for utterance, samples in zip(utterances, pool.map(read, utterances), strict=True):
            if isinstance(samples, Rejection):
                rejections.append(samples)
                continue
            for part, start in enumerate(range(0, len(samples), length)):
                valid = samples[start : start + length]
                rows.append(_index_row(utterance, part, len(rows), valid))
                digest.update(bytes.fromhex(rows[-1].sha256))
                file.append(valid)
    if not rows:
        block.path.unlink()
    return Shard(rows, rejections, digest.digest())


def _index_row(utterance: Utterance, part: int, row: int, samples: Pcm) -> IndexRow:
    return IndexRow(
        utterance=utterance.name, corpus=utterance.corpus, language=utterance.language,
        speaker=utterance.speaker, gender=utterance.gender, text_id=utterance.text_id,
        split=utterance.split, label=utterance.emotion, part=part, shard=-1, row=row,
        num_valid_samples=len(samples), sha256=row_digest(samples),
    )  # fmt: skip


class _RowFile:
    """Writes rows of equal length as a .npy file; padding is never written and takes no space.

    Not through a memory map: a full disk is then an error that says so, not a signal that ends
    the process.
    """

    def __init__(self, path: Path, length: int) -> None:
        self._file = path.open("wb")
        self._length = length
        self._num_rows = 0

    def __enter__(self) -> "_RowFile":
        self._write_header()
        self._start = self._file.tell()
        return self

    def append(self, samples: Pcm) -> None:
        """Write a row that begins with these samples. int16 [1..length]."""
        self._file.seek(self._start + self._num_rows * self._length * samples.itemsize)
        self._file.write(samples.astype("<i2", copy=False).data)
        self._num_rows += 1

    def _write_header(self) -> None:
        header = {"descr": "<i2", "fortran_order": False, "shape": (self._num_rows, self._length)}
        np.lib.format.write_array_header_1_0(self._file, header)

    def __exit__(self, *exception: object) -> None:
        with self._file as file:
            if exception[0] is None:
                file.truncate(self._start + 2 * self._num_rows * self._length)
                file.seek(0)
                # NumPy leaves room for the number of rows to grow, so the length stays.
                self._write_header()


def _check_silence(samples: Pcm, recording: Recording, plan: ShardPlan, path: str) -> None:
    """Check what models are trained on, the first row.

    Raises:
        AudioError: If it is silent.
    """
    row = samples[: plan.audio.num_samples]
    if is_silent(row / PCM_SCALE, plan.checks.silence_peak):
        length = f"{len(row) / _rate_hz(recording, plan.audio):.3g} s"
        raise AudioError(f"{path}: silent in the first {length}, of which its row is made")


def _count(index: Sequence[IndexRow]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for split in SPLITS:
        labels = [row.label for row in index if row.split == split and row.part == 0]
        counts[split] = {emotion: labels.count(emotion) for emotion in in_table_order(labels)}
    return counts
