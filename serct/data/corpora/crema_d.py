"""CREMA-D: 12 sentences x 91 actors x 6 emotions, English.

``1001_DFA_ANG_XX`` is actor 1001, sentence DFA, anger, intensity unspecified. Of the 7,442
published files four are left out: 1076_MTI_SAD_XX holds nothing but zeros, and three are copies of
a recording of another emotion, which their authors' own tables leave out as well.
"""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import requests

from serct.config.corpora import CremaDParams
from serct.data.corpora.piecewise import obtain_files
from serct.data.corpora.sources import Context, Names
from serct.data.corpora.tree import is_audio, scan_names
from serct.data.corpora.verification import Original, read_originals
from serct.data.download import Remote
from serct.data.manifest import Clip, Scan

TITLE = "Crowd-sourced Emotional Multimodal Actors Dataset (CREMA-D)"
LICENCE = "Open Database License 1.0"
CITATION = (
    "Cao, H., Cooper, D. G., Keutmann, M. K., Gur, R. C., Nenkova, A., & Verma, R. (2014). "
    "CREMA-D: Crowd-sourced emotional multimodal actors dataset. IEEE Transactions on Affective "
    "Computing 5(4). doi:10.1109/TAFFC.2014.2336244"
)
HOMEPAGE = "https://github.com/CheyneyComputerScience/CREMA-D"
NAMES = Names(
    ("crema_d", "cremad", "CREMA-D", "crema-d-mirror", "AudioWAV"),
    max_bytes=1 << 31,
    archives=("crema-d",),
)

# Large files of the repository, at the state that checksums/crema_d.csv describes.
_FILES = (
    "https://media.githubusercontent.com/media/CheyneyComputerScience/CREMA-D/"
    "1658cd342dff90010aa843eaeebd53610a08b1dc/AudioWAV"
)
_LEFT_OUT = frozenset({"1076_MTI_SAD_XX", "1006_TIE_NEU_XX", "1013_WSI_DIS_XX", "1017_IWW_FEA_XX"})
_TEXTS = (
    "DFA", "IEO", "IOM", "ITH", "ITS", "IWL", "IWW", "MTI", "TAI", "TIE", "TSI", "WSI",
)  # fmt: skip
_EMOTIONS = {
    "ANG": "angry", "DIS": "disgusted", "FEA": "fearful", "HAP": "happy", "NEU": "neutral",
    "SAD": "sad",
}  # fmt: skip
_FIRST_ACTOR, _LAST_ACTOR = 1001, 1091
# VideoDemographics.csv of the repository.
_WOMEN = frozenset(
    {
        1002, 1003, 1004, 1006, 1007, 1008, 1009, 1010, 1012, 1013, 1018, 1020, 1021, 1024, 1025,
        1028, 1029, 1030, 1037, 1043, 1046, 1047, 1049, 1052, 1053, 1054, 1055, 1056, 1058, 1060,
        1061, 1063, 1072, 1073, 1074, 1075, 1076, 1078, 1079, 1082, 1084, 1089, 1091,
    }
)  # fmt: skip
_FILE_NAME = re.compile(
    rf"(1\d{{3}})_({'|'.join(_TEXTS)})_({'|'.join(_EMOTIONS)})_(?:LO|MD|HI|XX|X)"
)


def language(params: CremaDParams) -> str:
    """English."""
    return "en"


def expected_count(params: CremaDParams) -> int:
    """Clips of the whole corpus, without the four."""
    return 7438


def originals(params: CremaDParams) -> dict[str, Original]:
    """Checksums of all files, as the repository's large-file pointers give them."""
    files = read_originals("crema_d")
    return {stem: file for stem, file in files.items() if stem not in _LEFT_OUT}


def obtain(destination: Path, params: CremaDParams, context: Context) -> str:
    """Fill a folder from the mirror, the cache or the authors' repository.

    Only the wav files are downloaded, 0.6 of the repository's 7.5 GB.

    Returns:
        Where the files came from.
    """
    found = context.take_local(NAMES, destination, wanted=_is_wav)
    if found:
        return str(found)
    files = originals(params)

    def list_remotes(cache: Path, session: requests.Session) -> Mapping[str, Remote]:
        return {
            stem: Remote(f"{_FILES}/{file.path.name}", file.num_bytes, file.sha256)
            for stem, file in files.items()
        }

    return obtain_files(files, context, NAMES, HOMEPAGE, list_remotes, destination, "crema-d-files")


def _is_wav(path: PurePosixPath) -> bool:
    """Take AudioWAV, or a lossless copy of it, and not AudioMP3."""
    return is_audio(path) and path.suffix.lower() in {".wav", ".flac"}


def scan(root: Path, params: CremaDParams) -> Scan:
    """Read the labels from the names, wherever the files lie below ``root``."""
    return scan_names(root, _read)


def _read(path: PurePosixPath) -> Clip | str | None:
    match = _FILE_NAME.fullmatch(path.stem)
    if not match or not _FIRST_ACTOR <= int(match[1]) <= _LAST_ACTOR:
        return "not a name of CREMA-D, expected one like 1001_DFA_ANG_XX"
    if path.stem in _LEFT_OUT:
        return None
    actor, text, emotion = match.groups()
    return Clip(
        path=str(path),
        speaker=actor,
        gender="f" if int(actor) in _WOMEN else "m",
        text_id=text,
        emotion=_EMOTIONS[emotion],
    )
