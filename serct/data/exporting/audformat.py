"""A database of audformat: ``db.yaml`` and tables, laid out as those of EMO-DB.

Source: https://audeering.github.io/audformat/data-format.html
"""

import re
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from serct.data.exporting import Export
from serct.data.manifest import Utterance
from serct.emotions import in_table_order
from serct.errors import BackendUnavailableError

_TYPES = {"train": "train", "validation": "dev", "test": "test"}
_GENDERS = {"f": "female", "m": "male"}
# Licences that allow every use. All others are taken for research alone.
_OPEN = re.compile(r"CC0\b.*|public domain.*|CC[ -]BY(?:[ -]\d.*)?", re.IGNORECASE)


def write(export: Export, folder: Path) -> None:
    """Write recordings, header and tables.

    Raises:
        BackendUnavailableError: If the package audformat is not installed.
    """
    try:
        import audformat
    except ImportError as error:
        raise BackendUnavailableError(
            "an audformat database needs the package audformat: pip install 'serct[audformat]'"
        ) from error
    corpus, utterances = export.corpus, export.utterances
    is_open = all(map(_OPEN.fullmatch, corpus.licences().values()))
    database = audformat.Database(
        corpus.name,
        source=corpus.homepage or "not published",
        usage="unrestricted" if is_open else "research",
        languages=sorted({each.language for each in utterances}),
        license=export.licence,
        description=" ".join(filter(None, (f"{corpus.title}.", corpus.citation))),
    )
    columns = _columns(utterances)
    for name, scheme in _schemes(utterances).items():
        if name in columns:
            database.schemes[name] = audformat.Scheme(**scheme)

    def add(table: str, split: str | None, names: Iterable[str]) -> None:
        rows = [n for n, each in enumerate(utterances) if split in (None, each.split)]
        kind = None if split is None else _TYPES[split]
        index = audformat.filewise_index([utterances[n].path for n in rows])
        database[table] = audformat.Table(index, split_id=kind)
        for name in names:
            database[table][name] = audformat.Column(scheme_id=name)
            database[table][name].set([columns[name][n] for n in rows])

    add("files", None, [name for name in columns if name != "emotion"])
    add("emotion", None, ["emotion"])
    for split, kind in _TYPES.items():
        if any(each.split == split for each in utterances):
            database.splits[kind] = audformat.Split(type=kind)
            add(f"emotion.{kind}", split, ["emotion"])
    export.place_audio(folder)
    words = {*columns.get("speaker", ()), *columns.get("transcription", ())}
    database.save(str(folder), storage_format="parquet" if words & _no_words() else "csv")


def _columns(utterances: Sequence[Utterance]) -> dict[str, list[Any]]:
    """Return the columns of which anything is known: a value an utterance, None for unknown."""
    columns: dict[str, list[Any]] = {
        "emotion": [each.emotion for each in utterances],
        "duration": [timedelta(seconds=each.duration_s) for each in utterances],
        "speaker": [each.speaker or None for each in utterances],
        "gender": [_GENDERS.get(each.gender) for each in utterances],
        "transcription": [each.text_id or None for each in utterances],
    }
    if len({each.language for each in utterances}) > 1:
        columns["language"] = [each.language for each in utterances]
    return {name: values for name, values in columns.items() if any(values)}


def _schemes(utterances: Sequence[Utterance]) -> dict[str, dict[str, Any]]:
    genders = {each.speaker: _GENDERS.get(each.gender) for each in utterances if each.speaker}
    return {
        "emotion": {"labels": list(in_table_order(each.emotion for each in utterances))},
        "duration": {"dtype": "time"},
        "speaker": {"labels": {name: {"gender": gender} for name, gender in genders.items()}},
        "gender": {"labels": list(_GENDERS.values())},
        "language": {"dtype": "str"},
        "transcription": {"dtype": "str", "description": "Equal for equal words"},
    }


def _no_words() -> set[str]:
    """Return the words that audformat reads from CSV as nothing, such as NA."""
    from pyarrow.csv import ConvertOptions

    return {*ConvertOptions().null_values} - {""}
