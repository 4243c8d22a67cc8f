"""EMOVO: 14 sentences x 6 actors x 7 emotions, Italian.

``f1/gio-f1-b2.wav`` is actress f1, joy (gioia), sentence b2. All but one file are stereo.
"""

import re
from pathlib import PurePosixPath

from serct.data.manifest import Utterance
from serct.data.reading.corpus import Corpus
from serct.data.reading.sources import Copies

# First letters of the Italian words: disgusto, gioia, neutro, paura, rabbia, sorpresa, tristezza.
_EMOTIONS = {
    "dis": "disgusted", "gio": "happy", "neu": "neutral", "pau": "fearful", "rab": "angry",
    "sor": "surprised", "tri": "sad",
}  # fmt: skip
_FILE_NAME = re.compile(rf"({'|'.join(_EMOTIONS)})-([fm][123])-(b[1-3]|l[1-4]|n[1-5]|d[12])", re.I)


class Emovo(Corpus):
    """EMOVO, which has no lasting address."""

    title = "EMOVO, an Italian emotional speech database"
    licence = "CC BY-NC-SA, as listed by others; ask the authors"
    citation = (
        "Costantini, G., Iaderola, I., Paoloni, A., & Todisco, M. (2014). EMOVO corpus: an Italian "
        "emotional speech database. LREC 2014."
    )
    homepage = "http://voice.fub.it/activities/corpora/emovo/index.html"
    language = "it"
    num_utterances = 588
    copies = Copies(("emovo", "EMOVO"), max_bytes=1 << 30)
    emobox = "emovo"
    how_to_get = f"EMOVO has no lasting address; get EMOVO.zip from {homepage} and put it there"

    def parse(self, path: PurePosixPath) -> Utterance | str:
        """Return the labels that the name holds."""
        match = _FILE_NAME.fullmatch(path.stem)
        if not match:
            return "not a name of EMOVO, expected one like gio-f1-b2"
        emotion, speaker, text = (part.lower() for part in match.groups())
        return Utterance(
            path=str(path), speaker=speaker, gender=speaker[0], text_id=text,
            emotion=_EMOTIONS[emotion],
        )  # fmt: skip

    def recording_name(self, path: PurePosixPath) -> str:
        """Return the name in lower case."""
        return path.stem.lower()
