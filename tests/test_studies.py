"""Studies check, cells are what they should be, and folds are pooled before they are scored."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from serct import studies
from serct.comparison import ua_interval
from serct.errors import ParamsError
from serct.metrics import score_names
from serct.studies import as_table, list_studies, run_study
from serct.workspace import prepare_workspace


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
    deep, base = params.models["deep"], params.models["serct"]
    assert deep == base.model_copy(update={"num_layers": 6})
    for wrong in ("nothing", "deep"):
        overlay = {"models": {"deep": {"base": wrong}}}
        with pytest.raises(ParamsError, match=rf"models.deep: base is '{wrong}', expected"):
            prepare_workspace(tmp_path / "x", "cpu", overlay=overlay)


def test_unknown_study() -> None:
    with pytest.raises(ParamsError, match="no study 'nope', expected one of: ablation, cnn_depth"):
        run_study("nope", None)


def test_folds_are_pooled_before_they_are_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two folds that lack an emotion each: the mean of their UA is not the UA of both."""
    answers = {
        0: [("angry", "angry"), ("angry", "sad"), ("sad", "sad")],
        1: [("happy", "sad"), ("sad", "sad"), ("sad", "sad")],
    }

    def pretend(cell: Path, jobs: int) -> int:
        fold = int(cell.name[-1])
        for folder, name, content in (
            ("reports/evaluate", "metrics.json", {"manifest_digest": f"digest{fold}"}),
            ("models", "run.json", {"run_id": f"run{fold}"}),
            ("models", "card.json", {"validation": {"ua": 0.25 + fold / 2}}),
        ):
            path = cell / "data" / folder / "tess-mfcc_svm"
            path.mkdir(parents=True, exist_ok=True)
            (path / name).write_text(json.dumps(content))
        results = cell / "data" / "reports" / "evaluate" / "tess-mfcc_svm" / "predictions.csv"
        with results.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["utterance", "speaker", "emotion", "predicted"])
            writer.writerows(("u", "s", *pair) for pair in answers[fold])
        return 0

    study = studies.Study.model_validate(
        {
            "profile": "cpu",
            "seeds": (3,),
            "set": {
                "pipeline": {
                    "corpora": ["tess"], "train_corpora": ["tess"], "zero_shot_corpora": [],
                    "models": ["mfcc_svm"],
                },
                "split": {"protocol": "speaker", "num_folds": 2},
            },
        }
    )  # fmt: skip
    monkeypatch.setattr(studies, "_read", lambda name: study)
    monkeypatch.setattr(studies, "rebuild", pretend)
    folder, (row,) = run_study("made up", tmp_path)
    assert row.n == 6
    assert row.ua == (pytest.approx((0.5 + 0.0 + 1.0) / 3),)
    assert row.folds == (0.75, 0.5)
    assert row.interval.over == "utterances"
    assert row.validation_ua == (0.5,)
    assert row.gain is None
    assert [each["run"] for each in row.runs] == ["run0", "run1"]
    assert json.loads((folder / "study.json").read_text())[0]["n"] == 6
    assert as_table([row])[0]["UA"] == "0.500"


def test_zero_shot_answers_are_masked_and_models_are_compared_in_pairs(tmp_path: Path) -> None:
    cells = [(3, tmp_path / "seed-3-fold-0"), (4, tmp_path / "seed-4-fold-0")]
    rng = np.random.default_rng(0)
    for _, cell in cells:
        for model, share_right in (("mfcc_svm", 0.5), ("serct", 0.9)):
            name = f"tess-{model}"
            for folder, file_name, content in (
                ("reports/evaluate", "metrics.json", {"manifest_digest": "d"}),
                ("models", "run.json", {"run_id": "r"}),
                ("models", "card.json", {"validation": {"ua": 1.0}}),
                ("reports/zero_shot", "metrics.json", {}),
            ):
                path = cell / "data" / folder / name
                path.mkdir(parents=True, exist_ok=True)
                (path / file_name).write_text(json.dumps(content))
            file = cell / "data" / "reports" / "zero_shot" / name / "predictions-emodb.csv"
            with file.open("w", newline="") as open_file:
                writer = csv.writer(open_file)
                writer.writerow(
                    [
                        "utterance",
                        "speaker",
                        "emotion",
                        "predicted",
                        "p_angry",
                        "p_sad",
                        "p_surprised",
                    ]
                )
                for n in range(200):
                    emotion = ("angry", "sad")[n % 2]
                    is_right = rng.random() < share_right
                    angry = 0.2 if is_right == (emotion == "angry") else 0.1
                    # EMO-DB asks for no surprise: that answer is masked.
                    writer.writerow([f"u{n}", "s", emotion, "surprised", angry, 0.3 - angry, 0.7])
    first, tested = (
        studies._Tested.read(cells, model, "tess", "emodb") for model in ("mfcc_svm", "serct")
    )
    row = studies._as_row("serct", "tess", "emodb", tested, first)
    assert row.n == 200
    assert len(row.ua) == len(row.validation_ua) == 2
    assert row.ua[0] == pytest.approx(0.9, abs=0.06)
    assert row.gain is not None
    assert 0.25 < row.gain[0] < 0.4 < row.gain[1] < 0.55
    assert studies._as_row("mfcc_svm", "tess", "emodb", first, first).gain is None


def test_scores_of_names() -> None:
    scores = score_names(["a", "a", "b"], ["a", "c", "b"])
    assert scores.ua == 0.75
    assert scores.wa == pytest.approx(2 / 3)


def test_speakers_are_drawn_whole_where_there_are_enough() -> None:
    rng = np.random.default_rng(0)
    emotions = rng.choice(["angry", "sad"], 400)
    speakers = np.array([f"s{n % 10}" for n in range(400)])
    # Half of the speakers are always understood, the others never.
    is_right = np.array([int(name[1]) % 2 == 0 for name in speakers])
    by_speaker = ua_interval(emotions, is_right, speakers)
    by_utterance = ua_interval(emotions, is_right, np.array(["one"] * 400))
    assert (by_speaker.over, by_utterance.over) == ("speakers", "utterances")
    assert by_speaker.high - by_speaker.low > 4 * (by_utterance.high - by_utterance.low)
    # One binomial draw of 400 has a deviation of .025.
    assert by_utterance.high - by_utterance.low == pytest.approx(4 * 0.025, abs=0.01)
