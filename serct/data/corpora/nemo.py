"""nEMO: 90 sentences, 9 actors, 6 emotions, Polish.

The name of a file holds all labels: ``KS0_surprised_10`` is speaker KS0, surprised, sentence 10. A
number of a sentence means the same words for every speaker and emotion. The table ``data.tsv``
beside the recordings says no more of them than the speakers' genders and ages, and the words.

Not all actors recorded everything: MP0 has 256 recordings and MK0 450, the others nearly all 540.
"""

import re
from pathlib import PurePosixPath

from serct.data.download import Remote
from serct.data.manifest import Utterance
from serct.data.reading.corpus import Corpus
from serct.data.reading.sources import Copies

# The branch may move on; these are the files that the checksums are of.
_COMMIT = "66de9999a8f2f605eb5f64841790aa5cb0877782"
_GENDERS = {
    "EB0": "f", "IC0": "f", "KD0": "f", "MK0": "f",
    "KS0": "m", "MP0": "m", "SM0": "m", "TP0": "m", "WR0": "m",
}  # fmt: skip
_EMOTIONS = {
    "anger": "angry", "fear": "fearful", "happiness": "happy", "neutral": "neutral",
    "sadness": "sad", "surprised": "surprised",
}  # fmt: skip
_FILE_NAME = re.compile(rf"({'|'.join(_GENDERS)})_({'|'.join(_EMOTIONS)})_([1-9]|[1-8]\d|90)")


class Nemo(Corpus):
    """nEMO, its repository's archive.

    The archive is packed anew for each download, so it has no checksum; every file in it has one.
    """

    title = "Dataset of Emotional Speech in Polish (nEMO)"
    licence = "CC BY-NC-SA 4.0"
    citation = (
        "Christop, I. (2024). nEMO: Dataset of Emotional Speech in Polish. LREC-COLING 2024, "
        "12111-12116."
    )
    homepage = "https://github.com/amu-cai/nEMO"
    language = "pl"
    num_utterances = 4481
    copies = Copies(("nemo", "nEMO"), max_bytes=1 << 30, archives=(f"nEMO-{_COMMIT}", "nEMO-main"))
    archive = Remote(f"{homepage}/archive/{_COMMIT}.zip")
    checksums = "nemo"

    def parse(self, path: PurePosixPath) -> Utterance | str:
        """Return the labels that the name holds."""
        match = _FILE_NAME.fullmatch(path.stem)
        if not match:
            return "not a name of nEMO, expected one like KS0_surprised_10"
        speaker, emotion, sentence = match.groups()
        return Utterance(
            path=str(path), speaker=speaker, gender=_GENDERS[speaker], text_id=sentence,
            emotion=_EMOTIONS[emotion],
        )  # fmt: skip
