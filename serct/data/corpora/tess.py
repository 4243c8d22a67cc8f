"""Toronto Emotional Speech Set: 200 words x 7 emotions x 2 actresses, English.

The label is in each file's name, not in the unevenly spelt folders. Known oddities, all kept as
they are published: ``OA_bite_neutral`` lacks an F, ``OAF_food_fear`` is 96 kHz, ``YAF_germ_angry``
and ``YAF_neat_fear`` are AIFF under a .wav name, and many copies hold everything twice in nested
folders.
"""

import json
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from serct.data.download import Remote, download
from serct.data.manifest import Utterance
from serct.data.reading.corpus import Corpus
from serct.data.reading.piecewise import fetch_files
from serct.data.reading.sources import Copies, Search
from serct.emotions import canonical_emotion
from serct.errors import DownloadError

if TYPE_CHECKING:
    import requests

_SERVER = "https://borealisdata.ca"
_DOI = "doi:10.5683/SP2/E8H2MF"
_FILE_NAME = re.compile(r"(OAF?|YAF)_([a-z]+)_(angry|disgust|fear|happy|neutral|ps|sad)", re.I)


class Tess(Corpus):
    """TESS, the files of a data set at a Dataverse."""

    title = "Toronto Emotional Speech Set (TESS)"
    licence = "CC BY-NC-ND 4.0"
    citation = (
        "Pichora-Fuller, M. K., & Dupuis, K. (2020). Toronto emotional speech set (TESS). "
        "doi:10.5683/SP2/E8H2MF"
    )
    homepage = "https://doi.org/10.5683/SP2/E8H2MF"
    language = "en"
    num_utterances = 2800
    copies = Copies(
        (
            "tess", "TESS", "TESS Toronto emotional speech set data",
            "TESS_Toronto_emotional_speech_set",
        ),
        max_bytes=1 << 30,
    )  # fmt: skip
    emobox = "tess"
    checksums = "tess"

    def fetch(self, destination: Path, search: Search) -> str:
        """Download file by file: the server's bundle has no stable checksum and a size limit."""
        return fetch_files(
            self.originals(), search, self.homepage, _list_remotes, destination, "tess-files"
        )

    def parse(self, path: PurePosixPath) -> Utterance | str:
        """Return the labels that the name holds."""
        match = _FILE_NAME.fullmatch(path.stem)
        if not match:
            return "not a name of TESS, expected {OAF|YAF}_word_emotion"
        actress, word, emotion = match.groups()
        return Utterance(
            path=str(path), speaker="YAF" if actress.upper().startswith("Y") else "OAF", gender="f",
            text_id=word.lower(), emotion=canonical_emotion(emotion),
        )  # fmt: skip

    def recording_name(self, path: PurePosixPath) -> str:
        """Return the name in lower case, with the F that one file lacks."""
        return path.stem.lower().replace("oa_", "oaf_", 1)


def _list_remotes(cache: Path, session: "requests.Session") -> dict[str, Remote]:
    """List the files of the data set at the Dataverse, by name without suffix.

    Source:
        https://guides.dataverse.org/en/latest/api/native-api.html, "List Files in a Dataset".
    """
    listing = cache / "listing.json"
    listing.unlink(missing_ok=True)
    url = (
        f"{_SERVER}/api/datasets/:persistentId/versions/:latest-published/files?persistentId={_DOI}"
    )
    download(Remote(url), listing, session=session)
    try:
        files = [entry["dataFile"] for entry in json.loads(listing.read_text("utf-8"))["data"]]
        return {
            PurePosixPath(file["filename"]).stem: Remote(
                url=f"{_SERVER}/api/access/datafile/{file['id']}",
                num_bytes=file.get("filesize"),
                md5=file.get("md5"),
            )
            for file in files
        }
    except (ValueError, KeyError, TypeError) as error:
        raise DownloadError(f"{url}: not a Dataverse file listing ({error!r})") from error
