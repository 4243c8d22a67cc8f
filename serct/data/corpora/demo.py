"""Synthetic emotional speech in three languages, made on this machine with eSpeak NG.

Emotions differ in pitch, its range, tempo and loudness alone, and each of these varies a little
between utterances. The corpus shows that the pipeline works and says nothing about people.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from serct.config.section import PositiveInt
from serct.data.download import Progress
from serct.data.manifest import Utterance
from serct.data.reading import espeak
from serct.data.reading.corpus import Corpus, CorpusParams
from serct.data.reading.sources import Sources
from serct.emotions import EMOTIONS
from serct.errors import BackendUnavailableError, CorpusError

# Plain everyday sentences that carry no emotion themselves.
SENTENCES: dict[str, tuple[str, ...]] = {
    "en": (
        "The keys are on the kitchen table.", "The bus to town leaves at noon.",
        "She put the letter into the drawer.", "There are seven chairs in this room.",
        "The shop opens again on Monday.", "He carried the boxes up the stairs.",
        "The window faces the old garden.", "We will meet them at the station.",
        "The lamp stands beside the door.", "They painted the fence last week.",
        "The paper lies under the blue book.", "I left the bicycle in the yard.",
    ),
    "de": (
        "Die Schlüssel liegen auf dem Tisch.", "Der Bus in die Stadt fährt um zwölf.",
        "Sie legte den Brief in die Lade.", "In diesem Zimmer stehen sieben Stühle.",
        "Der Laden öffnet wieder am Montag.", "Er trug die Kisten nach oben.",
        "Das Fenster geht zum Garten.", "Wir treffen sie am Bahnhof.",
        "Die Lampe steht neben der Tür.", "Sie haben den Zaun gestrichen.",
        "Das Papier liegt auf dem Buch.", "Ich ließ das Fahrrad im Hof.",
    ),
    "zh": (
        "钥匙在桌子上。", "公共汽车中午开。", "她把信放进抽屉。", "房间里有七把椅子。",
        "商店星期一开门。", "他把箱子搬上楼。", "窗户对着花园。", "我们在车站见面。",
        "台灯在门的旁边。", "他们上周刷了墙。", "纸在蓝书下面。", "自行车在院子里。",
    ),
}  # fmt: skip
# Variants of eSpeak NG by speaker. Those with breath (f2, f3, f5, ...) differ on every run.
_VARIANTS = {
    "f1": "f1", "m1": "m1", "f2": "f4", "m2": "m3",
    "f3": "belinda", "m3": "m4", "f4": "steph", "m4": "m7",
}  # fmt: skip
_ESPEAK_LANGUAGES = {"en": "en-us", "de": "de", "zh": "cmn"}


class _Manner(NamedTuple):
    """How eSpeak NG speaks an emotion.

    Attributes:
        pitch: 0..99, 50 is the default of the speaker.
        range: 0..99, how far the pitch moves; 50 is the default.
        rate: Words a minute, 80..450.
        volume: 0..200; above 100 some speakers clip.
    """

    pitch: int
    range: int
    rate: int
    volume: int


_MANNERS = {
    "angry": _Manner(44, 75, 215, 100),
    "disgusted": _Manner(28, 60, 150, 82),
    "fearful": _Manner(80, 30, 225, 60),
    "happy": _Manner(68, 85, 195, 88),
    "neutral": _Manner(50, 45, 180, 72),
    "sad": _Manner(30, 18, 146, 50),
    "surprised": _Manner(90, 95, 175, 84),
    "bored": _Manner(40, 8, 125, 64),
    "calm": _Manner(46, 28, 158, 60),
}
# Largest change of each between utterances, either way: similar emotions overlap a little.
_VARIATION = _Manner(9, 10, 14, 9)


class DemoParams(CorpusParams):
    """Synthetic speech in one language."""

    reader: Literal["demo"]
    language: Literal["en", "de", "zh"]
    num_speakers: Annotated[int, Field(ge=1, le=8)]
    num_texts: PositiveInt
    emotions: tuple[Literal[*EMOTIONS], ...]  # type: ignore[valid-type]


class Demo(Corpus):
    """Synthetic speech in one language.

    No checksums are known, because another version of eSpeak NG speaks differently.
    """

    params: DemoParams
    title = "Synthetic speech (demo)"
    licence = (
        "made here with eSpeak NG (GPL-3.0-or-later), whose licence does not cover what it says"
    )
    homepage = "https://github.com/espeak-ng/espeak-ng"
    is_synthetic = True

    @property
    def num_utterances(self) -> int:
        """Number of utterances: every speaker says every text in every emotion."""
        return self.params.num_speakers * self.params.num_texts * len(self.params.emotions)

    def obtain(self, destination: Path, sources: Sources, progress: Progress) -> str:
        """Speak the corpus into a folder: the same bytes on every run with the same eSpeak NG.

        Raises:
            CorpusError: If there are fewer texts than ``num_texts``, or eSpeak NG fails.
            BackendUnavailableError: If eSpeak NG is not installed.
        """
        params, texts = self.params, SENTENCES[self.params.language]
        if params.num_texts > len(texts):
            raise CorpusError(
                f"corpora.{self.name}.num_texts is {params.num_texts}, "
                f"expected at most {len(texts)}"
            )
        requests = [
            _request(params.language, speaker, number, texts[number - 1], emotion)
            for speaker in list(_VARIANTS)[: params.num_speakers]
            for number in range(1, params.num_texts + 1)
            for emotion in params.emotions
        ]
        with progress(len(requests), f"speaking {self.name}", "utterances") as advance:
            _speak(requests, destination)
            advance(len(requests))
        return "eSpeak NG"

    def parse(self, path: PurePosixPath) -> Utterance | str:
        """Return the labels that the name holds: speaker, text, emotion."""
        match path.stem.split("_"):
            case [speaker, text_id, emotion] if speaker in _VARIANTS and emotion in EMOTIONS:
                return Utterance(
                    path=str(path), speaker=speaker, gender=speaker[0], text_id=text_id,
                    emotion=emotion,
                )  # fmt: skip
        return "not a name of the demo corpora"


def speak_examples(destination: Path, language: str) -> dict[str, Path]:
    """Speak one sentence in each emotion, for the demonstrator.

    Returns:
        The files by emotion.

    Raises:
        BackendUnavailableError: If eSpeak NG is not installed.
    """
    text = SENTENCES[language][0]
    requests = {emotion: _request(language, "f1", 1, text, emotion) for emotion in _MANNERS}
    _speak(list(requests.values()), destination)
    return {emotion: destination / str(each["file"]) for emotion, each in requests.items()}


def _request(
    language: str, speaker: str, number: int, text: str, emotion: str
) -> dict[str, str | int]:
    name = f"{speaker}_t{number:02d}_{emotion}"
    manner, varied = _MANNERS[emotion], {}
    for key in _Manner._fields:
        spread = getattr(_VARIATION, key)
        draw = hashlib.sha256(f"{language}/{name}/{key}".encode()).digest()
        varied[key] = getattr(manner, key) + int.from_bytes(draw[:4]) % (2 * spread + 1) - spread
    varied["pitch"], varied["range"] = (min(max(varied[k], 0), 99) for k in ("pitch", "range"))
    voice = f"{_ESPEAK_LANGUAGES[language]}+{_VARIANTS[speaker]}"
    return {"file": f"{name}.wav", "voice": voice, "text": text, **varied}


def _speak(requests: list[dict[str, str | int]], destination: Path) -> None:
    # -P keeps that folder's module names from hiding those of the standard library.
    program = [sys.executable, "-P", espeak.__file__, str(destination)]
    process = subprocess.run(
        program, input=json.dumps(requests), capture_output=True, text=True, check=False
    )
    messages = process.stderr.strip()
    if process.returncode == espeak.LIBRARY_MISSING:
        raise BackendUnavailableError(
            f"the demo corpora are spoken by eSpeak NG, which cannot be loaded: {messages}. "
            "Install the package espeakng-loader in a build that fits this machine"
        )
    if process.returncode:
        raise CorpusError(f"eSpeak NG stopped with exit status {process.returncode}: {messages}")
