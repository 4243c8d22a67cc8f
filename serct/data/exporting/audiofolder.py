"""AudioFolder of the package datasets: a folder a split, each with ``metadata.jsonl``.

JSON and not CSV, since datasets takes a column like 03, 08 of a CSV for numbers.

Source: https://huggingface.co/docs/datasets/audio_dataset
"""

import json
from pathlib import Path, PurePosixPath

import yaml

from serct.data.exporting import Export
from serct.data.manifest import SPLITS

_README = """\
---
{header}---

# {title}

{count} recordings, exported by SERCT. `label` is the emotion; `text_id` is equal for equal words.

- Licence: {licence}
- Source: {source}
- Cite: {citation}
"""


def write(export: Export, folder: Path) -> None:
    """Write recordings, metadata, and the card that names the splits."""
    splits = {split: [u for u in export.utterances if u.split == split] for split in SPLITS}
    # A file may be in a folder that is named like another split.
    patterns = [{"split": split, "path": f"{split}/**"} for split, own in splits.items() if own]
    export.place_audio(folder, {u.path: PurePosixPath(u.split, u.path) for u in export.utterances})
    for split, own in splits.items():
        rows = (
            {
                "file_name": each.path, "label": each.emotion, "speaker": each.speaker,
                "gender": each.gender, "text_id": each.text_id, "language": each.language,
            }
            for each in own
        )  # fmt: skip
        lines = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
        if own:
            path = folder / split / "metadata.jsonl"
            path.write_text(lines, encoding="utf-8", newline="\n")
    header = {
        "language": sorted({each.language for each in export.utterances}),
        "task_categories": ["audio-classification"],
        "configs": [{"config_name": "default", "data_files": patterns}],
    }
    text = _README.format(
        header=yaml.safe_dump(header, sort_keys=False), title=export.corpus.title,
        count=len(export.utterances), licence=export.licence,
        source=export.corpus.homepage or "not published", citation=export.corpus.citation or "-",
    )  # fmt: skip
    (folder / "README.md").write_text(text, encoding="utf-8", newline="\n")
