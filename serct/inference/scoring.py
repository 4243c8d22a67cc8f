"""A model's predictions for a large folder of recordings, written part by part.

Each part is a file of its own, written whole or not at all. So a run that was cut off continues
with the missing parts, and any machine may make a part. `serct.inference.score_plan` decides which.
"""

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from filelock import FileLock, Timeout

from serct.config.files import as_csv, read_rows
from serct.data.download import Progress, no_progress
from serct.errors import AudioError, ReportError
from serct.inference.predictor import Predictor
from serct.inference.score_plan import (
    MODEL,
    PLAN,
    Part,
    ScorePlan,
    check_is_ours,
    is_complete,
    list_states,
    model_digest,
    part_path,
    plan_parts,
    read_kept,
    read_plan,
)
from serct.inference.score_speakers import ScoreEnrolment, enrol_speakers, read_predictors
from serct.runtime import atomic
from serct.runtime.disk import disk_errors
from serct.runtime.executors import Executor
from serct.runtime.machine import num_threads


@dataclass(frozen=True)
class Scored:
    """How many recordings got which prediction.

    Attributes:
        emotions: Number of recordings by predicted emotion, "uncertain" among them.
        num_unusable: Files that are no usable audio; each row says why.
        seconds: Length of all usable recordings.
        left_out: Files that are no recordings by their name, each with the reason; they are
            unusable too, and have rows.
    """

    emotions: Counter[str]
    num_unusable: int
    seconds: float
    left_out: tuple[str, ...]


def score_folder(
    recordings: Path,
    out: Path,
    source: Path,
    executor: Executor,
    *,
    device: str = "cpu",
    precision: str = "float32",
    part_size: int = 256,
    enrolment: ScoreEnrolment | None = None,
    progress: Progress = no_progress,
) -> Scored:
    """Predict every recording below a folder.

    A second call goes on: it predicts what is missing, new or changed, and what had a problem.

    Args:
        recordings: The folder; only read.
        out: Gets ``plan.json``, ``files.csv``, a copy of the model and ``part-00000.csv`` and so
            on, whose rows name the file, its length in s, the prediction, the probability of each
            emotion, and why a file is unusable. Shared by all machines that work.
        source: The model's folder.
        executor: Does the work.
        device: "auto", "cpu", "cuda" or "mps".
        precision: See `serct.Predictor.load`.
        part_size: Recordings of a part.
        enrolment: What speakers are enrolled with before, on this machine; None for no enrolment.
            The sums that are kept of them stand in ``speakers.json``.
        progress: Shows the progress.

    Raises:
        CorpusError: If there is no such folder.
        ReportError: If there are no recordings, or ``out`` holds predictions of another model,
            of an older format, or for another folder, or files of somebody else, or if another
            call writes there.
        CheckpointError: If the folder holds no usable model.
        SpeakerError: If speakers are to be enrolled, and the model does not adapt to them.
        AudioError: If a recording to enrol the one speaker with is unusable.
    """
    states, problems = list_states(recordings, out)
    if not states:
        raise ReportError(f"{recordings}: no recordings in it")
    predictor = Predictor.load(source, device, precision)
    if enrolment is not None:
        predictor.check_adapts()
    digest = enrolment.digest(recordings) if enrolment is not None else ""
    plan = ScorePlan(
        model=model_digest(source), emotions=predictor.card.emotions, precision=precision,
        part_size=part_size, enrolment=digest,
    )  # fmt: skip
    check_is_ours(out)
    with _locked(out):
        _prepare(out, plan, source)
        if enrolment is not None:
            enrol_speakers(enrolment, digest, recordings, out, predictor, progress)
        parts = plan_parts(out, states, problems, part_size)
        missing = [part for part in parts if not is_complete(out, part)]
        work = partial(_score_part, recordings.resolve(), out.resolve(), device, precision)
        with progress(sum(len(part.names) for part in missing), "scoring", "recordings") as advance:
            for done in executor.map(work, missing, on_gpu=device != "cpu"):
                advance(done)
        left_out = [f"{name}: {problem}" for name, problem in problems.items()]
        return _sum_up((part_path(out, part.number) for part in parts), tuple(left_out))


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Keep two calls from writing into one folder; a kill frees it.

    Raises:
        ReportError: If another call writes there.
    """
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise ReportError(
                f"{out}: another serct score writes there; wait for it, or choose another folder "
                "for --out"
            ) from error
    try:
        yield
    finally:
        lock.release()


def _prepare(out: Path, plan: ScorePlan, source: Path) -> None:
    """Check that an earlier call was made with the same; copy the model.

    Raises:
        ReportError: Naming what is another.
    """
    found = read_plan(out)
    if found is not None:
        differing = [
            key for key in ScorePlan.model_fields if getattr(found, key) != getattr(plan, key)
        ]
        # Another model may also have other emotions; that is said already.
        named = differing[:1] if "model" in differing else differing
        if named:
            raise ReportError(
                f"{out / PLAN}: made with another {' and '.join(named)}, expected the same to "
                "go on; choose another folder for --out, or delete this one"
            )
    # Before the copy: without a plan, a folder of this name is not ours to replace.
    atomic.write_json(out / PLAN, plan.as_json())
    copy = out / MODEL
    if not copy.is_dir() or model_digest(copy) != plan.model:
        with atomic.replacing_folder(copy) as folder:
            shutil.copytree(source, folder, dirs_exist_ok=True)


# A process scores many parts with one model.
@lru_cache(maxsize=1)
def _load(folder: Path, device: str, precision: str) -> Predictor:
    return Predictor.load(folder, device, precision)


def _score_part(recordings: Path, out: Path, device: str, precision: str, part: Part) -> int:
    """Write one part, with the rows that it has already; return the number of its recordings."""
    kept = read_kept(out, part)
    todo = [name for name in part.names if name not in kept]
    predictor = _load(out / MODEL, device, precision)
    of_file, of_others = read_predictors(out, predictor)

    def predict(name: str) -> dict[str, str]:
        if name in part.problems:
            return {"file": name, "problem": part.problems[name]}
        try:
            found = of_file.get(name, of_others).analyse_file(recordings / name, name)
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
        rows = list(pool.map(predict, todo))
    fields = [
        "file", "seconds", "analysed_s", "speech_s", "prediction", *predictor.card.emotions,
        "notes", "problem",
    ]  # fmt: skip
    found = kept | {row["file"]: row for row in rows}
    text = as_csv((found[name] for name in part.names), fields)
    atomic.write_text(part_path(out, part.number), text)
    return len(part.names)


def _sum_up(paths: Iterable[Path], left_out: tuple[str, ...]) -> Scored:
    emotions: Counter[str] = Counter()
    num_unusable, seconds = 0, 0.0
    for path in paths:
        for row in read_rows(path, ("seconds", "prediction", "problem"), error=ReportError):
            if row["problem"]:
                num_unusable += 1
            else:
                emotions[row["prediction"]] += 1
                seconds += float(row["seconds"])
    return Scored(emotions, num_unusable, seconds, left_out)
