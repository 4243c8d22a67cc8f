"""The manifest: one row an utterance, checked before any model is trained on it."""

import csv
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from serct.config.params import CheckParams
from serct.config.record import as_csv
from serct.data.audio import read_recording
from serct.emotions import in_table_order
from serct.errors import AudioError, ManifestError, list_problems
from serct.runtime import atomic
from serct.runtime.machine import num_threads

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """The metadata of one recording: one row of a manifest.

    A corpus' reader sets what the layout shows. `inspect_recordings` adds the rest, which needs the
    file itself, and `serct.data.splitting` the split.

    Attributes:
        path: Relative to the corpus' folder, with forward slashes.
        corpus: The corpus that it is from. A reader leaves it "", but for a joint corpus.
        language: Its language; the same.
        speaker: The speaker's name within the corpus, "" if unknown.
        gender: "f", "m" or "" if unknown.
        text_id: Equal for equal words, "" if unknown.
        emotion: A name of `EMOTIONS`.
        duration_s: Length in seconds.
        sample_rate: Of the file, in Hz.
        sha256: Digest of rate and decoded samples, equal for lossless re-encodings.
        split: "train", "validation" or "test"; before splitting "", unless the corpus is divided.
    """

    path: str
    corpus: str = ""
    language: str = ""
    speaker: str
    gender: str
    text_id: str
    emotion: str
    duration_s: float = 0.0
    sample_rate: int = 0
    sha256: str = ""
    split: str = ""

    @property
    def name(self) -> str:
        """The path without its suffix: the same whether a corpus came as wav or as flac."""
        return str(PurePosixPath(self.path).with_suffix(""))


@dataclass(frozen=True)
class Rejection:
    """A file left out of the manifest, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Scan:
    """What a reader found in a corpus' folder."""

    utterances: tuple[Utterance, ...]
    rejections: tuple[Rejection, ...] = ()


COLUMNS = tuple(field.name for field in fields(Utterance))


def common_language(languages: Iterable[str]) -> str:
    """Return the one language, or "mul", ISO 639-2 for several.

    Example:
        >>> common_language(["de", "de"]), common_language(["de", "en"])
        ('de', 'mul')
    """
    distinct = set(languages)
    return distinct.pop() if len(distinct) == 1 else "mul"


def inspect_recordings(
    root: Path,
    scan: Scan,
    corpus: str,
    language: str,
    checks: CheckParams,
    on_progress: Callable[[], object] = lambda: None,
) -> tuple[list[Utterance], list[Rejection]]:
    """Decode every recording once: measure it, and find unusable and doubled ones.

    Returns:
        The usable utterances sorted by name, and every rejected file with its reason.
    """

    def inspect(utterance: Utterance) -> Utterance | Rejection:
        path = utterance.path
        try:
            recording = read_recording(root / path, checks, name=path)
        except AudioError as error:
            return Rejection(path, str(error).removeprefix(f"{path}: "))
        finally:
            on_progress()
        return replace(
            utterance, corpus=utterance.corpus or corpus, language=utterance.language or language,
            duration_s=round(recording.duration_s, 6), sample_rate=recording.sample_rate,
            sha256=recording.digest(),
        )  # fmt: skip

    # Decoding and hashing release the interpreter lock, so threads use all cores.
    with ThreadPoolExecutor(num_threads()) as pool:
        results = list(pool.map(inspect, sorted(scan.utterances, key=lambda u: u.name)))
    utterances = [result for result in results if isinstance(result, Utterance)]
    rejections = [*scan.rejections, *(r for r in results if isinstance(r, Rejection))]
    kept, doubled = _set_doubles_aside(utterances)
    return kept, sorted([*rejections, *doubled], key=lambda r: r.path)


def _set_doubles_aside(utterances: Iterable[Utterance]) -> tuple[list[Utterance], list[Rejection]]:
    """Keep the first of each recording; none if its copies carry different labels."""
    by_digest: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        by_digest[utterance.sha256].append(utterance)
    kept: list[Utterance] = []
    doubled: list[Rejection] = []
    for first, *copies in by_digest.values():
        labels = in_table_order(u.emotion for u in (first, *copies))
        if len(labels) == 1:
            kept.append(first)
            doubled += [Rejection(c.path, f"the same recording as {first.path}") for c in copies]
        else:
            reason = f"one recording labelled {' and '.join(labels)}: " + ", ".join(
                u.path for u in (first, *copies)
            )
            doubled += [Rejection(u.path, reason) for u in (first, *copies)]
    return sorted(kept, key=lambda u: u.name), doubled


def check_rejections(corpus: str, rejections: Sequence[Rejection], max_rejected: int) -> None:
    """Check that no more files are rejected than ``checks.max_rejected`` allows.

    Raises:
        ManifestError: Naming every rejected file and its reason.
    """
    if len(rejections) > max_rejected:
        listing = list_problems([f"{r.path}: {r.reason}" for r in rejections], limit=1000)
        raise ManifestError(
            f"{corpus}: {len(rejections)} unusable files, checks.max_rejected allows "
            f"{max_rejected}:\n{listing}"
        )


def write_manifest(path: Path, utterances: Iterable[Utterance]) -> None:
    """Write the manifest as CSV, whole or not at all."""
    atomic.write_text(path, as_csv((asdict(utterance) for utterance in utterances), COLUMNS))


def read_manifest(path: Path) -> list[Utterance]:
    """Read a manifest.

    Raises:
        ManifestError: If the file is missing, has other columns, or a value is ill-typed.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows: list[dict[str, Any]] = list(reader)
            columns = tuple(reader.fieldnames or ())
    except FileNotFoundError as error:
        raise ManifestError(f"{path}: no such manifest") from error
    if columns != COLUMNS:
        raise ManifestError(f"{path}: columns are {columns}, expected {COLUMNS}")
    try:
        return [
            Utterance(
                **row
                | {"duration_s": float(row["duration_s"]), "sample_rate": int(row["sample_rate"])}
            )
            for row in rows
        ]
    except (TypeError, ValueError) as error:
        raise ManifestError(f"{path}: {error}") from error


def manifest_digest(utterances: Iterable[Utterance]) -> str:
    """Return the SHA-256 of names, labels, samples and splits, equal for wav and flac."""
    digest = hashlib.sha256()
    for u in sorted(utterances, key=lambda u: u.name):
        digest.update(f"{u.name},{u.emotion},{u.speaker},{u.sha256},{u.split}\n".encode())
    return digest.hexdigest()
