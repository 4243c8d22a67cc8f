"""Toronto Emotional Speech Set: 200 words x 7 emotions x 2 actresses, English.

The label is in each file's name, not in the unevenly spelt folders. Known oddities, all kept as
they are published: ``OA_bite_neutral`` lacks an F, ``OAF_food_fear`` is 96 kHz, ``YAF_germ_angry``
and ``YAF_neat_fear`` are AIFF under a .wav name, and many copies hold everything twice in nested
folders.
"""

import json
import re
from pathlib import Path, PurePosixPath

import requests

from serct.config.corpora import TessParams
from serct.data.corpora.piecewise import obtain_files
from serct.data.corpora.sources import Context, Names
from serct.data.corpora.tree import scan_names
from serct.data.corpora.verification import Original, read_originals
from serct.data.download import Remote, download
from serct.data.manifest import Clip, Scan
from serct.emotions import canonical_emotion
from serct.errors import DownloadError

TITLE = "Toronto Emotional Speech Set (TESS)"
LICENCE = "CC BY-NC-ND 4.0"
CITATION = (
    "Pichora-Fuller, M. K., & Dupuis, K. (2020). Toronto emotional speech set (TESS). "
    "doi:10.5683/SP2/E8H2MF"
)
HOMEPAGE = "https://doi.org/10.5683/SP2/E8H2MF"
NAMES = Names(
    ("tess", "TESS", "TESS Toronto emotional speech set data", "TESS_Toronto_emotional_speech_set"),
    max_bytes=1 << 30,
)

_SERVER = "https://borealisdata.ca"
_DOI = "doi:10.5683/SP2/E8H2MF"
_FILE_NAME = re.compile(r"(OAF?|YAF)_([a-z]+)_(angry|disgust|fear|happy|neutral|ps|sad)", re.I)


def language(params: TessParams) -> str:
    """English."""
    return "en"


def expected_count(params: TessParams) -> int:
    """Clips of the whole corpus."""
    return 2800


def originals(params: TessParams) -> dict[str, Original]:
    """Checksums of all files."""
    return read_originals("tess")


def obtain(destination: Path, params: TessParams, context: Context) -> str:
    """Fill a folder from the mirror, the cache or the Dataverse, in the folders of the authors.

    Returns:
        Where the files came from.
    """
    found = context.take_local(NAMES, destination)
    if found:
        return str(found)
    # File by file: the server's bundle has no stable checksum and a size limit.
    return obtain_files(
        originals(params), context, NAMES, HOMEPAGE, _list_remotes, destination, "tess-files"
    )


def _list_remotes(cache: Path, session: requests.Session) -> dict[str, Remote]:
    """Ask the Dataverse for the files of the data set, by stem.

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


def scan(root: Path, params: TessParams) -> Scan:
    """Read the labels from the names, wherever the files lie below ``root``."""
    return scan_names(
        root, _read, recording=lambda path: path.stem.lower().replace("oa_", "oaf_", 1)
    )


def _read(path: PurePosixPath) -> Clip | str:
    match = _FILE_NAME.fullmatch(path.stem)
    if not match:
        return "not a name of TESS, expected {OAF|YAF}_word_emotion"
    actress, word, emotion = match.groups()
    return Clip(
        path=str(path),
        speaker="YAF" if actress.upper().startswith("Y") else "OAF",
        gender="f",
        text_id=word.lower(),
        emotion=canonical_emotion(emotion),
    )
