"""Predictions as a table of audformat: a CSV with the index file, start, end.

Source: https://audeering.github.io/audformat/data-tables.html
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from serct.config.files import read_rows
from serct.errors import ReportError
from serct.inference.recording import EmotionProbabilities, RecordingPrediction
from serct.inference.score_plan import read_plan
from serct.runtime import atomic


class TableRow(NamedTuple):
    """The prediction for a file, or for a part of one.

    Attributes:
        file: As the table names it.
        start_s: Where the part begins.
        end_s: Where it ends; None if that is unknown, because the file is unusable.
        prediction: An emotion, "uncertain" or "no_speech"; "" for an unusable file.
        probabilities: By emotion; None without speech.
    """

    file: str
    start_s: float = 0.0
    end_s: float | None = None
    prediction: str = ""
    probabilities: EmotionProbabilities | None = None


def rows_of(file: str, found: RecordingPrediction, timeline: bool) -> list[TableRow]:
    """Return the rows of a recording: one, or one a segment."""
    if timeline:
        return [
            TableRow(file, each.start_s, each.end_s, each.emotion, each.probabilities)
            for each in found.segments
        ]
    return [TableRow(file, 0.0, found.duration_s, found.emotion, found.probabilities)]


def write_table(path: Path, rows: Iterable[TableRow], emotions: Sequence[str]) -> None:
    """Write a table, whole or not at all."""
    _write(path, [list(rows)], emotions)


def table_text(rows: Iterable[TableRow], emotions: Sequence[str]) -> str:
    """Return a table as text."""
    return "".join(_as_csv([list(rows)], emotions))


def write_scored_table(path: Path, out: Path) -> None:
    """Write the predictions of `serct.inference.scoring.score_folder` as one table.

    Args:
        path: The table.
        out: The folder with the parts. They are read one after the other.

    Raises:
        ReportError: If ``out`` holds no predictions, or a part is not readable.
    """
    plan = read_plan(out)
    if plan is None:
        raise ReportError(f"{out}: no predictions, expected the folder of a scoring")
    parts = (_read_part(part, plan.emotions) for part in sorted(out.glob("part-*.csv")))
    _write(path, parts, plan.emotions)


def _read_part(path: Path, emotions: Sequence[str]) -> list[TableRow]:
    needed = ("file", "seconds", "prediction", *emotions)
    return [
        TableRow(
            file=row["file"], end_s=float(row["seconds"]) if row["seconds"] else None,
            prediction=row["prediction"], probabilities=_probabilities(row, emotions),
        )
        for row in read_rows(path, needed, error=ReportError)
    ]  # fmt: skip


def _probabilities(row: Mapping[str, str], emotions: Sequence[str]) -> EmotionProbabilities | None:
    if not row[emotions[0]]:
        return None
    return {emotion: float(row[emotion]) for emotion in emotions}


def _write(path: Path, parts: Iterable[list[TableRow]], emotions: Sequence[str]) -> None:
    with atomic.replacing_file(path) as partial, partial.open("w", encoding="utf-8") as file:
        for text in _as_csv(parts, emotions):
            file.write(text)


def _as_csv(parts: Iterable[list[TableRow]], emotions: Sequence[str]) -> Iterator[str]:
    is_first = True
    for rows in parts:
        index = pd.MultiIndex.from_arrays(
            [
                [row.file for row in rows],
                pd.to_timedelta([row.start_s for row in rows], unit="s").round("us"),
                pd.to_timedelta([row.end_s for row in rows], unit="s").round("us"),
            ],
            names=["file", "start", "end"],
        )
        found = [row.probabilities or {} for row in rows]
        best = [max(each, key=each.__getitem__) if each else None for each in found]
        columns = {
            "emotion": best,
            "emotion.confidence": [max(each.values()) if each else None for each in found],
            "prediction": [row.prediction or None for row in rows],
            **{emotion: [each.get(emotion) for each in found] for emotion in emotions},
        }
        table = pd.DataFrame(columns, index=index)
        # A file may be named twice on the command line, but not in a table.
        table = table[~table.index.duplicated()]
        yield table.to_csv(header=is_first, float_format="%.6f", lineterminator="\n")
        is_first = False
