"""SAVEE: 4 men x 7 emotions x 15 sentences (30 neutral), British English.

``DC/sa03.wav``, or ``DC_sa03.wav`` in flat copies, is DC's third sad sentence. Which sentences two
emotions share is in a table of the corpus, not in the names: the text is unknown here.
"""

import re
from pathlib import PurePosixPath

from serct.data.manifest import Utterance
from serct.data.reading.corpus import Corpus
from serct.data.reading.sources import Copies

_EMOTIONS = {
    "a": "angry", "d": "disgusted", "f": "fearful", "h": "happy", "n": "neutral",
    "sa": "sad", "su": "surprised",
}  # fmt: skip
_FILE_NAME = re.compile(r"(?:(DC|JE|JK|KL)_)?(a|d|f|h|n|sa|su)([0-3]\d)", re.I)
_SPEAKERS = ("DC", "JE", "JK", "KL")


class Savee(Corpus):
    """SAVEE, which its authors send to people who register."""

    title = "Surrey Audio-Visual Expressed Emotion database (SAVEE)"
    licence = "research only, after registration"
    citation = (
        "Haq, S., & Jackson, P. J. B. (2009). Speaker-dependent audio-visual emotion recognition. "
        "AVSP 2009."
    )
    homepage = "http://kahlan.eps.surrey.ac.uk/savee/"
    language = "en"
    num_utterances = 480
    copies = Copies(("savee", "SAVEE", "AudioData", "ALL"), max_bytes=1 << 30)
    emobox = "savee"
    how_to_get = f"SAVEE needs a registration at {homepage}; then put its AudioData there"

    def parse(self, path: PurePosixPath) -> Utterance | str:
        """Return the labels that the name and its folder hold."""
        match = _FILE_NAME.fullmatch(path.stem)
        speaker = _speaker(path)
        if not match or not speaker:
            return "not a name of SAVEE, expected one like DC/sa03 or DC_sa03"
        return Utterance(
            path=str(path), speaker=speaker, gender="m", text_id="",
            emotion=_EMOTIONS[match[2].lower()],
        )  # fmt: skip

    def recording_name(self, path: PurePosixPath) -> str:
        """Return speaker, emotion and number, equal in both layouts."""
        return f"{_speaker(path)}_{path.stem[-4:].lstrip('_').lower()}"


def _speaker(path: PurePosixPath) -> str:
    """Return the speaker from the name, else from the folder, "" if neither names one."""
    for word in (path.stem.partition("_")[0], path.parent.name):
        if word.upper() in _SPEAKERS:
            return word.upper()
    return ""
