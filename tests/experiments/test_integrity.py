"""`serct doctor --deep` reads every file and names each that is not as it was written."""

import shutil
from pathlib import Path

import pytest

from serct.data.shards import ZeroShotTargets
from serct.errors import SerctError
from serct.experiments.integrity import check_models, check_results, check_shards, check_trainings
from serct.runtime.atomic import write_json
from tests.edited import edit_record
from tests.fake_results import make_pipeline, write_results


@pytest.fixture
def root(trained: dict[str, Path], tone_shards: Path, tmp_path: Path) -> Path:
    for name in ("serct", "svm"):
        shutil.copytree(trained[name], tmp_path / "data" / "models" / f"tones-{name}")
    shutil.copytree(tone_shards, tmp_path / "data" / "shards" / "tones")
    (tmp_path / "results").mkdir()
    write_results(tmp_path / "results", make_pipeline())
    shutil.move(tmp_path / "results" / "reports", tmp_path / "data" / "reports")
    return tmp_path


def test_what_is_whole_is_counted(root: Path) -> None:
    assert check_models(root) == "2 models, all as they were written"
    assert check_shards(root) == "1 corpora, all as they were written"
    assert check_results(root) == "4 results, all as they were written"


def test_every_damaged_file_is_named(root: Path) -> None:
    models, shards = root / "data" / "models", root / "data" / "shards" / "tones"
    for path in (models / "tones-serct" / "weights.safetensors", shards / "wave-00002.npy"):
        with path.open("r+b") as file:
            file.seek(-9000, 2)
            file.write(b"damaged")
    (models / "tones-svm" / "history.csv").unlink()
    with pytest.raises(SerctError) as caught:
        check_models(root)
    first, serct, svm = str(caught.value).split("\n")
    assert first == "2 of 2 models:"
    assert "tones-serct/weights.safetensors: damaged: SHA-256" in serct
    assert "tones-svm/history.csv: no such file, but run.json beside it lists it" in svm
    with pytest.raises(SerctError, match=r"1 of 1 corpora:\n.*wave-00002\.npy: damaged: row"):
        check_shards(root)
    edit_record(root / "data/reports/evaluate/tess-svm/metrics.json", wa="much")
    with pytest.raises(SerctError, match=r"1 of 4 results:\n.*tess-svm/metrics\.json: wa"):
        check_results(root)


def test_a_folder_in_the_place_of_another_is_named(root: Path) -> None:
    data = root / "data"
    (data / "models/tones-svm").rename(data / "models/tones-cnn")
    with pytest.raises(SerctError, match=r"tones-cnn: holds tones-svm, expected what its name"):
        check_models(root)
    (data / "shards/tones").rename(data / "shards/emodb")
    with pytest.raises(SerctError, match=r"meta\.json: shards of tones, expected those of emodb"):
        check_shards(root)
    (data / "reports/evaluate/tess-svm").rename(data / "reports/evaluate/tess-cnn")
    with pytest.raises(SerctError, match=r"tess-cnn: holds tess-svm, expected what its name says"):
        check_results(root)


def test_what_lies_outside_of_these_folders(root: Path) -> None:
    targets = root / "data" / "zero_shot_targets.json"
    write_json(targets, ZeroShotTargets(digests={"emodb": "0" * 64}).as_json())
    assert check_results(root) == "4 results, all as they were written"
    targets.write_text(targets.read_text().replace("emodb", "emoda"))
    with pytest.raises(SerctError, match=r"zero_shot_targets\.json: damaged or edited"):
        check_results(root)
    assert check_trainings(root) == "0 unfinished trainings, all as they were written"
    (root / "data" / "training").mkdir()
    (root / "data" / "training" / "tones-cnn.safetensors").write_bytes(b"\0" * 80)
    with pytest.raises(SerctError, match=r"tones-cnn\.safetensors: damaged: not readable as the"):
        check_trainings(root)
