"""Berlin Database of Emotional Speech (EMO-DB): 10 texts, 10 speakers, 7 emotions, German.

The name of a file says it all: ``03a01Fa`` is speaker 03, text a01, Freude (happiness), take a.
Boredom is kept as an emotion of its own; what a model has not learnt is dropped when it is scored.
"""

import re
from pathlib import Path, PurePosixPath

from serct.config.corpora import EmodbParams
from serct.data.corpora.sources import Context, Names
from serct.data.corpora.tree import scan_names
from serct.data.corpora.verification import Original, read_originals
from serct.data.download import Remote, download
from serct.data.manifest import Clip, Scan

TITLE = "Berlin Database of Emotional Speech (EMO-DB)"
LICENCE = "free for research; cite the authors"
CITATION = (
    "Burkhardt, F., Paeschke, A., Rolfes, M., Sendlmeier, W., & Weiss, B. (2005). "
    "A database of German emotional speech. Interspeech 2005."
)
HOMEPAGE = "http://emodb.bilderbar.info"
NAMES = Names(("emodb", "EmoDB", "EMODB"), max_bytes=1 << 28, archives=("download",))

_ARCHIVE_URL = "http://emodb.bilderbar.info/download/download.zip"
# Of the authors' own page; a table in circulation has 09, 10, 12 and 13 wrong.
_GENDERS = {
    "03": "m", "08": "f", "09": "f", "10": "m", "11": "m",
    "12": "m", "13": "f", "14": "f", "15": "m", "16": "f",
}  # fmt: skip
_TEXTS = ("a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03", "b09", "b10")
# First letters of the German words: Wut, Langeweile, Ekel, Angst, Freude, Trauer.
_EMOTIONS = {
    "W": "angry", "L": "bored", "E": "disgusted", "A": "fearful",
    "F": "happy", "T": "sad", "N": "neutral",
}  # fmt: skip
_FILE_NAME = re.compile(
    rf"({'|'.join(_GENDERS)})({'|'.join(_TEXTS)})([{''.join(_EMOTIONS)}])([a-z]?)"
)


def language(params: EmodbParams) -> str:
    """German."""
    return "de"


def expected_count(params: EmodbParams) -> int:
    """Clips of the whole corpus."""
    return 535


def originals(params: EmodbParams) -> dict[str, Original]:
    """Checksums of all files."""
    return read_originals("emodb")


def obtain(destination: Path, params: EmodbParams, context: Context) -> str:
    """Fill a folder from the mirror, the cache or the authors' page.

    Returns:
        Where the files came from.
    """
    found = context.take_local(NAMES, destination)
    if found:
        return str(found)
    context.require_network(NAMES, _ARCHIVE_URL)
    with context.download_lock():
        archive = context.sources.cache / "emodb.zip"
        download(Remote(_ARCHIVE_URL), archive, context.progress)
        context.unpack_download(archive, destination, NAMES)
    return str(archive)


def scan(root: Path, params: EmodbParams) -> Scan:
    """Read the labels from the names, wherever the files lie below ``root``."""
    return scan_names(root, _read)


def _read(path: PurePosixPath) -> Clip | str:
    match = _FILE_NAME.fullmatch(path.stem)
    if not match:
        return "not a name of EMO-DB, expected one like 03a01Fa"
    speaker, text, emotion, _ = match.groups()
    return Clip(
        path=str(path),
        speaker=speaker,
        gender=_GENDERS[speaker],
        text_id=text,
        emotion=_EMOTIONS[emotion],
    )
