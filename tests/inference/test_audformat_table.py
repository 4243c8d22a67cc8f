"""Predictions as a table of audformat, read by the package audformat."""

import json
import shutil
from pathlib import Path

import audformat
import pandas as pd
import pytest
from typer.testing import CliRunner

from serct.cli import app
from serct.errors import ReportError
from serct.inference.audformat_table import write_scored_table
from serct.inference.predictor import Predictor
from tests.conftest import ROOT


def run(*arguments: str) -> list[dict]:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code in (0, 1), result.output
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith('{"file')]


def read(path: Path) -> pd.DataFrame:
    """Read a table as anybody would, and check that its index is one of audformat."""
    table = audformat.utils.read_csv(str(path))
    audformat.assert_index(table.index)
    audformat.assert_no_duplicates(table.index)
    assert audformat.is_segmented_index(table.index)
    return table


@pytest.fixture
def files(spoken: Path, tones: Path, tmp_path: Path) -> Path:
    """Speech, a tone and a file that is no audio."""
    folder = tmp_path / "files"
    (folder / "day").mkdir(parents=True)
    shutil.copy(spoken, folder / "day" / "spoken, 1.wav")
    shutil.copy(next(tones.rglob("*.wav")), folder / "tone.wav")
    (folder / "broken.wav").write_text("no audio")
    return folder


def test_a_row_for_each_file(files, trained, tmp_path):
    model, out = trained["serct"], tmp_path / "found.csv"
    names = [str(files / name) for name in ("day/spoken, 1.wav", "tone.wav", "broken.wav")]
    spoken, tone, _ = run(
        "predict", "--model", str(model), *names, names[1], "--audformat", str(out)
    )[:3]  # fmt: skip
    table = read(out)
    assert list(table.index.get_level_values("file")) == names
    assert (table.index.get_level_values("start") == pd.Timedelta(0)).all()
    ends = table.index.get_level_values("end")
    assert [end.total_seconds() for end in ends[:2]] == pytest.approx(
        [spoken["duration_s"], tone["duration_s"]], abs=1e-6
    )
    assert pd.isna(ends[2])
    emotions = list(Predictor.load(model).card.emotions)
    assert list(table.columns) == ["emotion", "emotion.confidence", "prediction", *emotions]
    best = max(spoken["probabilities"], key=spoken["probabilities"].__getitem__)
    first = table.iloc[0]
    assert (first["emotion"], first["prediction"]) == (best, spoken["emotion"])
    assert dict(first[emotions]) == pytest.approx(spoken["probabilities"], abs=1e-6)
    assert first["emotion.confidence"] == first[emotions].max()
    assert table["prediction"].fillna("").tolist()[1:] == ["no_speech", ""]
    assert table.iloc[1:][["emotion", "emotion.confidence", *emotions]].isna().all(axis=None)


def test_a_row_for_each_segment(files, trained, tmp_path):
    name, out = str(files / "day/spoken, 1.wav"), tmp_path / "found.csv"
    model = str(trained["serct"])
    [found] = run("predict", "--model", model, name, "--timeline", "--audformat", str(out))
    table = read(out)
    segments = found["segments"]
    assert len(table) == len(segments) > 1
    for level, key in (("start", "start_s"), ("end", "end_s")):
        times = table.index.get_level_values(level).total_seconds()
        assert list(times) == pytest.approx([each[key] for each in segments], abs=1e-6)
    assert table["prediction"].tolist() == [each["emotion"] for each in segments]


def test_a_folder_is_one_table_of_all_parts(files, trained, tmp_path):
    out, single = tmp_path / "out", tmp_path / "single.csv"
    (tmp_path / "workspace").mkdir()
    shutil.copy(ROOT / "params.yaml", tmp_path / "workspace")
    command = ["--model", str(trained["serct"]), "--workspace", str(tmp_path / "workspace")]
    scoring = ["score", str(files), "--out", str(out), "--part-size", "1", *command]
    run(*scoring, "--audformat", str(out / "predictions.csv"))
    assert len(list(out.glob("part-*.csv"))) == 3
    table = read(out / "predictions.csv")
    names = ["broken.wav", "day/spoken, 1.wav", "tone.wav"]
    assert list(table.index.get_level_values("file")) == names
    run("predict", *(str(files / name) for name in names), *command, "--audformat", str(single))
    # Parts have times in ms, and probabilities rounded in the same way.
    pd.testing.assert_frame_equal(
        table.reset_index(drop=True), read(single).reset_index(drop=True), atol=2e-5
    )
    with pytest.raises(
        ReportError, match="files: no predictions, expected the folder of a scoring"
    ):
        write_scored_table(tmp_path / "none.csv", files)
