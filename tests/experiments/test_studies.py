"""Studies check, and their cells are what they should be."""

import json
from pathlib import Path

import pytest

from serct.config.reader import read_params
from serct.errors import ParamsError, SerctError
from serct.experiments.studies import run as studies
from serct.experiments.studies.run import list_studies, run_study
from serct.experiments.workspace import prepare_workspace
from serct.models import read_model_params
from tests.experiments.test_study_pooling import write_cell


@pytest.mark.parametrize("name", list_studies())
def test_every_study_makes_workspaces_that_check(name: str, tmp_path: Path) -> None:
    study = studies._read(name)
    for fold, settings in studies._folds(study):
        _, params = prepare_workspace(
            tmp_path / str(fold), study.profile, overlay={**settings, "seed": 5}, cache=tmp_path
        )
        assert params.split.fold == fold
        assert params.seed == 5
        # A model's own `train` in the profile stands above the study's for all models.
        for model in params.pipeline.models:
            given = params.train_params(model).model_dump(mode="json")
            assert settings.get("train", {}).items() <= given.items(), model
    assert f"dir = {tmp_path}" in (tmp_path / "0" / ".dvc" / "config").read_text()


def test_a_variant_is_its_base_and_what_differs(tmp_path: Path) -> None:
    overlay = {"models": {"deep": {"base": "serct", "num_layers": 6}}}
    _, params = prepare_workspace(tmp_path / "w", "cpu", overlay=overlay)
    deep, base = read_model_params(params, "deep"), read_model_params(params, "serct")
    assert deep == base.model_copy(update={"num_layers": 6})
    for wrong in ("nothing", "deep"):
        overlay = {"models": {"deep": {"base": wrong}}}
        with pytest.raises(ParamsError, match=rf"models.deep: base is '{wrong}', expected"):
            prepare_workspace(tmp_path / "x", "cpu", overlay=overlay)


def test_unknown_study() -> None:
    with pytest.raises(ParamsError, match="no study 'nope', expected one of: ablation, cnn_depth"):
        run_study("nope", None)


def test_a_study_is_run_pooled_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = studies.Study.model_validate(
        {
            "profile": "cpu",
            "seeds": (3, 4),
            "set": {
                "pipeline": {
                    "corpora": ["tess"], "train_corpora": ["tess"], "zero_shot_corpora": [],
                    "models": ["mfcc_svm"],
                },
                "split": {"protocol": "speaker", "num_folds": 2},
            },
        }
    )  # fmt: skip
    rebuilt: list[str] = []

    def pretend(cell: Path, jobs: int) -> int:
        rebuilt.append(cell.name)
        assert read_params(cell / "params.yaml").robustness.conditions == {}
        answers = [
            {"utterance": f"u{n}", "speaker": "s", "emotion": emotion, "predicted": "sad"}
            for n, emotion in enumerate(("sad", "angry"))
        ]
        write_cell(cell, "mfcc_svm", answers)
        return 0

    monkeypatch.setattr(studies, "_read", lambda name, changes: study)
    monkeypatch.setattr(studies, "list_studies", lambda: {"made_up": "What <is> it?"})
    monkeypatch.setattr(studies, "rebuild", pretend)
    folder, result = run_study("made_up", tmp_path / "made_up")
    assert rebuilt == [f"seed-{seed}-fold-{fold}" for seed in (3, 4) for fold in (0, 1)]
    assert json.loads((folder / "study.json").read_text())["tests"][0]["n"] == 4
    assert result.tests[0].rows[0].ua == (0.5, 0.5)
    page = (tmp_path / "index.html").read_text()
    assert "What &lt;is&gt; it?" in page
    assert "0.500 ± 0.000" in page
    assert "run1" in page


def test_a_cell_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies, "rebuild", lambda cell, jobs: 1)
    with pytest.raises(SerctError, match=r"seed-3-fold-0: the pipeline failed"):
        run_study("tess_text", tmp_path / "tess_text")
    assert not (tmp_path / "index.html").exists()


def test_each_corpus_is_left_out_and_the_others_added_one_by_one() -> None:
    chosen = 'leave_out.corpora=["emodb", "nemo", "ravdess"]'
    settings = studies._read("unseen_corpus", [chosen, "train.epochs=2"]).settings
    assert settings["train"] == {"epochs": 2}
    pipeline = settings["pipeline"]
    assert isinstance(pipeline, dict)
    assert pipeline["train_corpora"] == [
        "nemo", "nemo_and_ravdess", "emodb", "emodb_and_ravdess", "emodb_and_nemo",
    ]  # fmt: skip
    assert pipeline["zero_shot_corpora"] == ["emodb", "nemo", "ravdess"]
    joint = settings["corpora"]
    assert isinstance(joint, dict)
    assert set(joint) == {name for name in pipeline["train_corpora"] if "_and_" in name}
    assert joint["emodb_and_nemo"]["members"] == {
        "emodb": {"reader": "emodb"}, "nemo": {"reader": "nemo"},
    }  # fmt: skip
    with pytest.raises(ParamsError, match=r"leave_out\.corpora names nowhere, expected entries"):
        studies._read("unseen_corpus", ["leave_out.corpora=[tess, nowhere]"])
