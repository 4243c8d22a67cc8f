"""The record of promotions: a file in the workspace, one JSON object a line, only ever added to.

MLflow shows its content; `serct sync` restores the aliases of a lost database from it.
"""

import json
import os
from pathlib import Path
from typing import ClassVar, Literal

from serct.config.record import Record, RecordPart
from serct.errors import RecordError, SerctError, TrackingError

FILE = "promotions.jsonl"


class Promoted(RecordPart):
    """One version, by values that stay the same when a registry is rebuilt.

    Attributes:
        version: Its number in the registry at the time.
        fingerprint: Of parameters, data and seed.
        weights: Digest of the weights.
    """

    version: str
    name: str
    corpus: str
    fingerprint: str
    weights: str


class Entry(Record):
    """One line: who moved the champion, when, why, on which evidence.

    Attributes:
        at: ISO 8601, UTC.
        previous: The champion until then, None if there was none.
        gates: Outcomes of the gates of `serct.promotion`.
    """

    FORMAT: ClassVar[int] = 2
    ERROR: ClassVar[type[SerctError]] = TrackingError

    action: Literal["promote", "rollback"]
    at: str
    by: str
    why: str
    champion: Promoted
    previous: Promoted | None
    gates: tuple[dict[str, str], ...]


def append_promotion(data: Path, entry: Entry) -> None:
    """Add a line, which is on the disk when this returns."""
    line = json.dumps(entry.as_json(), ensure_ascii=False) + "\n"
    data.mkdir(exist_ok=True)
    with (data / FILE).open("ab+") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)  # what a crash cut off
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())


def read_promotions(data: Path) -> list[Entry]:
    """Read all lines, the oldest first; a last line cut off by a crash is left out.

    Raises:
        TrackingError: If a line is not one of these.
    """
    path = data / FILE
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    entries = []
    for number, line in enumerate(lines[:-1], start=1):
        where = f"{path}, line {number}"
        try:
            entries.append(Entry.parse(line, where))
        except RecordError as error:
            raise TrackingError(f"{error}; expected a promotion") from error
    return entries
