"""Compare a corpus with what its authors published: names, counts, content."""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from importlib import resources
from pathlib import Path, PurePosixPath

import numpy as np
import soundfile

from serct.config.tables import decode_table, parse_table
from serct.data.audio import Limits, Recording, read_recording
from serct.data.download import Advance
from serct.data.manifest import Scan, Utterance
from serct.errors import AudioError, DownloadError, list_problems
from serct.runtime.arrays import PCM_SCALE
from serct.runtime.digests import file_digest

# Only what makes a file unreadable: the manifest stage decides what is usable.
_READABLE = Limits(silence_peak=0.0, max_duration_s=3600.0)


@dataclass(frozen=True)
class Original:
    """One file as its authors published it.

    Attributes:
        path: In the official layout.
        num_bytes: Its size.
        sha256: Digest of its bytes.
        audio_sha256: `serct.data.audio.Recording.digest`, equal for every lossless copy; "" if
            unknown.
    """

    path: PurePosixPath
    num_bytes: int
    sha256: str
    audio_sha256: str


def read_originals(name: str) -> dict[str, Original]:
    """Read the list ``serct/data/corpora/checksums/<name>.csv``.

    Returns:
        Each file by its name without folder and suffix, since copies differ in both.
    """
    folder = resources.files("serct.data.corpora").joinpath("checksums")
    text = decode_table(folder.joinpath(f"{name}.csv").read_bytes())
    rows = parse_table(text, ("path", "bytes", "sha256")).rows
    return {
        PurePosixPath(row["path"]).stem: Original(
            path=PurePosixPath(row["path"]), num_bytes=int(row["bytes"]), sha256=row["sha256"],
            audio_sha256=row.get("audio_sha256", ""),
        )
        for row in rows
    }  # fmt: skip


def verify(
    corpus: str,
    root: Path,
    scan: Scan,
    expected_count: int | None,
    originals: dict[str, Original],
    advance: Advance,
) -> None:
    """Compare a corpus with its number of utterances and its list of checksums.

    Args:
        corpus: Its name, for the message.
        root: Its folder.
        scan: What its reader found there.
        expected_count: Number of utterances, None if any number above 0 is right.
        originals: What is known of its files, by name without folder and suffix; it names all of
            them if it has ``expected_count`` entries.
        advance: Called with 1 for each utterance.

    Raises:
        DownloadError: Listing every file that is missing, unexpected, or has other content.
    """
    by_stem = {PurePosixPath(utterance.path).stem: utterance for utterance in scan.utterances}

    def check(utterance: Utterance) -> str | None:
        path = root / utterance.path
        original = originals.get(PurePosixPath(utterance.path).stem)
        try:
            problem = _difference(path, original) if original else None
        except AudioError as error:
            problem = str(error).removeprefix(f"{path}: ")
        advance(1)
        return f"{utterance.path}: {problem}" if problem else None

    # Hashing and decoding release the interpreter lock, so threads use all cores.
    with ThreadPoolExecutor() as pool:
        problems = [problem for problem in pool.map(check, scan.utterances) if problem]
    if len(originals) == expected_count:
        missing = sorted(str(originals[stem].path) for stem in originals.keys() - by_stem.keys())
        problems += [f"{path}: missing" for path in missing]
        unknown = sorted(by_stem[stem].path for stem in by_stem.keys() - originals.keys())
        problems += [f"{path}: not a file of this corpus" for path in unknown]
    found = len(scan.utterances)
    if found == 0 or problems or expected_count not in (None, found):
        # The manifest stage decides how many refused files are too many, unless they explain this.
        problems += [f"{r.path}: {r.reason}" for r in scan.rejections]
        wanted = "at least one" if expected_count is None else str(expected_count)
        raise DownloadError(
            f"{corpus}: not the expected files: found {found} usable utterances, "
            f"expected {wanted}\n" + list_problems(problems, limit=100)
        )


def _difference(path: Path, original: Original) -> str | None:
    """Return how a file differs from the original, None if its bytes or samples are equal."""
    has_its_size = path.stat().st_size == original.num_bytes
    if has_its_size and file_digest(path) == original.sha256:
        return None
    recording = read_recording(path, _READABLE)
    if original.audio_sha256:
        if recording.digest() == original.audio_sha256:
            return None
    elif _plain_wav_digest(recording) == original.sha256:
        return None
    return "its content is not the original's (SHA-256 of neither the file nor its samples fits)"


def _plain_wav_digest(recording: Recording) -> str:
    """Return the SHA-256 of these samples as a 16-bit wav with the shortest header."""
    samples = np.clip(np.rint(recording.frames * PCM_SCALE), -PCM_SCALE, PCM_SCALE - 1)
    wav = io.BytesIO()
    soundfile.write(
        wav, samples.astype(np.int16), recording.sample_rate, format="WAV", subtype="PCM_16"
    )
    return sha256(wav.getbuffer()).hexdigest()
