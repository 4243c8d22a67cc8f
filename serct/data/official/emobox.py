"""The folds of EmoBox, a benchmark of 32 corpora with published scores.

A checkout has ``data/<set>/fold_<n>/<set>_{train,valid,test}_fold_<n>.jsonl``, one recording a
line, and the same as ``.json``, one mapping. Some files are named ``..._fold<n>``, with the keys
audio and label for wav and emo. A map of labels names the classes; words that it lacks, or spells
wrong, are read as the class that they resemble.

Source:
    Ma et al., EmoBox: Multilingual Multi-corpus Speech Emotion Recognition Toolkit and Benchmark,
    Interspeech 2024. https://github.com/emo-box/EmoBox
"""

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from serct.config.files import read_text
from serct.config.spelling import fold
from serct.data.manifest import Split
from serct.data.official.listing import Division, Listed
from serct.emotions import canonical_emotion
from serct.errors import CorpusError, ManifestError

# By what its files call the parts.
_PARTS: dict[str, Split] = {"train": "train", "valid": "validation", "test": "test"}
_MAPS = ("label_map.json", "label_dict.json")
# Of the checkout's own classes; a model predicts in these words.
_CLASSES = (
    "Angry", "Boredom", "Calm", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise",
)  # fmt: skip
_RESEMBLES = 0.75
_HINT = "split.path names a checkout of https://github.com/emo-box/EmoBox"


def find_checkout(path: Path, other: Path | None) -> Path:
    """Return the folder of a checkout: the one named, or the other place for it.

    Raises:
        ManifestError: If it is in neither.
    """
    places = [path, *([other] if other else [])]
    for place in places:
        if (place / "data").is_dir():
            return place
    raise ManifestError(
        f"no folder data in {' or '.join(map(str, places))}; get one with\n"
        "  git clone https://github.com/emo-box/EmoBox\n"
        "and name it as split.path, or put it into SERCT_MIRROR"
    )


def list_folds(checkout: Path, name: str) -> list[Path]:
    """List the folders of a set's folds, by number.

    Raises:
        ManifestError: If there is none.
    """
    folder = checkout / "data" / name
    found = [path for path in folder.glob("fold_*") if path.name[5:].isdecimal()]
    if not found:
        raise ManifestError(f"{folder}: no folders fold_1, fold_2, ...; {_HINT}")
    return sorted(found, key=lambda path: int(path.name[5:]))


def read_division(folder: Path, name: str) -> Division:
    """Read one fold of a set.

    Args:
        folder: One of `list_folds`.
        name: Of the set.

    Raises:
        ManifestError: If a file is missing or not as expected.
    """
    files = {part: _required(folder, name, part) for part in ("train", "test")}
    if valid := _find(folder, name, "valid"):
        files["valid"] = valid
    items = [(part, *item) for part, file in files.items() for item in _read_part(file)]
    classes = _read_classes(folder.parent)
    emotions = {word: _emotion(word, classes) for word in dict.fromkeys(item[-1] for item in items)}
    notes = [
        f"{folder.parent}: label {word!r} is not in its map, read as {emotion or 'no label'}"
        for word, emotion in emotions.items()
        if classes and word not in classes
    ]
    listed = tuple(Listed(path, _PARTS[part], emotions[word]) for part, _, path, word in items)
    return Division(str(folder), listed, tuple(notes))


def fold_files(checkout: Path, name: str) -> list[Path]:
    """List the files that decide the folds of a set."""
    files = [_find(folder, name, part) for folder in list_folds(checkout, name) for part in _PARTS]
    maps = [checkout / "data" / name / each for each in _MAPS]
    return [path for path in (*files, *maps) if path is not None and path.exists()]


def as_submission(
    checkout: Path, name: str, number: int, predicted: Mapping[str, str]
) -> list[dict[str, str]]:
    """Return predictions in the form that EmoBox evaluates: a key and a class each.

    Args:
        checkout: Folder of the checkout.
        name: Of the set.
        number: Of the fold, from 0.
        predicted: Emotions by the keys of `tested_paths`.

    Returns:
        In the order of the fold's test part; recordings without a prediction are left out.

    Raises:
        ManifestError: If a file is missing or not as expected.
    """
    folder = list_folds(checkout, name)[number]
    classes = _read_classes(folder.parent)
    words = {_emotion(word, classes): word for word in (*_CLASSES, *classes.values())}
    return [
        {"key": key, "pred": words[predicted[key]]}
        for key, _, _ in _read_part(_required(folder, name, "test"))
        if key in predicted
    ]


def tested_paths(checkout: Path, name: str, number: int) -> dict[str, PurePosixPath]:
    """Return the paths of a fold's test part by their keys."""
    folder = list_folds(checkout, name)[number]
    return {key: path for key, path, _ in _read_part(_required(folder, name, "test"))}


def _read_classes(folder: Path) -> dict[str, str]:
    """Return the classes of a set by its words; none if it has no map."""
    for path in (folder / each for each in _MAPS):
        if path.exists():
            content = _mapping(path, _parse(path, read_text(path, _HINT, ManifestError)))
            return {word: str(name) for word, name in content.items()}
    return {}


def _emotion(word: str, classes: Mapping[str, str]) -> str:
    """Return the emotion that a word of a set means, "" if it resembles none."""
    spelled = {fold(each): name for each, name in classes.items()}
    name = classes.get(word) or spelled.get(fold(word), word)
    try:
        return canonical_emotion(name)
    except CorpusError:
        known = [each.casefold() for each in _CLASSES]
        alike = difflib.get_close_matches(name.casefold(), known, n=1, cutoff=_RESEMBLES)
        return canonical_emotion(alike[0]) if alike else ""


def _find(folder: Path, name: str, part: str) -> Path | None:
    number = folder.name[5:]
    stems = (f"{name}_{part}_fold_{number}", f"{name}_{part}_fold{number}")
    places = [folder / f"{stem}{suffix}" for suffix in (".jsonl", ".json") for stem in stems]
    return next((path for path in places if path.exists()), None)


def _required(folder: Path, name: str, part: str) -> Path:
    path = _find(folder, name, part)
    if path is None:
        raise ManifestError(f"{folder}: no {name}_{part}_{folder.name}.jsonl or .json; {_HINT}")
    return path


def _read_part(path: Path) -> list[tuple[str, PurePosixPath, str]]:
    """Return key, path and label of each recording that a file lists."""
    text = read_text(path, _HINT, ManifestError)
    if path.suffix == ".jsonl":
        lines = [line for line in text.splitlines() if line.strip()]
        items = [_parse(path, line, number) for number, line in enumerate(lines, start=1)]
    else:
        content = _mapping(path, _parse(path, text))
        items = [{"key": key, **_mapping(path, each)} for key, each in content.items()]
    return [_read_item(path, number, item) for number, item in enumerate(items, start=1)]


def _read_item(path: Path, number: int, item: Any) -> tuple[str, PurePosixPath, str]:
    content = _mapping(path, item, number)
    values = [_first(content, keys) for keys in (("key",), ("wav", "audio"), ("emo", "label"))]
    if None in values:
        raise ManifestError(
            f"{path}: recording {number}: found {', '.join(content) or 'nothing'}, expected key, "
            f"wav (or audio) and emo (or label); {_HINT}"
        )
    key, wav, word = map(str, values)
    return key, PurePosixPath(wav), word


def _first(content: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((content[key] for key in keys if key in content), None)


def _mapping(path: Path, item: Any, number: int = 0) -> dict[str, Any]:
    if not isinstance(item, dict):
        where = f"recording {number}" if number else "content"
        raise ManifestError(f"{path}: {where}: expected a mapping; {_HINT}")
    return item


def _parse(path: Path, text: str, line: int = 0) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {line}: " if line else ""
        raise ManifestError(f"{path}: {where}not JSON: {error}; {_HINT}") from error
