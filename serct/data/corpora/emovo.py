"""EMOVO: 14 sentences x 6 actors x 7 emotions, Italian.

``f1/gio-f1-b2.wav`` is actress f1, joy (gioia), sentence b2. All but one file are stereo.
"""

import re
from pathlib import Path, PurePosixPath

from serct.config.corpora import EmovoParams
from serct.data.corpora.sources import Context, Names
from serct.data.corpora.tree import scan_names
from serct.data.corpora.verification import Original
from serct.data.manifest import Clip, Scan

TITLE = "EMOVO, an Italian emotional speech database"
LICENCE = "CC BY-NC-SA, as listed by others; ask the authors"
CITATION = (
    "Costantini, G., Iaderola, I., Paoloni, A., & Todisco, M. (2014). EMOVO corpus: an Italian "
    "emotional speech database. LREC 2014."
)
HOMEPAGE = "http://voice.fub.it/activities/corpora/emovo/index.html"
NAMES = Names(("emovo", "EMOVO"), max_bytes=1 << 30)

# First letters of the Italian words: disgusto, gioia, neutro, paura, rabbia, sorpresa, tristezza.
_EMOTIONS = {
    "dis": "disgusted", "gio": "happy", "neu": "neutral", "pau": "fearful", "rab": "angry",
    "sor": "surprised", "tri": "sad",
}  # fmt: skip
_FILE_NAME = re.compile(rf"({'|'.join(_EMOTIONS)})-([fm][123])-(b[1-3]|l[1-4]|n[1-5]|d[12])", re.I)


def language(params: EmovoParams) -> str:
    """Italian."""
    return "it"


def expected_count(params: EmovoParams) -> int:
    """Clips of the whole corpus."""
    return 588


def originals(params: EmovoParams) -> dict[str, Original]:
    """No checksums are published."""
    return {}


def obtain(destination: Path, params: EmovoParams, context: Context) -> str:
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
        NAMES, f"EMOVO has no address that stays; get EMOVO.zip from {HOMEPAGE} and put it there"
    )


def scan(root: Path, params: EmovoParams) -> Scan:
    """Read the labels from the names, wherever the files lie below ``root``."""
    return scan_names(root, _read, recording=lambda path: path.stem.lower())


def _read(path: PurePosixPath) -> Clip | str:
    match = _FILE_NAME.fullmatch(path.stem)
    if not match:
        return "not a name of EMOVO, expected one like gio-f1-b2"
    emotion, speaker, text = (part.lower() for part in match.groups())
    return Clip(
        path=str(path),
        speaker=speaker,
        gender=speaker[0],
        text_id=text,
        emotion=_EMOTIONS[emotion],
    )
