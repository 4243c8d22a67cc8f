"""RAVDESS, the spoken part: 2 sentences x 24 actors x 8 emotions, English.

The name of a file says it all: ``03-01-06-01-02-01-12`` is audio only, speech, fearful, normal
intensity, sentence 2, repetition 1, actor 12. Calm is an emotion of its own. Copies often hold the
songs and the films' sound beside it: they are left out. So is ``03-01-03-01-02-02-07``, which is
published as the same samples as ``03-01-03-01-02-01-07``. Five files are stereo.
"""

import re
from pathlib import Path, PurePosixPath

from serct.config.corpora import RavdessParams
from serct.data.corpora.sources import Context, Names
from serct.data.corpora.tree import scan_names
from serct.data.corpora.verification import Original, read_originals
from serct.data.download import Remote, download
from serct.data.manifest import Clip, Scan

TITLE = "Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS), speech"
LICENCE = "CC BY-NC-SA 4.0"
CITATION = (
    "Livingstone, S. R., & Russo, F. A. (2018). The Ryerson Audio-Visual Database of Emotional "
    "Speech and Song (RAVDESS). PLoS ONE 13(5). doi:10.5281/zenodo.1188976"
)
HOMEPAGE = "https://zenodo.org/records/1188976"
NAMES = Names(
    ("ravdess", "RAVDESS", "Audio_Speech_Actors_01-24"), max_bytes=1 << 31, archives=("Ravdess",)
)

_ARCHIVE = Remote(
    f"{HOMEPAGE}/files/Audio_Speech_Actors_01-24.zip", md5="bc696df654c87fed845eb13823edef8a"
)
_NUM_ACTORS = 24
_EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgusted", "surprised")
_COPY = "03-01-03-01-02-02-07"
# Modality, channel, emotion, intensity, sentence, repetition, actor.
_FILE_NAME = re.compile(r"(0[1-3])-(0[12])-(0[1-8])-0[12]-(0[12])-0[12]-([0-2]\d)")
_AUDIO_ONLY, _SPEECH = "03", "01"


def language(params: RavdessParams) -> str:
    """English."""
    return "en"


def expected_count(params: RavdessParams) -> int:
    """Clips of the spoken part, without the copy."""
    return 1439


def originals(params: RavdessParams) -> dict[str, Original]:
    """Checksums of all files."""
    files = read_originals("ravdess")
    del files[_COPY]
    return files


def obtain(destination: Path, params: RavdessParams, context: Context) -> str:
    """Fill a folder from the mirror, the cache or Zenodo.

    Returns:
        Where the files came from.
    """
    found = context.take_local(NAMES, destination)
    if found:
        return str(found)
    context.require_network(NAMES, HOMEPAGE)
    with context.download_lock():
        archive = context.sources.cache / "ravdess.zip"
        download(_ARCHIVE, archive, context.progress)
        context.unpack_download(archive, destination, NAMES)
    return str(archive)


def scan(root: Path, params: RavdessParams) -> Scan:
    """Read the labels from the names, wherever the files lie below ``root``."""
    return scan_names(root, _read)


def _read(path: PurePosixPath) -> Clip | str | None:
    match = _FILE_NAME.fullmatch(path.stem)
    if not match or not 1 <= int(match[5]) <= _NUM_ACTORS:
        return "not a name of RAVDESS, expected one like 03-01-06-01-02-01-12"
    modality, channel, emotion, sentence, actor = match.groups()
    if (modality, channel) != (_AUDIO_ONLY, _SPEECH) or path.stem == _COPY:
        return None
    return Clip(
        path=str(path),
        speaker=actor,
        gender="m" if int(actor) % 2 else "f",
        text_id=sentence,
        emotion=_EMOTIONS[int(emotion) - 1],
    )
