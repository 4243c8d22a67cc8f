"""Berlin Database of Emotional Speech (EMO-DB): 10 texts, 10 speakers, 7 emotions, German.

The name of a file holds all labels: ``03a01Fa`` is speaker 03, text a01, Freude (happiness),
take a. Boredom is an emotion of its own; evaluation drops the emotions that a model was not trained
on.
"""

import re
from pathlib import PurePosixPath

from serct.data.download import Remote
from serct.data.manifest import Utterance
from serct.data.reading.corpus import Corpus
from serct.data.reading.sources import Copies

# From the authors' own page; another table on the web has 09, 10, 12 and 13 wrong.
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


class Emodb(Corpus):
    """EMO-DB, one archive on its authors' page."""

    title = "Berlin Database of Emotional Speech (EMO-DB)"
    licence = "free for research; cite the authors"
    citation = (
        "Burkhardt, F., Paeschke, A., Rolfes, M., Sendlmeier, W., & Weiss, B. (2005). "
        "A database of German emotional speech. Interspeech 2005."
    )
    homepage = "http://emodb.bilderbar.info"
    language = "de"
    num_utterances = 535
    copies = Copies(("emodb", "EmoDB", "EMODB"), max_bytes=1 << 28, archives=("download",))
    emobox = "emodb"
    archive = Remote("http://emodb.bilderbar.info/download/download.zip")
    checksums = "emodb"

    def parse(self, path: PurePosixPath) -> Utterance | str:
        """Return the labels that the name holds."""
        match = _FILE_NAME.fullmatch(path.stem)
        if not match:
            return "not a name of EMO-DB, expected one like 03a01Fa"
        speaker, text, emotion, _ = match.groups()
        return Utterance(
            path=str(path), speaker=speaker, gender=_GENDERS[speaker], text_id=text,
            emotion=_EMOTIONS[emotion],
        )  # fmt: skip
