"""CREMA-D: 12 sentences x 91 actors x 6 emotions, English.

``1001_DFA_ANG_XX`` is actor 1001, sentence DFA, anger, intensity unspecified. Of the 7,442
published files four are left out: 1076_MTI_SAD_XX holds nothing but zeros, and three are copies of
a recording of another emotion, which their authors' own tables leave out as well.
"""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from serct.data.download import Remote
from serct.data.manifest import Utterance
from serct.data.reading.corpus import Corpus
from serct.data.reading.piecewise import fetch_files
from serct.data.reading.sources import Copies, Search
from serct.data.reading.tree import is_audio

if TYPE_CHECKING:
    import requests

# Large files of the repository, at the state that checksums/crema_d.csv describes.
_FILES = (
    "https://media.githubusercontent.com/media/CheyneyComputerScience/CREMA-D/"
    "1658cd342dff90010aa843eaeebd53610a08b1dc/AudioWAV"
)
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


class CremaD(Corpus):
    """CREMA-D, large files of a repository."""

    title = "Crowd-sourced Emotional Multimodal Actors Dataset (CREMA-D)"
    licence = "Open Database License 1.0"
    citation = (
        "Cao, H., Cooper, D. G., Keutmann, M. K., Gur, R. C., Nenkova, A., & Verma, R. (2014). "
        "CREMA-D: Crowd-sourced emotional multimodal actors dataset. IEEE Transactions on "
        "Affective Computing 5(4). doi:10.1109/TAFFC.2014.2336244"
    )
    homepage = "https://github.com/CheyneyComputerScience/CREMA-D"
    language = "en"
    num_utterances = 7438
    copies = Copies(
        ("crema_d", "cremad", "CREMA-D", "crema-d-mirror", "AudioWAV"),
        max_bytes=1 << 31,
        archives=("crema-d",),
    )
    emobox = "cremad"
    checksums = "crema_d"
    left_out = frozenset(
        {"1076_MTI_SAD_XX", "1006_TIE_NEU_XX", "1013_WSI_DIS_XX", "1017_IWW_FEA_XX"}
    )

    def is_wanted(self, path: PurePosixPath) -> bool:
        """Take AudioWAV, or a lossless copy of it, and not AudioMP3."""
        return is_audio(path) and path.suffix.lower() in {".wav", ".flac"}

    def fetch(self, destination: Path, search: Search) -> str:
        """Download the wav files alone, 0.6 of the repository's 7.5 GB."""
        files = self.originals()

        def list_remotes(cache: Path, session: "requests.Session") -> Mapping[str, Remote]:
            return {
                stem: Remote(f"{_FILES}/{file.path.name}", file.num_bytes, file.sha256)
                for stem, file in files.items()
            }

        return fetch_files(files, search, self.homepage, list_remotes, destination, "crema-d-files")

    def parse(self, path: PurePosixPath) -> Utterance | str:
        """Return the labels that the name holds."""
        match = _FILE_NAME.fullmatch(path.stem)
        if not match or not _FIRST_ACTOR <= int(match[1]) <= _LAST_ACTOR:
            return "not a name of CREMA-D, expected one like 1001_DFA_ANG_XX"
        actor, text, emotion = match.groups()
        return Utterance(
            path=str(path), speaker=actor, gender="f" if int(actor) in _WOMEN else "m",
            text_id=text, emotion=_EMOTIONS[emotion],
        )  # fmt: skip
