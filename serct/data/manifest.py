"""The manifest: one row an utterance, checked before any model is trained on it."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from serct.config.files import as_csv, read_table
from serct.config.params import CheckParams
from serct.data.audio import read_recording
from serct.data.duplicates import Contour, compute_contour, find_equal, reduce_rate
from serct.emotions import EMOTIONS, in_table_order
from serct.errors import AudioError, ManifestError, list_problems
from serct.runtime import atomic
from serct.runtime.arrays import Floats
from serct.runtime.log import logger
from serct.runtime.machine import num_threads

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
_LOSSLESS = (".wav", ".flac", ".aiff", ".aif")


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
    """What a reader found in a corpus' folder.

    Attributes:
        utterances: The usable ones, as far as names and tables tell.
        rejections: All other files that should have been.
        notes: What the manifest stage says about them.
    """

    utterances: tuple[Utterance, ...]
    rejections: tuple[Rejection, ...] = ()
    notes: tuple[str, ...] = ()


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
    """Decode every recording: measure it, and find unusable and doubled ones.

    Returns:
        The usable utterances sorted by name, and every rejected file with its reason.
    """
    contours: dict[str, Contour] = {}

    def inspect(utterance: Utterance) -> Utterance | Rejection:
        path = utterance.path
        try:
            recording = read_recording(root / path, checks, name=path)
        except AudioError as error:
            return Rejection(path, str(error).removeprefix(f"{path}: "))
        finally:
            on_progress()
        for note in recording.notes:
            logger.warning("%s: %s: %s", corpus, path, note)
        contours[path] = compute_contour(recording.waveform, recording.sample_rate)
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
    copies = _group_copies(utterances)
    firsts = [group[0] for group in copies]

    def load(number: int) -> Floats:
        recording = read_recording(root / firsts[number].path, checks)
        return reduce_rate(recording.waveform, recording.sample_rate)

    equal = find_equal([contours[u.path] for u in firsts], load, _namesakes(firsts))
    kept, doubled = _keep_best(copies, equal)
    return kept, sorted([*rejections, *doubled], key=lambda r: r.path)


def _group_copies(utterances: Iterable[Utterance]) -> list[list[Utterance]]:
    """Put utterances of equal samples together."""
    by_digest: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        by_digest[utterance.sha256].append(utterance)
    return list(by_digest.values())


def _keep_best(
    copies: Sequence[Sequence[Utterance]], equal: Iterable[tuple[int, int]]
) -> tuple[list[Utterance], list[Rejection]]:
    """Keep the best file of each recording: lossless, of the highest rate, the first by name.

    Args:
        copies: Files of equal samples.
        equal: Which of them, by number, are one recording in several encodings.

    Returns:
        The kept files sorted by name, none of a recording with different labels, and the others.
    """
    groups = {number: [number] for number in range(len(copies))}
    for first, second in equal:
        if groups[first] is not groups[second]:
            groups[first] += groups[second]
            groups |= dict.fromkeys(groups[second], groups[first])

    def worth(utterance: Utterance) -> tuple[bool, int, str, str]:
        is_lossless = PurePosixPath(utterance.path).suffix.lower() in _LOSSLESS
        return not is_lossless, -utterance.sample_rate, utterance.name, utterance.path

    by_name: dict[str, list[Utterance]] = defaultdict(list)
    rejections: list[Rejection] = []
    for group in {id(group): group for group in groups.values()}.values():
        files = sorted((u for number in group for u in copies[number]), key=worth)
        best, labels = files[0], in_table_order(u.emotion for u in files)
        if len(labels) > 1:
            names = ", ".join(u.path for u in files)
            reason = f"one recording labelled {' and '.join(labels)}: {names}"
            rejections += [Rejection(u.path, reason) for u in files]
            continue
        by_name[best.name].append(best)
        for other in files[1:]:
            how = "" if other.sha256 == best.sha256 else " in another encoding"
            rejections.append(Rejection(other.path, f"the same recording as {best.path}{how}"))
    for same in by_name.values():
        # Tables of results know a recording by its path without suffix.
        reason = f"different recordings of one name: {', '.join(u.path for u in same)}"
        rejections += [
            Rejection(u.path, f"{reason}; rename all but one") for u in same[1:] and same
        ]
    return [by_name[name][0] for name in sorted(by_name) if len(by_name[name]) == 1], rejections


def _namesakes(utterances: Sequence[Utterance]) -> list[tuple[int, int]]:
    """Return the pairs, by number, whose paths differ in nothing but their suffix."""
    by_name: dict[str, list[int]] = defaultdict(list)
    for number, utterance in enumerate(utterances):
        by_name[utterance.name].append(number)
    return [(first, other) for first, *others in by_name.values() for other in others]


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
        ManifestError: If the file is missing, has other columns or no rows, or naming the row that
            has too few or too many fields, an unknown value, or a path that another row has.
    """
    table = read_table(path, "the manifest stage writes it", ManifestError)
    if table.columns != COLUMNS:
        raise ManifestError(f"{path}: columns are {table.columns}, expected {COLUMNS}")
    if not table.rows:
        raise ManifestError(f"{path}: no rows; the manifest stage writes it")
    utterances: dict[str, Utterance] = {}
    for number, row in zip(table.numbers, table.rows, strict=True):
        try:
            utterance = _read_row(row)
        except ValueError as error:
            raise ManifestError(f"{path}: row {number}: {error}") from error
        if utterance.path in utterances:
            raise ManifestError(f"{path}: row {number}: {utterance.path} is listed twice")
        utterances[utterance.path] = utterance
    return list(utterances.values())


def _read_row(row: Mapping[str, str]) -> Utterance:
    """Return the utterance of a manifest's row.

    Raises:
        ValueError: Naming the column whose value is not as expected.
    """
    for column, allowed in (
        ("emotion", EMOTIONS), ("gender", ("f", "m", "")), ("split", (*SPLITS, "")),
    ):  # fmt: skip
        if row[column] not in allowed:
            expected = ", ".join(each or "nothing" for each in allowed)
            raise ValueError(f"{column} is {row[column]!r}, expected one of {expected}")
    path = PurePosixPath(row["path"])
    if not path.parts or path.is_absolute() or ".." in path.parts:
        raise ValueError(f"path {row['path']!r}, expected one inside the corpus' folder")
    try:
        duration_s, sample_rate = float(row["duration_s"]), int(row["sample_rate"])
    except ValueError as error:
        raise ValueError(
            f"duration_s is {row['duration_s']!r} and sample_rate {row['sample_rate']!r}, expected "
            "numbers such as 1.5 and 16000"
        ) from error
    if not (0 <= duration_s < math.inf and sample_rate >= 0):
        raise ValueError(
            f"duration_s is {duration_s:g} and sample_rate {sample_rate}, expected numbers above 0"
        )
    values: dict[str, Any] = {**row, "duration_s": duration_s, "sample_rate": sample_rate}
    return Utterance(**values)


def manifest_digest(utterances: Iterable[Utterance]) -> str:
    """Return the SHA-256 of names, labels, samples and splits, equal for wav and flac."""
    digest = hashlib.sha256()
    for u in sorted(utterances, key=lambda u: u.name):
        digest.update(f"{u.name},{u.emotion},{u.speaker},{u.sha256},{u.split}\n".encode())
    return digest.hexdigest()
