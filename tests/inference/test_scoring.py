"""Scoring a folder: part by part, the predictor's own predictions, going on after a cut."""

import csv
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from serct.errors import CheckpointError, CorpusError, ReportError
from serct.inference.predictor import Predictor
from serct.inference.scoring import Part, _load, score_folder
from serct.runtime.executors import InProcessExecutor


@pytest.fixture
def recordings(tones: Path, spoken: Path, tmp_path: Path) -> Path:
    """Speech, tones in two folders, two files that are no recordings, and a table."""
    folder = tmp_path / "recordings"
    for number, source in enumerate(sorted(tones.rglob("*.wav"))[::4]):
        target = folder / ("day", "night")[number % 2] / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    shutil.copy(spoken, folder / "spoken.wav")
    (folder / "empty.wav").write_bytes(b"")
    (folder / "phone.m4a").write_bytes(b"no audio at all")
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
    (speech,) = (row for row in usable if row["file"] == "spoken.wav")
    assert float(speech["speech_s"]) > 0.5
    assert speech["prediction"] != "no_speech"
    assert {row["prediction"] for row in usable if row is not speech} == {"no_speech"}
    problems = {row["file"]: row["problem"] for row in rows if row["problem"]}
    assert set(problems) == {"empty.wav", "phone.m4a"}
    assert "empty" in problems["empty.wav"]
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
    assert [part.number for part in rest.parts] == list(range(1, len(list(whole.glob("part-*")))))
    assert rows_of(broken) == rows_of(whole)


def test_other_models_and_recordings_are_not_mixed(
    recordings: Path, trained: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    score_folder(recordings, out, trained["serct"], InProcessExecutor())
    with pytest.raises(
        ReportError, match=r"plan\.json: made with another model, expected the same"
    ):
        score_folder(recordings, out, trained["cnn"], InProcessExecutor())
    (recordings / "empty.wav").unlink()
    with pytest.raises(ReportError, match="made with another num_recordings and names"):
        score_folder(recordings, out, trained["serct"], InProcessExecutor())
    assert json.loads((out / "plan.json").read_text())["part_size"] == 256
    with pytest.raises(CorpusError, match="no such folder"):
        score_folder(tmp_path / "nowhere", out, trained["serct"], InProcessExecutor())
    (tmp_path / "none").mkdir()
    with pytest.raises(ReportError, match="no recordings in it"):
        score_folder(tmp_path / "none", out, trained["serct"], InProcessExecutor())


def test_a_damaged_copy_of_the_model_is_an_error(
    recordings: Path, trained: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    score_folder(recordings, out, trained["svm"], InProcessExecutor())
    [part] = out.glob("part-*.csv")
    part.unlink()
    _load.cache_clear()
    with (out / "model" / "model.skops").open("r+b") as file:
        file.write(b"damaged")
    with pytest.raises(CheckpointError, match=r"out/model/model\.skops: damaged: SHA-256"):
        score_folder(recordings, out, trained["svm"], InProcessExecutor())
    assert not part.exists()
