"""SAVEE: 4 men x 7 emotions x 15 sentences (30 neutral), British English.

``DC/sa03.wav``, or ``DC_sa03.wav`` in flat copies, is DC's third sad sentence. Which sentences two
emotions share is in a table of the corpus, not in the names: the text is unknown here.
"""

import re
from pathlib import Path, PurePosixPath

from serct.config.corpora import SaveeParams
from serct.data.corpora.sources import Context, Names
from serct.data.corpora.tree import scan_names
from serct.data.corpora.verification import Original
from serct.data.manifest import Clip, Scan

TITLE = "Surrey Audio-Visual Expressed Emotion database (SAVEE)"
LICENCE = "research only, after registration"
CITATION = (
    "Haq, S., & Jackson, P. J. B. (2009). Speaker-dependent audio-visual emotion recognition. "
    "AVSP 2009."
)
HOMEPAGE = "http://kahlan.eps.surrey.ac.uk/savee/"
NAMES = Names(("savee", "SAVEE", "AudioData", "ALL"), max_bytes=1 << 30)

_EMOTIONS = {
    "a": "angry", "d": "disgusted", "f": "fearful", "h": "happy", "n": "neutral",
    "sa": "sad", "su": "surprised",
}  # fmt: skip
_FILE_NAME = re.compile(r"(?:(DC|JE|JK|KL)_)?(a|d|f|h|n|sa|su)([0-3]\d)", re.I)
_SPEAKERS = ("DC", "JE", "JK", "KL")


def language(params: SaveeParams) -> str:
    """English."""
    return "en"


def expected_count(params: SaveeParams) -> int:
    """Clips of the whole corpus."""
    return 480


def originals(params: SaveeParams) -> dict[str, Original]:
    """No checksums are published."""
    return {}


def obtain(destination: Path, params: SaveeParams, context: Context) -> str:
    """Fill a folder from the mirror or the cache.

    Returns:
        Where the files came from.

    Raises:
        DownloadError: If it is in neither.
    """
    found = context.take_local(NAMES, destination)
    if found:
        return str(found)
    raise context.by_hand(
        NAMES, f"SAVEE is given to those who register at {HOMEPAGE}; put its AudioData there"
    )


def scan(root: Path, params: SaveeParams) -> Scan:
    """Read the labels from names and folders, in either layout."""
    return scan_names(
        root, _read, recording=lambda path: f"{_speaker(path)}_{path.stem[-4:].lstrip('_').lower()}"
    )


def _read(path: PurePosixPath) -> Clip | str:
    match = _FILE_NAME.fullmatch(path.stem)
    speaker = _speaker(path)
    if not match or not speaker:
        return "not a name of SAVEE, expected one like DC/sa03 or DC_sa03"
    return Clip(
        path=str(path),
        speaker=speaker,
        gender="m",
        text_id="",
        emotion=_EMOTIONS[match[2].lower()],
    )


def _speaker(path: PurePosixPath) -> str:
    """Take the speaker from the name, else from the folder; "" if neither tells."""
    for word in (path.stem.partition("_")[0], path.parent.name):
        if word.upper() in _SPEAKERS:
            return word.upper()
    return ""
