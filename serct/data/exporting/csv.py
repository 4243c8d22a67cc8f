"""The recordings as they lie, and ``labels.csv``: what the reader `folder` reads with a table."""

from pathlib import Path

from serct.config.files import as_csv
from serct.data.exporting import Export

TABLE = "labels.csv"


def write(export: Export, folder: Path) -> None:
    """Write recordings and table."""
    export.place_audio(folder)
    rows = (
        {
            "path": each.path, "emotion": each.emotion, "speaker": each.speaker,
            "gender": each.gender, "text": each.text_id, "split": each.split,
        }
        for each in export.utterances
    )  # fmt: skip
    (folder / TABLE).write_text(as_csv(rows), encoding="utf-8", newline="\n")
