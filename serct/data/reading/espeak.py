"""Speak sentences with eSpeak NG into wav files: a program of its own.

eSpeak NG keeps its state in globals, so each sentence changes the bytes of the next. With one
process for each corpus and one order of sentences, the bytes are the same on every run. The process
also keeps the library's messages and crashes out of the pipeline.

Run as ``python espeak.py FOLDER`` with a JSON list of sentences on standard input, each
{"file", "voice", "text", "rate", "volume", "pitch", "range"}. Exits with 3 where the library is
missing.
"""

import ctypes
import importlib
import json
import sys
import wave
from pathlib import Path
from typing import Any

LIBRARY_MISSING = 3

# Of espeak-ng/speak_lib.h.
_RETRIEVE_AUDIO_AT_ONCE = 2
_DO_NOT_EXIT_ON_ERROR = 0x8000
_PARAMETERS = {"rate": 1, "volume": 2, "pitch": 3, "range": 4}
_BY_CHARACTER = 1
_TEXT_IS_UTF8 = 1
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


def main() -> None:
    """Speak the sentences on standard input."""
    folder, sentences = Path(sys.argv[1]), json.load(sys.stdin)
    try:
        loader: Any = importlib.import_module("espeakng_loader")
        library = ctypes.CDLL(loader.get_library_path())
        data = loader.get_data_path()
    except (ImportError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(LIBRARY_MISSING)
    sample_rate = library.espeak_Initialize(
        _RETRIEVE_AUDIO_AT_ONCE, 0, str(data).encode(), _DO_NOT_EXIT_ON_ERROR
    )
    if sample_rate <= 0:
        sys.exit(f"eSpeak NG cannot start with its data at {data}: {sample_rate}")
    speaker = _Speaker(library)
    for sentence in sentences:
        with wave.open(str(folder / sentence["file"]), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(sample_rate)
            file.writeframes(speaker.speak(sentence))


class _Speaker:
    """The library, which turns a sentence into samples."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._pieces: list[bytes] = []
        # Kept here as long as the library may call it.
        self._callback = _CALLBACK(self._collect)
        library.espeak_SetSynthCallback(self._callback)

    def _collect(self, samples: int | None, num_samples: int, events: int | None) -> int:
        if samples and num_samples > 0:
            self._pieces.append(ctypes.string_at(samples, 2 * num_samples))
        return 0

    def speak(self, sentence: dict[str, Any]) -> bytes:
        """Return the samples of a sentence, int16 bytes."""
        self._pieces.clear()
        voice, text = sentence["voice"], sentence["text"]
        _check(self._library.espeak_SetVoiceByName(voice.encode()), voice)
        for name, number in _PARAMETERS.items():
            _check(self._library.espeak_SetParameter(number, sentence[name], 0), name)
        # Both position arguments are 0, which means none; the size includes the final NUL.
        size = len(text.encode()) + 1
        _check(
            self._library.espeak_Synth(
                text.encode(), size, 0, _BY_CHARACTER, 0, _TEXT_IS_UTF8, None, None
            ),
            text,
        )
        return b"".join(self._pieces)


def _check(status: int, what: str) -> None:
    if status:
        sys.exit(f"eSpeak NG refuses {what!r}: error {status}")


if __name__ == "__main__":
    main()
