"""Synthetic emotional speech in three languages, made on this machine with eSpeak NG.

Emotions are told apart by pitch, its range, tempo and loudness alone, each varied a little from
clip to clip. It shows that the pipeline works and says nothing about people.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from serct.config.corpora import DemoParams
from serct.data.corpora import sentences
from serct.data.corpora.espeak import LIBRARY_MISSING
from serct.data.corpora.sources import Context
from serct.data.corpora.tree import list_files
from serct.data.corpora.verification import Original
from serct.data.manifest import Clip, Rejection, Scan
from serct.emotions import EMOTIONS
from serct.errors import BackendUnavailableError, CorpusError

TITLE = "Synthetic speech (demo)"
LICENCE = "made here with eSpeak NG (GPL-3.0-or-later), whose licence does not cover what it says"
CITATION = ""
HOMEPAGE = "https://github.com/espeak-ng/espeak-ng"

# Voice variants by speaker. Those with breath (f2, f3, f5 among others) differ on every run.
_VOICES = {
    "f1": "f1", "m1": "m1", "f2": "f4", "m2": "m3",
    "f3": "belinda", "m3": "m4", "f4": "steph", "m4": "m7",
}  # fmt: skip
_ESPEAK_LANGUAGES = {"en": "en-us", "de": "de", "zh": "cmn"}


class _Manner(NamedTuple):
    """How an emotion is spoken.

    Attributes:
        pitch: 0..99, 50 is the voice's own.
        range: 0..99, how far the pitch moves; 50 is the voice's own.
        rate: Words a minute, 80..450.
        volume: 0..200; above 100 some voices clip.
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
# Largest change of each from clip to clip, either way: so that neighbours overlap a little.
_VARIATION = _Manner(9, 10, 14, 9)


def language(params: DemoParams) -> str:
    """As given."""
    return params.language


def expected_count(params: DemoParams) -> int:
    """Every speaker says every text in every emotion."""
    return params.num_speakers * params.num_texts * len(params.emotions)


def originals(params: DemoParams) -> dict[str, Original]:
    """No checksums: another version of eSpeak NG speaks otherwise."""
    return {}


def obtain(destination: Path, params: DemoParams, context: Context) -> str:
    """Speak the corpus into a folder: the same bytes on every run with the same eSpeak NG.

    Returns:
        Where the files came from.

    Raises:
        CorpusError: If more texts are asked for than there are, or eSpeak NG fails.
        BackendUnavailableError: If eSpeak NG is not installed.
    """
    texts = sentences.SENTENCES[params.language]
    if params.num_texts > len(texts):
        raise CorpusError(
            f"corpora.{context.name}.num_texts is {params.num_texts}, expected at most {len(texts)}"
        )
    requests = [
        _request(params.language, speaker, number, texts[number - 1], emotion)
        for speaker in list(_VOICES)[: params.num_speakers]
        for number in range(1, params.num_texts + 1)
        for emotion in params.emotions
    ]
    with context.progress(len(requests), f"speaking {context.name}", "clips") as advance:
        _speak(requests, destination)
        advance(len(requests))
    return "eSpeak NG"


def speak_examples(destination: Path, language: str) -> dict[str, Path]:
    """Speak one sentence in each emotion, for a demonstrator; gives the files by emotion.

    Raises:
        BackendUnavailableError: If eSpeak NG is not installed.
    """
    text = sentences.SENTENCES[language][0]
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
    voice = f"{_ESPEAK_LANGUAGES[language]}+{_VOICES[speaker]}"
    return {"file": f"{name}.wav", "voice": voice, "text": text, **varied}


def _speak(requests: list[dict[str, str | int]], destination: Path) -> None:
    # -P keeps this folder's module names from hiding those of the standard library.
    program = [sys.executable, "-P", str(Path(__file__).with_name("espeak.py")), str(destination)]
    process = subprocess.run(
        program, input=json.dumps(requests), capture_output=True, text=True, check=False
    )
    messages = process.stderr.strip()
    if process.returncode == LIBRARY_MISSING:
        raise BackendUnavailableError(
            f"the demo corpora are spoken by eSpeak NG, which cannot be loaded: {messages}. "
            "Install the package espeakng-loader in a build that fits this machine"
        )
    if process.returncode:
        raise CorpusError(f"eSpeak NG stopped with exit status {process.returncode}: {messages}")


def scan(root: Path, params: DemoParams) -> Scan:
    """Read the labels from the names: speaker, text, emotion."""
    clips: list[Clip] = []
    rejections: list[Rejection] = []
    for path in list_files(root):
        match path.stem.split("_"):
            case [speaker, text_id, emotion] if speaker in _VOICES and emotion in EMOTIONS:
                clips.append(
                    Clip(
                        path=str(path),
                        speaker=speaker,
                        gender=speaker[0],
                        text_id=text_id,
                        emotion=emotion,
                    )
                )
            case _:
                rejections.append(Rejection(str(path), "not a name of the demo corpora"))
    return Scan(tuple(clips), tuple(rejections))
