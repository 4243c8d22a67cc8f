"""Check an obtained corpus against what its authors published: names, counts, content."""

import csv
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from importlib import resources
from pathlib import Path, PurePosixPath

import soundfile

from serct.config.params import CheckParams
from serct.data.audio import read_recording
from serct.data.download import Advance, file_digest
from serct.data.manifest import Clip, Scan
from serct.errors import AudioError, DownloadError, list_problems

# Nothing but what makes a file unreadable: whether it is usable is the manifest's to judge.
_READABLE = CheckParams(silence_peak=0.0, max_duration_s=3600.0, max_rejected=0)


@dataclass(frozen=True)
class Original:
    """One file as its authors published it.

    Attributes:
        path: In the official layout.
        num_bytes: Its size.
        sha256: Of its bytes.
        audio_sha256: `serct.data.audio.Recording.digest`, "" if unknown: the same for any lossless
            copy, whatever its container.
    """

    path: PurePosixPath
    num_bytes: int
    sha256: str
    audio_sha256: str


def read_originals(name: str) -> dict[str, Original]:
    """Read the list ``checksums/<name>.csv`` that comes with the package.

    Returns:
        Each file by its name without folder and suffix, since copies differ in both.
    """
    text = resources.files(__package__).joinpath("checksums", f"{name}.csv").read_text("utf-8")
    rows = csv.DictReader(io.StringIO(text))
    return {
        PurePosixPath(row["path"]).stem: Original(
            path=PurePosixPath(row["path"]),
            num_bytes=int(row["bytes"]),
            sha256=row["sha256"],
            audio_sha256=row.get("audio_sha256", ""),
        )
        for row in rows
    }


def verify(
    corpus: str,
    root: Path,
    scan: Scan,
    expected_count: int | None,
    originals: dict[str, Original],
    is_complete_list: bool,
    advance: Advance,
) -> None:
    """Compare a corpus with its count and its list of checksums.

    Args:
        corpus: Its name, for the message.
        root: Its folder.
        scan: What its reader found there.
        expected_count: Number of clips, None if any number above 0 will do.
        originals: What is known of its files, by stem; may be empty.
        is_complete_list: Whether ``originals`` names all of them.
        advance: Called with 1 for each clip.

    Raises:
        DownloadError: Listing every file that is missing, unexpected, or has other content.
    """
    by_stem = {PurePosixPath(clip.path).stem: clip for clip in scan.clips}

    def check(clip: Clip) -> str | None:
        original = originals.get(PurePosixPath(clip.path).stem)
        try:
            problem = _difference(root / clip.path, original) if original else None
        except AudioError as error:
            problem = str(error).removeprefix(f"{root / clip.path}: ")
        advance(1)
        return f"{clip.path}: {problem}" if problem else None

    # Hashing and decoding release the interpreter lock, so threads use all cores.
    with ThreadPoolExecutor() as pool:
        problems = [problem for problem in pool.map(check, scan.clips) if problem]
    if is_complete_list:
        missing = sorted(str(originals[stem].path) for stem in originals.keys() - by_stem.keys())
        problems += [f"{path}: missing" for path in missing]
        unknown = sorted(by_stem[stem].path for stem in by_stem.keys() - originals.keys())
        problems += [f"{path}: not a file of this corpus" for path in unknown]
    found, expected = len(scan.clips), expected_count
    if found == 0 or problems or expected not in (None, found):
        # How many refused files are too many is the manifest's to judge, unless they explain this.
        problems += [f"{r.path}: {r.reason}" for r in scan.rejections]
        wanted = "at least one" if expected is None else str(expected)
        raise DownloadError(
            f"{corpus}: not the expected files: found {found} usable clips, expected {wanted}\n"
            + list_problems(problems, limit=100)
        )


def _difference(path: Path, original: Original) -> str | None:
    """Say how a file differs from the original; equal bytes or equal samples are no difference."""
    has_its_size = path.stat().st_size == original.num_bytes
    if has_its_size and file_digest(path) == original.sha256:
        return None
    recording = read_recording(path, _READABLE)
    if original.audio_sha256:
        if recording.digest() == original.audio_sha256:
            return None
    elif _plain_wav_digest(path) == original.sha256:
        return None
    return "its content is not the original's (SHA-256 of neither the file nor its samples fits)"


def _plain_wav_digest(path: Path) -> str:
    """SHA-256 of the wav of these samples with the shortest header: undoes a lossless copy."""
    samples, sample_rate = soundfile.read(path, dtype="int16", always_2d=True)
    wav = io.BytesIO()
    soundfile.write(wav, samples, sample_rate, format="WAV", subtype="PCM_16")
    return sha256(wav.getbuffer()).hexdigest()
