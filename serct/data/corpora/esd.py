"""Emotional Speech Dataset (ESD): 350 parallel sentences x 5 emotions x 10 speakers a language.

The number in the name: 1-350 neutral, 351-700 angry, then happy, sad,
surprised; the folder must agree. The first release cut each emotion's folder into train, evaluation
and test, by sentence; later ones do not. This project ignores that cut and makes its own splits.
"""

import importlib
import re
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from serct.data.manifest import Utterance
from serct.data.reading.corpus import Corpus, CorpusParams
from serct.data.reading.sources import Copies, Search
from serct.data.reading.tree import is_audio
from serct.data.reading.verification import Original, read_originals
from serct.emotions import canonical_emotion
from serct.errors import BackendUnavailableError, CorpusError, DownloadError

_DRIVE_ID = "1scuFwqh8s7KIYAfZW1Eu6088ZAK2SI-v"
_SPEAKERS = {
    "zh": tuple(f"{number:04d}" for number in range(1, 11)),
    "en": tuple(f"{number:04d}" for number in range(11, 21)),
}
# Two tables on the web have 0012 or 0019 wrong; with this one each language has five women.
_WOMEN = frozenset({"0001", "0002", "0003", "0007", "0009", "0015", "0016", "0017", "0018", "0019"})
_EMOTIONS = ("neutral", "angry", "happy", "sad", "surprised")
_NUM_TEXTS = 350
_FILE_NAME = re.compile(r"(\d{4})_(\d{6})")


class EsdParams(CorpusParams):
    """One language of ESD."""

    reader: Literal["esd"]
    language: Literal["en", "zh"]
    licence_signed: bool


class Esd(Corpus):
    """One language of ESD, which needs a signed licence."""

    params: EsdParams
    title = "Emotional Speech Dataset (ESD)"
    licence = "research only, under a licence signed with the authors"
    citation = (
        "Zhou, K., Sisman, B., Liu, R., & Li, H. (2022). Emotional voice conversion: theory, "
        "databases and ESD. Speech Communication 137."
    )
    homepage = "https://hltsingapore.github.io/ESD/"
    copies = Copies(
        ("esd", "ESD", "Emotion Speech Dataset", "Emotional Speech Dataset (ESD)"),
        max_bytes=1 << 33,
    )
    emobox = "esd"

    @property
    def num_utterances(self) -> int:
        """Number of utterances of one language."""
        return len(self._speakers) * len(_EMOTIONS) * _NUM_TEXTS

    @property
    def _speakers(self) -> tuple[str, ...]:
        return _SPEAKERS[self.params.language]

    def originals(self) -> dict[str, Original]:
        """Return the checksums, known for the first five speakers of Chinese."""
        return read_originals("esd_zh_0001-0005") if self.params.language == "zh" else {}

    def is_wanted(self, path: PurePosixPath) -> bool:
        """Take the recordings of one language."""
        return is_audio(path) and path.stem[:4] in self._speakers

    def fetch(self, destination: Path, search: Search) -> str:
        """Download the archive from the authors' drive, if the licence is signed.

        Raises:
            BackendUnavailableError: If the package gdown, which downloads it, is not installed.
        """
        if not self.params.licence_signed:
            raise search.by_hand(
                "ESD is for research under a signed licence. Sign the form at "
                f"{self.homepage}, then either put the archive whose link you receive, or its "
                "folder, into one of the places below, or set "
                f"corpora.{self.name}.licence_signed: true in params.yaml to download it."
            )
        search.require_network(self.homepage)
        with search.lock_downloads():
            archive = search.sources.cache / "esd.zip"
            _download_from_drive(archive)
            search.unpack(archive, destination, self.is_wanted)
        return str(archive)

    def parse(self, path: PurePosixPath) -> Utterance | str | None:
        """Return the labels that the name holds, if the folders agree."""
        if path.stem[:4] not in self._speakers and _FILE_NAME.fullmatch(path.stem):
            return None
        return _problem(path) or _utterance(path)


def _download_from_drive(archive: Path) -> None:
    try:
        gdown: Any = importlib.import_module("gdown")
    except ImportError as error:
        raise BackendUnavailableError(
            "downloading ESD needs the package gdown: pip install 'serct[esd]', or download "
            f"https://drive.google.com/file/d/{_DRIVE_ID} in a browser and put it as {archive}"
        ) from error
    # Under another name until it is whole: gdown keeps its unfinished files beside it.
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
        f"Google Drive refused to send ESD ({reason}); its quota is often used up. Try later, "
        f"or download https://drive.google.com/file/d/{_DRIVE_ID} in a browser and put it as "
        f"{archive}"
    )


def _problem(path: PurePosixPath) -> str | None:
    """Return the contradiction in a path, None if there is none."""
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


def _utterance(path: PurePosixPath) -> Utterance:
    speaker, number = path.stem.split("_")
    index = int(number) - 1
    return Utterance(
        path=str(path), speaker=speaker, gender="f" if speaker in _WOMEN else "m",
        text_id=f"{index % _NUM_TEXTS:03d}", emotion=_EMOTIONS[index // _NUM_TEXTS],
    )  # fmt: skip
