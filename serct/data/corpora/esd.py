"""Emotional Speech Dataset (ESD): 350 parallel sentences x 5 emotions x 10 speakers a language.

The label follows from the number in the name: 1-350 neutral, 351-700 angry, then happy, sad,
surprised; the folder must agree. The first release cut each emotion's folder into train, evaluation
and test, by sentence; later ones do not. That cut is ignored: splitting is ours to do.
"""

import importlib
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from serct.config.corpora import EsdParams
from serct.data.corpora.sources import Context, Names
from serct.data.corpora.tree import is_audio, scan_names
from serct.data.corpora.verification import Original, read_originals
from serct.data.manifest import Clip, Scan
from serct.emotions import canonical_emotion
from serct.errors import BackendUnavailableError, CorpusError, DownloadError

TITLE = "Emotional Speech Dataset (ESD)"
LICENCE = "research only, under a licence signed with the authors"
CITATION = (
    "Zhou, K., Sisman, B., Liu, R., & Li, H. (2022). Emotional voice conversion: theory, databases "
    "and ESD. Speech Communication 137."
)
HOMEPAGE = "https://hltsingapore.github.io/ESD/"
NAMES = Names(
    ("esd", "ESD", "Emotion Speech Dataset", "Emotional Speech Dataset (ESD)"), max_bytes=1 << 33
)

_DRIVE_ID = "1scuFwqh8s7KIYAfZW1Eu6088ZAK2SI-v"
_SPEAKERS = {
    "zh": tuple(f"{number:04d}" for number in range(1, 11)),
    "en": tuple(f"{number:04d}" for number in range(11, 21)),
}
# Two tables in circulation have 0012 or 0019 wrong; this one gives five and five in each language.
_WOMEN = frozenset({"0001", "0002", "0003", "0007", "0009", "0015", "0016", "0017", "0018", "0019"})
_EMOTIONS = ("neutral", "angry", "happy", "sad", "surprised")
_NUM_TEXTS = 350
_FILE_NAME = re.compile(r"(\d{4})_(\d{6})")


def language(params: EsdParams) -> str:
    """English or Chinese: half of the corpus each."""
    return params.language


def expected_count(params: EsdParams) -> int:
    """Clips of one language."""
    return len(_SPEAKERS[params.language]) * len(_EMOTIONS) * _NUM_TEXTS


def originals(params: EsdParams) -> dict[str, Original]:
    """Checksums, known for the first five speakers of Chinese."""
    return read_originals("esd_zh_0001-0005") if params.language == "zh" else {}


def obtain(destination: Path, params: EsdParams, context: Context) -> str:
    """Fill a folder with one language, from the mirror, the cache or the authors' drive.

    Returns:
        Where the files came from.

    Raises:
        DownloadError: If it is nowhere here and the licence is not signed.
        BackendUnavailableError: If the package gdown, which fetches it, is not installed.
    """
    wanted = _belongs_to(params.language)
    found = context.take_local(NAMES, destination, wanted)
    if found:
        return str(found)
    if not params.licence_signed:
        raise context.by_hand(
            NAMES,
            f"ESD is given for research under a signed licence. Sign the form at {HOMEPAGE}, then "
            "either put the archive you are sent the link to, or its folder, where it is looked "
            f"for, or set corpora.{context.name}.licence_signed: true in params.yaml to have it "
            "downloaded.",
        )
    context.require_network(NAMES, HOMEPAGE)
    with context.download_lock():
        archive = context.sources.cache / "esd.zip"
        _download_from_drive(archive)
        context.unpack_download(archive, destination, NAMES, wanted)
    return str(archive)


def _belongs_to(language: str) -> Callable[[PurePosixPath], bool]:
    return lambda path: is_audio(path) and path.stem[:4] in _SPEAKERS[language]


def _download_from_drive(archive: Path) -> None:
    try:
        gdown: Any = importlib.import_module("gdown")
    except ImportError as error:
        raise BackendUnavailableError(
            "downloading ESD needs the package gdown: pip install 'serct[esd]', or download "
            f"https://drive.google.com/file/d/{_DRIVE_ID} in a browser and put it as {archive}"
        ) from error
    # Under another name until it is whole: gdown's own unfinished files lie beside it.
    unfinished = archive.with_name("esd-from-drive")
    try:
        gdown.download(id=_DRIVE_ID, output=str(unfinished), resume=True)
    except Exception as error:
        # gdown has no class of its own for most of what can go wrong with the drive.
        raise DownloadError(_drive_refusal(archive, str(error))) from error
    if not unfinished.exists():
        raise DownloadError(_drive_refusal(archive, "nothing came"))
    unfinished.replace(archive)


def _drive_refusal(archive: Path, reason: str) -> str:
    return (
        f"Google Drive did not give ESD ({reason}); its quota is often used up. Try again later, "
        f"or download https://drive.google.com/file/d/{_DRIVE_ID} in a browser and put it as "
        f"{archive}"
    )


def scan(root: Path, params: EsdParams) -> Scan:
    """Read labels from the names, checked against the folders, in either layout."""
    speakers = _SPEAKERS[params.language]

    def read(path: PurePosixPath) -> Clip | str | None:
        if path.stem[:4] not in speakers and _FILE_NAME.fullmatch(path.stem):
            return None
        return _problem(path) or _clip(path)

    return scan_names(root, read)


def _problem(path: PurePosixPath) -> str | None:
    """Say what contradicts itself in a path."""
    match = _FILE_NAME.fullmatch(path.stem)
    if not match:
        return "not a name of ESD, expected one like 0011_000001"
    number = int(match[2])
    if not 1 <= number <= len(_EMOTIONS) * _NUM_TEXTS:
        return f"number {number}, expected 1 to {len(_EMOTIONS) * _NUM_TEXTS}"
    by_name = _EMOTIONS[(number - 1) // _NUM_TEXTS]
    for folder in path.parts[:-1]:
        if re.fullmatch(r"\d{4}", folder) and folder != match[1]:
            return f"lies in the folder of speaker {folder}, but its name says {match[1]}"
        try:
            by_folder = canonical_emotion(folder)
        except CorpusError:
            continue
        if by_folder != by_name:
            return f"lies in a folder named {folder}, but its number means {by_name}"
    return None


def _clip(path: PurePosixPath) -> Clip:
    speaker, number = path.stem.split("_")
    index = int(number) - 1
    return Clip(
        path=str(path),
        speaker=speaker,
        gender="f" if speaker in _WOMEN else "m",
        text_id=f"{index % _NUM_TEXTS:03d}",
        emotion=_EMOTIONS[index // _NUM_TEXTS],
    )
