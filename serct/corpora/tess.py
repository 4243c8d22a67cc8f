"""Toronto Emotional Speech Set: 200 words x 7 emotions x 2 actresses, English.

The label is in each file's name, not in the unevenly spelt folders. Known oddities, all kept as
they are published: ``OA_bite_neutral`` lacks an F, ``OAF_food_fear`` is 96 kHz, ``YAF_germ_angry``
and ``YAF_neat_fear`` are AIFF under a .wav name, and many copies hold everything twice in nested
folders.
"""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import requests

from serct.corpora.sources import Context, Names
from serct.corpora.tree import list_files, place_file, set_copies_aside
from serct.corpora.verification import Original, read_originals
from serct.corpus_params import TessParams
from serct.emotions import canonical_emotion
from serct.errors import DownloadError, list_problems
from serct.fetch import Remote, download
from serct.manifest import Clip, Rejection, Scan

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
# Politeness: each of the 2,800 files is a request of its own.
_NUM_CONNECTIONS = 4
_ENOUGH_FAILURES = 10
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
    cache = context.sources.cache / "tess-files"
    files = originals(params)
    with context.download_lock():
        missing = {stem: file for stem, file in files.items() if not _is_cached(cache, file)}
        if missing:
            context.require_network(
                NAMES, HOMEPAGE, f"{len(missing)} of {len(files)} files not found"
            )
            _download_files(missing, cache, context)
        for file in files.values():
            place_file(cache / file.path.name, destination / file.path)
    return f"{_SERVER} by way of {cache}"


def _is_cached(cache: Path, file: Original) -> bool:
    path = cache / file.path.name
    return path.exists() and path.stat().st_size == file.num_bytes


def _download_files(missing: dict[str, Original], cache: Path, context: Context) -> None:
    """Download file by file: the server's bundle has no stable checksum and a size limit.

    Raises:
        DownloadError: Listing the files that are not on the server or could not be had; after
            ten failures no more are tried. Files already here are kept for the next time.
    """
    failed: list[str] = []
    with requests.Session() as session:
        remotes = _list_remotes(cache, session)
        unlisted = [f"{stem}: not listed at {_SERVER}" for stem in missing.keys() - remotes.keys()]

        def bring(stem: str) -> None:
            # A line that is down would otherwise be tried for every file that is left.
            if len(failed) >= _ENOUGH_FAILURES:
                return
            try:
                download(remotes[stem], cache / missing[stem].path.name, session=session)
            except DownloadError as error:
                failed.append(str(error))

        wanted = sorted(missing.keys() & remotes.keys())
        with (
            context.progress(len(wanted), f"downloading {context.name}", "files") as advance,
            ThreadPoolExecutor(_NUM_CONNECTIONS) as pool,
        ):
            for _ in pool.map(bring, wanted):
                advance(1)
    if unlisted or failed:
        num_left = sum(not (cache / file.path.name).exists() for file in missing.values())
        raise DownloadError(
            f"{context.name}: {num_left} files are still missing, the others are kept, run again "
            f"to go on:\n{list_problems(sorted(unlisted) + sorted(failed))}"
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
    named: list[tuple[str, PurePosixPath]] = []
    rejections: list[Rejection] = []
    for path in list_files(root):
        if _FILE_NAME.fullmatch(path.stem):
            named.append((path.stem.lower().replace("oa_", "oaf_", 1), path))
        else:
            rejections.append(
                Rejection(str(path), "not a name of TESS, expected {OAF|YAF}_word_emotion")
            )
    kept, copies = set_copies_aside(root, named)
    return Scan(tuple(_clip(path) for path in kept), tuple(rejections + copies))


def _clip(path: PurePosixPath) -> Clip:
    actress, word, emotion = path.stem.split("_")
    return Clip(
        path=str(path),
        speaker="YAF" if actress.upper().startswith("Y") else "OAF",
        gender="f",
        text_id=word.lower(),
        emotion=canonical_emotion(emotion),
    )
