"""Preprocessing: write a manifest's recordings as shards of padded rows.

The bytes depend on the recordings and the parameters alone: they are the same from wav or flac,
and on one core or many.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from serct.config.params import AudioParams, CheckParams
from serct.config.record import as_csv
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
from serct.data.shards import IndexRow, ShardMeta
from serct.emotions import in_table_order
from serct.errors import AudioError
from serct.runtime import atomic
from serct.runtime.arrays import PCM_SCALE, Pcm
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
        rows: One for each usable utterance; ``shard`` is -1 until its number is known.
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

    Memory stays bounded by one shard: rows are decoded by all cores and go straight into the
    memory-mapped file.

    Args:
        root: The corpus' folder, which the manifest's paths are relative to.
        utterances: The manifest.
        destination: Folder to make, whole or not at all.
        plan: Audio form, limits and labels.
        on_progress: Called with the number of utterances just done.
        map_blocks: Runs the work, here or on a cluster.

    Raises:
        ManifestError: If more files are unusable than ``plan.checks.max_rejected``; each is named.
    """
    ordered = sorted(utterances, key=lambda u: u.name)
    size = plan.rows_per_shard
    with atomic.replacing_folder(destination) as folder:
        index: list[IndexRow] = []
        rejections: list[Rejection] = []
        digest = hashlib.sha256()
        num_shards = 0
        blocks = [
            Block(_shard_path(folder, number), ordered[first : first + size])
            for number, first in enumerate(range(0, len(ordered), size))
        ]
        work = partial(_write_shard, root, plan)
        for block, shard in zip(blocks, map_blocks(work, blocks), strict=True):
            on_progress(len(block.utterances))
            rejections += shard.rejections
            if shard.rows:
                # A shard that lost all its rows leaves no gap in the numbers.
                block.path.rename(_shard_path(folder, num_shards))
                index += [replace(row, shard=num_shards) for row in shard.rows]
                digest.update(shard.digest)
                num_shards += 1
        check_rejections(plan.corpus, rejections, plan.checks.max_rejected)
        text = as_csv((asdict(row) for row in index), list(IndexRow.__dataclass_fields__))
        (folder / "index.csv").write_text(text, "utf-8", newline="\n")
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
            rows_per_shard=size, rejections=tuple(asdict(r) for r in rejections),
            manifest_digest=manifest_digest(ordered), digest=digest.hexdigest(),
        )  # fmt: skip
        (folder / "meta.json").write_text(json.dumps(meta.as_json(), indent=2) + "\n", "utf-8")
    return meta


def _shard_path(folder: Path, number: int) -> Path:
    return folder / f"wave-{number:05d}.npy"


def _write_shard(root: Path, plan: ShardPlan, block: Block) -> Shard:
    utterances, path = block.utterances, block.path
    shape = (len(utterances), plan.audio.num_samples)
    pcm = np.lib.format.open_memmap(path, mode="w+", dtype=np.int16, shape=shape)

    def fill(place: int) -> tuple[int, bytes] | Rejection:
        utterance = utterances[place]
        try:
            recording = read_recording(root / utterance.path, plan.checks, name=utterance.path)
            if recording.digest() != utterance.sha256:
                raise AudioError(f"{utterance.path}: changed since the manifest was made")
            samples = _prepare_row(recording, plan, utterance.path)
        except AudioError as error:
            return Rejection(utterance.path, str(error).removeprefix(f"{utterance.path}: "))
        # A new file is all zeros: writing only what is not padding keeps it sparse and fast.
        pcm[place, : len(samples)] = samples
        return len(samples), hashlib.sha256(samples.data).digest()

    # Decoding, resampling and hashing release the interpreter lock, so threads use all cores;
    # each writes its own row, and map keeps the manifest's order.
    with ThreadPoolExecutor(num_threads()) as pool:
        results = list(pool.map(fill, range(len(utterances))))
    kept = [place for place, result in enumerate(results) if not isinstance(result, Rejection)]
    rows: list[IndexRow] = []
    digest = hashlib.sha256()
    for utterance, result in zip(utterances, results, strict=True):
        if isinstance(result, Rejection):
            continue
        num_valid, row_digest = result
        digest.update(row_digest)
        rows.append(
            IndexRow(
                utterance=utterance.name, corpus=utterance.corpus, language=utterance.language,
                speaker=utterance.speaker, gender=utterance.gender, text_id=utterance.text_id,
                split=utterance.split, label=utterance.emotion, shard=-1, row=len(rows),
                num_valid_samples=num_valid,
            )
        )  # fmt: skip
    if len(kept) < len(utterances):
        # Close the gaps of rejected files; a shard that lost all its rows is removed.
        remaining = np.array(pcm[kept])
        path.unlink()
        if kept:
            np.save(path, remaining, allow_pickle=False)
    rejections = [result for result in results if isinstance(result, Rejection)]
    return Shard(rows, rejections, digest.digest())


def _prepare_row(recording: Recording, plan: ShardPlan, path: str) -> Pcm:
    """Return the samples of a row.

    Raises:
        AudioError: If they are silent: what sounds later than a row ends is not trained on.
    """
    samples = prepare(recording.waveform, recording.sample_rate, plan.audio)
    if is_silent(samples / PCM_SCALE, plan.checks.silence_peak):
        native = plan.audio.sample_rate == "native"
        rate = recording.sample_rate if native else plan.audio.sample_rate
        length = f"{len(samples) / int(rate):.3g} s"
        raise AudioError(f"{path}: silent in the first {length}, of which its row is made")
    return samples


def _count(index: Sequence[IndexRow]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for split in SPLITS:
        labels = [row.label for row in index if row.split == split]
        counts[split] = {emotion: labels.count(emotion) for emotion in in_table_order(labels)}
    return counts
