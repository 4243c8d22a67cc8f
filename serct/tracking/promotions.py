"""The record of promotions: a file in the workspace, one JSON object a line, only ever added to.

MLflow shows its content; `serct sync` sets the aliases of another or a lost database from it. It
travels through git, which merges two branches by keeping the lines of both: their order counts for
nothing, the times in them do. A crash leaves at most the beginning of a line at the end, without
its line end: that was no promotion.
"""

import codecs
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Literal

from serct.config.record import Record, RecordPart
from serct.errors import RecordError, SerctError, TrackingError
from serct.runtime.disk import disk_errors
from serct.tracking.version_names import SHOWN

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

    def __str__(self) -> str:
        """Return its name for a message, without the number, which is of one registry."""
        return f"{self.name} on {self.corpus} ({self.fingerprint[:SHOWN]})"


class Entry(Record):
    """One line: who moved the champion, when, why, on which evidence.

    Attributes:
        at: ISO 8601, UTC, in whole seconds; see `next_time`.
        previous: The champion until then, None if there was none.
        gates: Outcomes of the gates of `serct.promotion`.
    """

    FORMAT: ClassVar[int] = 3
    SEALED_FROM: ClassVar[int] = 3
    ERROR: ClassVar[type[SerctError]] = TrackingError

    action: Literal["promote", "rollback"]
    at: str
    by: str
    why: str
    champion: Promoted
    previous: Promoted | None
    gates: tuple[dict[str, str], ...]

    @property
    def tags(self) -> dict[str, str]:
        """Tags of the champion's version in the registry, once the move is done there."""
        return {f"serct.{self.action}.{key}": getattr(self, key) for key in ("at", "by", "why")}


def next_time(data: Path) -> str:
    """Return the time for the next line: now, or that of the last line if its clock was ahead.

    Raises:
        TrackingError: As `read_promotions`.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return max([now, *(entry.at for entry in read_promotions(data)[-1:])])


def append_promotion(data: Path, entry: Entry) -> None:
    """Add a line, which is on the disk when this returns.

    Raises:
        DiskError: If the disk is full, read-only or failing; what was written of it is removed.
        TrackingError: If the file ends in something else than a line or the beginning of one, or
            is a link to nowhere.
    """
    line = json.dumps(entry.as_json(), ensure_ascii=False) + "\n"
    _exists(data / FILE)
    with disk_errors(data / FILE):
        data.mkdir(exist_ok=True)
        _append(data / FILE, line.encode())


def _append(path: Path, line: bytes) -> None:
    # Without a buffer, which would be written after all when the file is closed.
    with path.open("ab+", buffering=0) as file:
        file.seek(0)
        lines = _lines(file.readall(), path)
        length = sum(len(each) + 1 for each in lines)
        file.truncate(length)  # what a crash cut off
        try:
            while line:
                line = line[file.write(line) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(length)
            if not length:
                path.unlink()
            raise


def read_promotions(data: Path) -> list[Entry]:
    """Read all lines, sorted by time; a last line cut off by a crash is left out.

    Lines of one second keep the order of the file.

    Raises:
        TrackingError: If a line is not one of these, or not as it was written, or the file is a
            link to nowhere.
    """
    path = data / FILE
    if not _exists(path):
        return []
    entries = []
    for number, line in enumerate(_lines(path.read_bytes(), path), start=1):
        where = f"{path}, line {number}"
        try:
            entries.append(Entry.parse(line.decode(), where))
        except UnicodeDecodeError as error:
            raise TrackingError(f"{where}: not readable: {error}; expected a promotion") from error
        except RecordError as error:
            raise TrackingError(f"{error}; expected a promotion") from error
    return sorted(entries, key=lambda entry: entry.at)


def _exists(path: Path) -> bool:
    """Check whether there is a record; a link to nowhere, as to a lost share, is not none.

    Raises:
        TrackingError: If it is such a link.
    """
    if path.exists():
        return True
    if path.is_symlink():
        raise TrackingError(
            f"{path}: a link to {path.readlink()}, which is not there; expected the record of "
            "promotions: bring it back, or remove the link"
        )
    return False


def _lines(content: bytes, path: Path) -> list[bytes]:
    """Return the whole lines of the file, without their ends.

    Raises:
        TrackingError: If something else than the beginning of a line follows them.
    """
    *lines, rest = content.split(b"\n")
    if rest and not _is_beginning(rest):
        raise TrackingError(
            f"{path}: damaged: ends in {len(rest)} bytes that are neither a promotion nor the "
            "beginning of one; repair it from a copy, or remove them"
        )
    return lines


def _is_beginning(rest: bytes) -> bool:
    """Check whether bytes may be the beginning of a line, whose last character may be cut too."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(rest)
    except UnicodeDecodeError:
        return False
    if not text.startswith("{") or any(character < " " for character in text):
        return False
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return True
    return len(text[:end].encode()) == len(rest)
