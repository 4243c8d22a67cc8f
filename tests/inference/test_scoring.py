"""Scoring a folder: part by part, the predictor's own predictions, going on after a cut."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from serct.cli import app
from serct.errors import AudioError, CorpusError, ReportError, SpeakerError
from serct.inference.predictor import Predictor
from serct.inference.score_plan import Part
from serct.inference.score_speakers import ScoreEnrolment
from serct.inference.scoring import _load, score_folder
from serct.runtime.digests import file_digests
from serct.runtime.executors import InProcessExecutor
from tests.conftest import ROOT
from tests.edited import edit_record

KEYS = ("seconds", "prediction", "problem")


@pytest.fixture
def recordings(tones: Path, spoken: Path, tmp_path: Path) -> Path:
    """Speech, tones in two folders, an empty file, one of no known format, and a text."""
    folder = tmp_path / "recordings"
    for number, source in enumerate(sorted(tones.rglob("*.wav"))[::4]):
        target = folder / ("day", "night")[number % 2] / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    (folder / "day" / "s0_00.wav").unlink()
    shutil.copy(spoken, folder / "day" / "spoken.wav")
    (folder / "empty.wav").write_bytes(b"")
    (folder / "phone.xyz").write_bytes(b"no audio at all")
    (folder / "notes.txt").write_text("not a recording")
    return folder


def rows_of(out: Path) -> list[dict[str, str]]:
    texts = [path.read_text(encoding="utf-8") for path in sorted(out.glob("part-*.csv"))]
    return [row for text in texts for row in csv.DictReader(text.splitlines())]


def test_rows_are_the_predictors_predictions(
    recordings: Path, trained: dict[str, Path], tmp_path: Path
) -> None:
    found = score_folder(
        recordings, tmp_path / "out", trained["serct"], InProcessExecutor(), part_size=4
    )
    rows = rows_of(tmp_path / "out")
    audio = (path for path in recordings.rglob("*.*") if path.suffix != ".txt")
    names = sorted(str(path.relative_to(recordings)) for path in audio)
    assert [row["file"] for row in rows] == names
    predictor = Predictor.load(trained["serct"])
    usable = [row for row in rows if not row["problem"]]
    for row in usable:
        expected = predictor.analyse_file(recordings / row["file"])
        assert row["prediction"] == expected.emotion
        assert float(row["speech_s"]) == pytest.approx(expected.speech_s, abs=1e-3)
        for emotion in predictor.card.emotions:
            if expected.probabilities is None:
                assert row[emotion] == ""
            else:
                assert float(row[emotion]) == pytest.approx(
                    expected.probabilities[emotion], abs=2e-5
                )
    (speech,) = (row for row in usable if row["file"] == "day/spoken.wav")
    assert float(speech["speech_s"]) > 0.5
    assert speech["prediction"] != "no_speech"
    assert {row["prediction"] for row in usable if row is not speech} == {"no_speech"}
    problems = {row["file"]: row["problem"] for row in rows if row["problem"]}
    assert set(problems) == {"empty.wav", "phone.xyz"}
    assert "empty" in problems["empty.wav"]
    assert problems["phone.xyz"].startswith(".xyz: a format that is not read, convert it to one of")
    assert found.left_out == (f"phone.xyz: {problems['phone.xyz']}",)
    assert found.num_unusable == 2
    assert found.emotions.total() == len(usable) == len(names) - 2
    assert found.seconds == pytest.approx(sum(float(row["seconds"]) for row in usable))


class Interrupted(InProcessExecutor):
    """Is lost after one part."""

    def map(
        self, work: Callable[[Any], Any], items: Sequence[Any], *, on_gpu: bool = False
    ) -> Iterable[Any]:
        yield work(items[0])
        raise KeyboardInterrupt


class Counting(InProcessExecutor):
    """Remembers what it was given."""

    def __init__(self) -> None:
        self.parts: list[Part] = []

    def map(
        self, work: Callable[[Any], Any], items: Sequence[Any], *, on_gpu: bool = False
    ) -> Iterable[Any]:
        self.parts += items
        return map(work, items)


def test_it_goes_on_with_the_parts_that_are_missing(
    recordings: Path, trained: dict[str, Path], tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    expected = score_folder(recordings, whole, trained["serct"], InProcessExecutor(), part_size=4)
    with pytest.raises(KeyboardInterrupt):
        score_folder(recordings, broken, trained["serct"], Interrupted(), part_size=4)
    assert len(list(broken.glob("part-*.csv"))) == 1
    rest = Counting()
    assert score_folder(recordings, broken, trained["serct"], rest, part_size=4) == expected
    # The first part has an empty file, which is tried again.
    assert [part.number for part in rest.parts] == [0, 1]
    assert rows_of(broken) == rows_of(whole)


def test_changed_new_and_vanished_files_are_noticed(
    recordings: Path, trained: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out, model = tmp_path / "out", trained["serct"]
    first, second = sorted((recordings / "day").iterdir())[:2]
    whole = first.read_bytes()
    first.write_bytes(whole[:200])
    scored(recordings, out, model)
    parts = {path.name: path.read_bytes() for path in out.glob("part-*.csv")}
    assert len(parts) == 4
    # Mended; replaced by one of equal size and time; gone; and new.
    first.write_bytes(whole)
    times = second.stat()
    content = bytearray(second.read_bytes())
    content[-2000:] = bytes(2000)
    second.write_bytes(content)
    os.utime(second, ns=(times.st_atime_ns, times.st_mtime_ns))
    gone = sorted((recordings / "night").iterdir())[-1]
    gone.unlink()
    shutil.copy(first, recordings / "a_new_one.wav")
    with caplog.at_level("INFO", "serct"):
        scored(recordings, out, model)
    said = "going on: 1 new files, 2 changed, 1 gone, 3 with a problem tried again"
    assert said in caplog.text
    assert rows_by_file(out) == rows_by_file(scored(recordings, tmp_path / "anew", model))
    assert f"night/{gone.name}" not in rows_by_file(out)
    assert rows_of(out)[-1]["file"] == "a_new_one.wav"
    kept = {path.name: path.read_bytes() for path in out.glob("part-*.csv")}
    same = {name for name in parts if kept[name] == parts[name]}
    assert same == {"part-00001.csv", "part-00002.csv"}


def rows_by_file(out: Path) -> dict[str, tuple[str, ...]]:
    """Return what each row says but the probabilities: batches differ in their last digits."""
    return {row["file"]: tuple(row[key] for key in KEYS) for row in rows_of(out)}


def scored(recordings: Path, out: Path, model: Path) -> Path:
    score_folder(recordings, out, model, InProcessExecutor(), part_size=2)
    return out


def test_nothing_is_done_twice(recordings: Path, trained: dict[str, Path], tmp_path: Path) -> None:
    out = scored(recordings, tmp_path / "out", trained["serct"])
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    again = Counting()
    score_folder(recordings, out, trained["serct"], again, part_size=2)
    # Only the parts of the files that had a problem.
    assert [part.number for part in again.parts] == [1, 3]
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before


def test_names_and_links_that_cannot_be_read_have_rows(
    recordings: Path, trained: dict[str, Path], tmp_path: Path
) -> None:
    spoken = next((recordings / "day").iterdir())
    shutil.copy(spoken, os.fsencode(recordings) + b"/caf\xe9.wav")
    (recordings / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(spoken, tmp_path / "elsewhere" / "far.wav")
    (recordings / "linked").symlink_to(tmp_path / "elsewhere")
    out = scored(recordings, tmp_path / "out", trained["serct"])
    rows = rows_by_file(out)
    assert rows["caf\\xe9.wav"][2] == "its name is not UTF-8"
    assert rows["gone.wav"][2].startswith("a link to ")
    assert rows["linked/far.wav"][1]


@pytest.mark.slow
def test_a_killed_run_goes_on_to_equal_rows(
    recordings: Path, trained: dict[str, Path], tmp_path: Path
) -> None:
    whole = scored(recordings, tmp_path / "whole", trained["serct"])
    out = tmp_path / "out"
    # Killed as the second part is about to be written.
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from serct.inference import scoring\n"
        "from serct.runtime.executors import InProcessExecutor\n"
        "write = scoring.atomic.write_text\n"
        "def die(path, text):\n"
        "    if path.name == 'part-00001.csv': os.kill(os.getpid(), signal.SIGKILL)\n"
        "    write(path, text)\n"
        "scoring.atomic.write_text = die\n"
        "paths = map(Path, sys.argv[1:])\n"
        "scoring.score_folder(*paths, InProcessExecutor(), part_size=2)\n"
    )
    command = [sys.executable, "-c", program, str(recordings), str(out), str(trained["serct"])]
    assert subprocess.run(command, check=False, cwd=ROOT).returncode == -signal.SIGKILL
    assert [path.name for path in out.glob("part-*.csv")] == ["part-00000.csv"]
    scored(recordings, out, trained["serct"])
    assert rows_of(out) == rows_of(whole)


def test_other_models_and_recordings_are_not_mixed(
    recordings: Path, trained: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    score_folder(recordings, out, trained["serct"], InProcessExecutor())
    with pytest.raises(
        ReportError, match=r"plan\.json: made with another model, expected the same"
    ):
        score_folder(recordings, out, trained["cnn"], InProcessExecutor())
    with pytest.raises(ReportError, match="made with another part_size, expected"):
        score_folder(recordings, out, trained["serct"], InProcessExecutor(), part_size=4)
    # The card alone does not say which weights it had.
    changed = tmp_path / "changed"
    shutil.copytree(trained["serct"], changed)
    weights = load_file(changed / "weights.safetensors")
    name = sorted(weights)[0]
    save_file(weights | {name: weights[name] + 1}, changed / "weights.safetensors")
    edit_record(changed / "card.json", files=file_digests(changed, ["weights.safetensors"]))
    with pytest.raises(ReportError, match="made with another model, expected the same"):
        score_folder(recordings, out, changed, InProcessExecutor())
    other = tmp_path / "other"
    shutil.copytree(recordings / "day", other / "elsewhere")
    with pytest.raises(ReportError, match=r"files\.csv: made for other recordings: none of its 8"):
        score_folder(other, out, trained["serct"], InProcessExecutor())
    plan = json.loads((out / "plan.json").read_text())
    assert (plan["format_version"], plan["part_size"]) == (3, 256)
    (out / "plan.json").write_text(json.dumps({"format_version": 1, "names": "x"}, indent=2))
    with pytest.raises(
        ReportError, match=r"plan\.json: made by serct 0\.2 or older, which did not"
    ):
        score_folder(recordings, out, trained["serct"], InProcessExecutor())
    with pytest.raises(CorpusError, match="no such folder"):
        score_folder(tmp_path / "nowhere", out, trained["serct"], InProcessExecutor())
    (tmp_path / "none").mkdir()
    with pytest.raises(ReportError, match="no recordings in it"):
        score_folder(tmp_path / "none", out, trained["serct"], InProcessExecutor())


@pytest.mark.parametrize("inside", ["scores", "."])
def test_predictions_may_lie_among_the_recordings(
    recordings: Path, trained: dict[str, Path], tmp_path: Path, inside: str
) -> None:
    beside = rows_by_file(scored(recordings, tmp_path / "out", trained["serct"]))
    for _ in range(2):
        out = scored(recordings, recordings / inside, trained["serct"])
        assert rows_by_file(out) == beside


@pytest.mark.parametrize("name", ["model/mine.txt", "files.csv", "part-00000.csv"])
def test_files_of_somebody_else_are_not_replaced(
    recordings: Path, trained: dict[str, Path], tmp_path: Path, name: str
) -> None:
    mine = tmp_path / "out" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(ReportError, match=r"would be replaced, .* \(plan\.json is missing\)"):
        scored(recordings, tmp_path / "out", trained["serct"])
    assert mine.read_text() == "mine"
    with pytest.raises(ReportError, match="a file, expected a folder"):
        scored(recordings, mine, trained["serct"])


def test_two_calls_do_not_write_into_one_folder(
    recordings: Path, trained: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    with (
        FileLock(tmp_path / "out" / ".lock"),
        pytest.raises(ReportError, match="out: another serct score writes there; wait for it"),
    ):
        scored(recordings, tmp_path / "out", trained["serct"])
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]
    assert rows_of(scored(recordings, tmp_path / "out", trained["serct"]))


def test_a_damaged_copy_of_the_model_is_replaced(
    recordings: Path, trained: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    score_folder(recordings, out, trained["svm"], InProcessExecutor())
    before = rows_of(out)
    [part] = out.glob("part-*.csv")
    part.unlink()
    _load.cache_clear()
    with (out / "model" / "model.skops").open("r+b") as file:
        file.write(b"damaged")
    score_folder(recordings, out, trained["svm"], InProcessExecutor())
    assert rows_of(out) == before


def test_the_command_names_what_it_left_out(
    recordings: Path, trained: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "workspace").mkdir()
    shutil.copy(ROOT / "params.yaml", tmp_path / "workspace")
    (recordings / "take7").write_text("what is it?")
    command = [
        *("score", str(recordings), "--out", str(tmp_path / "out")),
        *("--model", str(trained["serct"]), "--workspace", str(tmp_path / "workspace")),
    ]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "       3 unusable; the rows have the reasons\n" in result.output
    assert "       2 files left out, no recordings by their names:\n" in result.output
    assert "  take7: no suffix: a format that is not read, convert it to one of " in result.output
    listed = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)["left_out"]
    assert len(listed) == 2
    assert any(line.startswith("take7: no suffix") for line in listed)


@pytest.mark.parametrize("kind", ["folder", "table"])
def test_speakers_are_enrolled_before_their_recordings_are_scored(
    kind: str, recordings: Path, trained: dict[str, Path], spoken: Path, tmp_path: Path
) -> None:
    others = tmp_path / "others"
    others.mkdir()
    for name in ("a.wav", "b.wav"):
        shutil.copy(spoken, others / name)
    shutil.copy(spoken, recordings / "day" / "again.wav")
    table = tmp_path / "speakers.csv"
    table.write_text(
        "file,speaker\nday/spoken.wav,anna\nday/again.wav,anna\nempty.wav,anna\nday/s1_01.wav,\n"
    )
    enrolment = ScoreEnrolment(others) if kind == "folder" else ScoreEnrolment(None, table)
    model, out = trained["functionals_lda_speaker"], tmp_path / "out"

    def score(enrolment: ScoreEnrolment | None) -> None:
        score_folder(recordings, out, model, InProcessExecutor(), enrolment=enrolment)

    (recordings / "day" / "s1_01.wav").write_bytes(spoken.read_bytes())
    score(enrolment)
    adapted = Predictor.load(model).enrol([spoken, spoken]).predict_file(spoken)
    plain = Predictor.load(model).predict_file(spoken)
    rows = {row["file"]: row for row in rows_of(out)}
    for name, expected in (
        ("day/spoken.wav", adapted),
        ("day/s1_01.wav", adapted if kind == "folder" else plain),
    ):
        found = {emotion: float(rows[name][emotion]) for emotion in expected}
        assert found == pytest.approx(expected, abs=2e-5), name
    assert adapted != pytest.approx(plain, abs=1e-3)
    assert rows["empty.wav"]["problem"]
    before = (out / "part-00000.csv").read_bytes()
    score(enrolment)
    assert (out / "part-00000.csv").read_bytes() == before
    with pytest.raises(ReportError, match="made with another enrolment, expected the same"):
        score(None)


def test_who_cannot_be_enrolled_for_a_scoring(
    recordings: Path, trained: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    table = tmp_path / "speakers.csv"
    table.write_text("file,speaker\nday/nothing.wav,anna\n")
    for model, enrolment, error, message in (
        (
            "functionals_lda",
            ScoreEnrolment(recordings),
            SpeakerError,
            "does not adapt to a speaker",
        ),
        ("functionals_lda_speaker", ScoreEnrolment(recordings), AudioError, "no speech in its"),
        ("functionals_lda_speaker", ScoreEnrolment(None, table), ReportError, "nothing.wav and 0 "),
    ):
        with pytest.raises(error, match=message):
            score_folder(recordings, out, trained[model], InProcessExecutor(), enrolment=enrolment)
