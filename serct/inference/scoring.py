"""A model's predictions for a large folder of recordings, written part by part.

Each part is a file of its own, written whole or not at all. So a run that was cut off continues
with the missing parts, and any machine may make a part.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from serct.config.record import as_csv, read_rows
from serct.data.download import Progress, no_progress
from serct.data.reading.tree import is_recording, list_files
from serct.errors import AudioError, ReportError
from serct.inference.predictor import Predictor
from serct.runtime import atomic
from serct.runtime.executors import Executor
from serct.runtime.machine import num_threads

FORMAT_VERSION = 2


@dataclass(frozen=True)
class Part:
    """Recordings whose predictions make one file.

    Attributes:
        number: From 0.
        names: Paths below the folder, as they stand in the file.
    """

    number: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class Scored:
    """How many recordings got which prediction.

    Attributes:
        emotions: Number of recordings by predicted emotion, "uncertain" among them.
        num_unusable: Files that are no usable audio; each row says why.
        seconds: Length of all usable recordings.
    """

    emotions: Counter[str]
    num_unusable: int
    seconds: float


def score_folder(
    recordings: Path,
    out: Path,
    source: Path,
    executor: Executor,
    *,
    device: str = "cpu",
    precision: str = "float32",
    part_size: int = 256,
    progress: Progress = no_progress,
) -> Scored:
    """Predict every recording below a folder.

    Args:
        recordings: The folder; only read.
        out: Gets ``plan.json``, a copy of the model and ``part-00000.csv`` and so on, whose rows
            name the file, its length in s, the prediction, the probability of each emotion,
            and why a file is unusable. Shared by all machines that work.
        source: The model's folder.
        executor: Does the work.
        device: "auto", "cpu", "cuda" or "mps".
        precision: See `serct.Predictor.load`.
        part_size: Recordings of a part.
        progress: Shows the progress.

    Raises:
        CorpusError: If there is no such folder.
        ReportError: If there are no recordings, or ``out`` holds predictions of another model
            or for other recordings.
        CheckpointError: If the folder holds no usable model.
    """
    names = [str(path) for path in list_files(recordings, is_recording)]
    if not names:
        raise ReportError(f"{recordings}: no recordings in it")
    card = Predictor.load(source).card
    plan = {
        "format_version": FORMAT_VERSION,
        "model": card.fingerprint,
        "emotions": list(card.emotions),
        "precision": precision,
        "num_recordings": len(names),
        "names": hashlib.sha256("\n".join(names).encode()).hexdigest(),
        "part_size": part_size,
    }
    _prepare(out, plan, source)
    parts = [
        Part(number, tuple(names[first : first + part_size]))
        for number, first in enumerate(range(0, len(names), part_size))
    ]
    missing = [part for part in parts if not _part_path(out, part).exists()]
    work = partial(_score_part, recordings.resolve(), out.resolve(), device, precision)
    with progress(sum(len(part.names) for part in missing), "scoring", "recordings") as advance:
        for done in executor.map(work, missing, on_gpu=device != "cpu"):
            advance(done)
    return _sum_up(_part_path(out, part) for part in parts)


def _prepare(out: Path, plan: dict[str, object], source: Path) -> None:
    plan_path = out / "plan.json"
    if plan_path.exists():
        found = json.loads(plan_path.read_text(encoding="utf-8"))
        differing = [key for key in plan if found.get(key) != plan[key]]
        if differing:
            raise ReportError(
                f"{plan_path}: made with another {' and '.join(differing)}, expected the same to "
                "go on; choose another folder for --out, or delete this one"
            )
        return
    with atomic.replacing_folder(out / "model") as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True)
    atomic.write_json(plan_path, plan)


def _part_path(out: Path, part: Part) -> Path:
    return out / f"part-{part.number:05d}.csv"


# A process scores many parts with one model.
@lru_cache(maxsize=1)
def _load(folder: Path, device: str, precision: str) -> Predictor:
    return Predictor.load(folder, device, precision)


def _score_part(recordings: Path, out: Path, device: str, precision: str, part: Part) -> int:
    """Write one part; return the number of its recordings."""
    predictor = _load(out / "model", device, precision)

    def predict(name: str) -> dict[str, str]:
        try:
            found = predictor.analyse_file(recordings / name, name)
        except AudioError as error:
            return {"file": name, "problem": str(error).removeprefix(f"{name}: ")}
        shares = found.probabilities or {}
        return {
            "file": name, "seconds": f"{found.duration_s:.3f}",
            "analysed_s": f"{found.analysed_s:.3f}", "speech_s": f"{found.speech_s:.3f}",
            "prediction": found.emotion, "notes": "; ".join(found.notes),
            **{emotion: f"{share:.6f}" for emotion, share in shares.items()},
        }  # fmt: skip

    # While one thread computes, others decode.
    with ThreadPoolExecutor(num_threads()) as pool:
        rows = list(pool.map(predict, part.names))
    fields = [
        "file", "seconds", "analysed_s", "speech_s", "prediction", *predictor.card.emotions,
        "notes", "problem",
    ]  # fmt: skip
    atomic.write_text(_part_path(out, part), as_csv(rows, fields))
    return len(part.names)


def _sum_up(paths: Iterable[Path]) -> Scored:
    emotions: Counter[str] = Counter()
    num_unusable, seconds = 0, 0.0
    for path in paths:
        for row in read_rows(path, ("seconds", "prediction", "problem"), error=ReportError):
            if row["problem"]:
                num_unusable += 1
            else:
                emotions[row["prediction"]] += 1
                seconds += float(row["seconds"])
    return Scored(emotions, num_unusable, seconds)
