"""RAVDESS, the spoken part: 2 sentences x 24 actors x 8 emotions, English.

The name of a file holds all labels: ``03-01-06-01-02-01-12`` is audio only, speech, fearful,
normal intensity, sentence 2, repetition 1, actor 12. Calm is an emotion of its own. Many copies
also hold the songs and the sound of the films: these are left out. So is ``03-01-03-01-02-02-07``,
which has the same samples as ``03-01-03-01-02-01-07``. Five files are stereo.
"""

import re
from pathlib import PurePosixPath

from serct.data.download import Remote
from serct.data.manifest import Utterance
from serct.data.reading.corpus import Corpus
from serct.data.reading.sources import Copies

_NUM_ACTORS = 24
_EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgusted", "surprised")
# Modality, channel, emotion, intensity, sentence, repetition, actor.
_FILE_NAME = re.compile(r"(0[1-3])-(0[12])-(0[1-8])-0[12]-(0[12])-0[12]-([0-2]\d)")
_AUDIO_ONLY, _SPEECH = "03", "01"


class Ravdess(Corpus):
    """The speech of RAVDESS, one archive at Zenodo."""

    title = "Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS), speech"
    licence = "CC BY-NC-SA 4.0"
    citation = (
        "Livingstone, S. R., & Russo, F. A. (2018). The Ryerson Audio-Visual Database of Emotional "
        "Speech and Song (RAVDESS). PLoS ONE 13(5). doi:10.5281/zenodo.1188976"
    )
    homepage = "https://zenodo.org/records/1188976"
    language = "en"
    num_utterances = 1439
    copies = Copies(
        ("ravdess", "RAVDESS", "Audio_Speech_Actors_01-24"),
        max_bytes=1 << 31,
        archives=("Ravdess",),
    )
    emobox = "ravdess"
    archive = Remote(
        f"{homepage}/files/Audio_Speech_Actors_01-24.zip", md5="bc696df654c87fed845eb13823edef8a"
    )
    checksums = "ravdess"
    left_out = frozenset({"03-01-03-01-02-02-07"})

    def parse(self, path: PurePosixPath) -> Utterance | str | None:
        """Return the labels that the name holds, None for songs and films."""
        match = _FILE_NAME.fullmatch(path.stem)
        if not match or not 1 <= int(match[5]) <= _NUM_ACTORS:
            return "not a name of RAVDESS, expected one like 03-01-06-01-02-01-12"
        modality, channel, emotion, sentence, actor = match.groups()
        if (modality, channel) != (_AUDIO_ONLY, _SPEECH):
            return None
        return Utterance(
            path=str(path), speaker=actor, gender="m" if int(actor) % 2 else "f", text_id=sentence,
            emotion=_EMOTIONS[int(emotion) - 1],
        )  # fmt: skip
