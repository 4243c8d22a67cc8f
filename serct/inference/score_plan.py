"""What a scoring of a folder has done: which file is in which part, as it was when it was read.

A second call compares the files of today with the plan: what is new, changed, or had a problem is
predicted again, and what is gone leaves its part. All else stays as it is, byte by byte. Stale rows
leave the parts before the plan forgets how old they are, so a run killed at any moment goes on.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NamedTuple

from serct.config.files import as_csv, read_rows
from serct.config.record import Record
from serct.data.reading.listing import is_companion, list_entries, printable, unusable_format
from serct.errors import ReportError, SerctError
from serct.runtime import atomic
from serct.runtime.digests import file_digest
from serct.runtime.log import logger

# In the folder of predictions, beside the parts.
PLAN, FILES, MODEL = "plan.json", "files.csv", "model"
# Of a model's folder; they record the training and change no prediction.
_RECORDS = ("history.csv", "run.json")


class State(NamedTuple):
    """What shows that a file was changed; all 0 for what is no file."""

    size: int = 0
    modified_ns: int = 0
    changed_ns: int = 0


@dataclass(frozen=True)
class Part:
    """Files whose predictions make one file of rows.

    Attributes:
        number: From 0.
        names: Paths below the folder, as they stand in the rows.
        problems: Why a file cannot be predicted, for some of the names.
    """

    number: int
    names: tuple[str, ...]
    problems: Mapping[str, str] = field(default_factory=dict)


class ScorePlan(Record):
    """What a scoring is made with (`plan.json`); `files.csv` beside it lists the files.

    Attributes:
        model: Digest of the model's card, weights and all that decides its predictions.
        emotions: That the model predicts.
        precision: See `serct.Predictor.load`.
        part_size: Files of a part.
        enrolment: Digest of the recordings that speakers were enrolled with; "" without any.
    """

    # 2 had no speakers.
    FORMAT: ClassVar[int] = 3
    ERROR: ClassVar[type[SerctError]] = ReportError

    model: str
    emotions: tuple[str, ...]
    precision: str
    part_size: int
    enrolment: str = ""


def part_path(out: Path, number: int) -> Path:
    """Return where the rows of a part stand."""
    return out / f"part-{number:05d}.csv"


def model_digest(folder: Path) -> str:
    """Return the SHA-256 of all files of a model that decide its predictions."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if name not in _RECORDS and not path.name.startswith("."):
            digest.update(f"{name} {file_digest(path)}\n".encode())
    return digest.hexdigest()


def read_plan(out: Path) -> ScorePlan | None:
    """Read the plan of an earlier call, None if there is none.

    Raises:
        ReportError: If it is not readable, or of the first format, which does not say how the
            files were when they were read.
    """
    path = out / PLAN
    if not path.exists():
        return None
    try:
        return ScorePlan.read(path)
    except ReportError as error:
        if '"format_version": 1,' in path.read_text(encoding="utf-8", errors="replace"):
            raise ReportError(
                f"{path}: made by serct 0.2 or older, which did not note sizes and times of files, "
                "so nobody can say which predictions still hold; choose another folder for --out, "
                "or delete this one"
            ) from error
        raise


def check_is_ours(out: Path) -> None:
    """Check that what predictions would replace is not somebody else's.

    Raises:
        ReportError: If ``out`` is no folder, or has no plan, but files that a plan comes with.
    """
    if out.exists() and not out.is_dir():
        raise ReportError(f"{out}: a file, expected a folder, which need not exist")
    if out.is_dir() and not (out / PLAN).exists():
        first = (out / name for name in (MODEL, FILES, part_path(out, 0).name))
        if found := [path for path in first if path.exists()]:
            raise ReportError(
                f"{found[0]}: would be replaced, but no earlier predictions are here ({PLAN} is "
                "missing); choose another folder for --out"
            )


def list_states(recordings: Path, out: Path) -> tuple[dict[str, State], dict[str, str]]:
    """Return the state of every file below a folder, and why some cannot be predicted.

    The copy of the model is left out, where ``out`` is below the folder.

    Raises:
        CorpusError: If there is no such folder.
    """
    states: dict[str, State] = {}
    problems: dict[str, str] = {}
    top, copy = recordings.resolve(), (out / MODEL).resolve()
    for entry in list_entries(recordings):
        if copy in (top / entry.path).parents:
            continue
        name = printable(entry.path)
        problem = entry.problem or unusable_format(entry.path)
        if problem and not entry.problem and is_companion(entry.path):
            continue
        if problem:
            problems[name] = problem
        states[name] = State() if entry.problem else _state(recordings / entry.path)
    return states, problems


def _state(path: Path) -> State:
    try:
        found = path.stat()
    except OSError:  # gone since it was listed; reading it says so
        return State()
    return State(found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def plan_parts(
    out: Path, states: Mapping[str, State], problems: Mapping[str, str], part_size: int
) -> list[Part]:
    """Divide files into parts, as earlier calls did; drop rows that no longer hold.

    Args:
        out: Holds the parts and the list of files; gets the new list.
        states: Of all files of today.
        problems: Why some of them cannot be predicted.
        part_size: Files of a new part.

    Returns:
        All parts. A part without a file of rows, or with fewer rows than names, has work left.

    Raises:
        ReportError: If none of the earlier files is there, or a part is not readable.
    """
    known = _read_files(out / FILES)
    kept = [name for name in known if name in states]
    if known and not kept:
        raise ReportError(
            f"{out / FILES}: made for other recordings: none of its {len(known)} files is there, "
            "expected the same folder to go on; choose another folder for --out, or delete this one"
        )
    parts: dict[int, list[str]] = defaultdict(list)
    for name, (number, _) in known.items():
        parts[number] += [name] * (name in states)
    changed = {name for name in kept if known[name][1] != states[name]}
    dropped = Counter[str]()
    for number, names in parts.items():
        dropped += _drop_rows(part_path(out, number), set(names), changed)
    new = [name for name in states if name not in known]
    first = max(parts, default=-1) + 1
    for place, name in enumerate(new):
        parts[first + place // part_size].append(name)
    numbers = {name: number for number, names in parts.items() for name in names}
    rows = (
        {"file": name, "part": number, **states[name]._asdict()} for name, number in numbers.items()
    )
    atomic.write_text(out / FILES, as_csv(rows, ["file", "part", *State._fields]))
    if known:
        logger.info(
            "going on: %d new files, %d changed, %d gone, %d with a problem tried again",
            len(new), len(changed), len(known) - len(kept), dropped["problem"],
        )  # fmt: skip
    return [
        Part(number, tuple(names), {name: problems[name] for name in names if name in problems})
        for number, names in parts.items()
        if names
    ]


def _drop_rows(path: Path, names: set[str], changed: set[str]) -> Counter[str]:
    """Keep the rows of a part that still hold; return how many had a problem."""
    dropped = Counter[str]()
    if not path.exists():
        return dropped
    rows = read_rows(path, ("file", "problem"), error=ReportError)
    kept = [row for row in rows if row["file"] in names - changed and not row["problem"]]
    dropped["problem"] = sum(bool(row["problem"]) and row["file"] in names for row in rows)
    if len(kept) == len(rows):
        return dropped
    if kept:
        atomic.write_text(path, as_csv(kept))
    else:
        path.unlink()
    return dropped


def read_kept(out: Path, part: Part) -> dict[str, dict[str, str]]:
    """Return the rows of a part that are predicted already, by file."""
    path = part_path(out, part.number)
    if not path.exists():
        return {}
    return {row["file"]: row for row in read_rows(path, ("file",), error=ReportError)}


def is_complete(out: Path, part: Part) -> bool:
    """Return whether a part has a row for each of its files."""
    return read_kept(out, part).keys() == set(part.names)


def _read_files(path: Path) -> dict[str, tuple[int, State]]:
    """Return part and state of each file of earlier calls."""
    if not path.exists():
        return {}
    columns = ("file", "part", *State._fields)
    try:
        return {
            row["file"]: (int(row["part"]), State(*(int(row[each]) for each in State._fields)))
            for row in read_rows(path, columns, error=ReportError)
        }
    except ValueError as error:
        raise ReportError(f"{path}: {error}, expected whole numbers") from error
