"""Folds are pooled before they are scored, zero-shot answers masked, models compared in pairs."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serct.config.params import Params
from serct.data.manifest import Utterance, write_manifest
from serct.errors import ReportError
from serct.evaluation.metrics import score_names
from serct.evaluation.significance import ua_interval
from serct.experiments.studies.page import conditions_tables, published_tables
from serct.experiments.studies.pooling import pool
from serct.experiments.studies.results import (
    STUDY_FILE,
    PublishedScore,
    SharedSpeakers,
    read_studies,
)
from tests.fake_results import make_card, write_model, write_robustness, write_test, write_zero_shot


def write_table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def write_cell(
    cell: Path, model: str, answers: Sequence[dict[str, Any]], tested_on: str = "tess", **own: Any
) -> None:
    """Write what the stages of a cell write, of one model trained on TESS."""
    name, data = f"tess-{model}", cell / "data"
    fold = int(cell.name[-1])
    card = {**make_card("tess", model), "num_parameters": 77}
    card["validation"] |= {"ua": own.get("validation_ua", 1.0)}
    card["architecture"] = own.get("architecture", card["architecture"])
    write_test(data, "tess", model, manifest_digest=f"digest{fold}",
               probes={"duration": 0.2 + fold / 10})  # fmt: skip
    changes = {key: card[key] for key in ("num_parameters", "validation", "architecture")}
    write_model(data, "tess", model, **changes)
    path = data / "models" / name / "run.json"
    run = json.loads(path.read_text()) | {"run_id": f"run{fold}", "seconds": 10.0 + fold}
    path.write_text(json.dumps(run))
    epochs = [
        {"epoch": n, "learning_rate": 0.1, "train_loss": 1 / n, "validation_loss": 2 / n,
         "validation_ua": 0.5}
        for n in (1, 2)
    ]  # fmt: skip
    write_table(data / "models" / name / "history.csv", epochs)
    if tested_on != "tess":
        write_zero_shot(data, "tess", model, [tested_on])
    place = "evaluate" if tested_on == "tess" else "zero_shot"
    file_name = "predictions.csv" if tested_on == "tess" else f"predictions-{tested_on}.csv"
    write_table(data / "reports" / place / name / file_name, answers)


def with_pipeline(params: Params, models: list[str], zero_shot: list[str], **split: Any) -> Params:
    pipeline = params.pipeline.model_copy(
        update={
            "train_corpora": ("tess",),
            "zero_shot_corpora": tuple(zero_shot),
            "models": tuple(models),
        }
    )
    return params.replace(pipeline=pipeline, split=params.split.model_copy(update=split))


def test_folds_are_pooled_before_they_are_scored(tmp_path: Path, tiny_params: Params) -> None:
    """Two folds that lack an emotion each: the mean of their UA is not the UA of both."""
    answers = {
        0: [("angry", "angry"), ("angry", "sad"), ("sad", "sad")],
        1: [("happy", "sad"), ("sad", "sad"), ("sad", "sad")],
    }
    cells = [(3, tmp_path / f"seed-3-fold-{fold}") for fold in answers]
    for fold, (_, cell) in enumerate(cells):
        rows = [
            {"utterance": "u", "speaker": "s", "emotion": actual, "predicted": predicted}
            for actual, predicted in answers[fold]
        ]
        write_cell(cell, "mfcc_svm", rows, validation_ua=0.25 + fold / 2)
    params = with_pipeline(tiny_params, ["mfcc_svm"], [], protocol="speaker", num_folds=2)
    result = pool("made_up", "What?", params, cells)
    assert (result.protocol, result.num_folds, result.seeds) == ("speaker", 2, (3,))
    [test] = result.tests
    assert test.n == 6
    assert (test.majority_wa, test.majority_ua) == (0.5, pytest.approx(1 / 3))
    assert test.probes == {"duration": pytest.approx(0.25)}
    [row] = test.rows
    assert row.ua == (pytest.approx((0.5 + 0.0 + 1.0) / 3),)
    assert row.folds == (0.75, 0.5)
    assert row.interval.over == "utterances"
    assert row.validation_ua == (0.5,)
    assert row.gain is None
    assert (row.seconds, row.num_parameters, row.adapts_to_speaker) == (10.5, 77, False)
    assert [(each.run, each.manifest) for each in row.runs] == [
        ("run0", "digest0"), ("run1", "digest1"),
    ]  # fmt: skip
    assert [epoch["train_loss"] for epoch in row.history] == [1.0, 0.5]
    assert row.conditions == {}

    # What is written is what is read.
    folder = tmp_path / "made_up"
    folder.mkdir()
    (folder / STUDY_FILE).write_text(json.dumps(result.as_json()))
    assert read_studies(tmp_path) == (result,)
    (folder / STUDY_FILE).write_text("[]")
    with pytest.raises(ReportError, match=r"study\.json: .* expected a mapping; run that study"):
        read_studies(tmp_path)


def test_under_conditions_the_counts_of_folds_are_added_up(
    tmp_path: Path, tiny_params: Params
) -> None:
    """Angry is right 3 of 4 and 0 of 4 times, sad 4 of 4, happy 1 of 2."""
    cells = [(3, tmp_path / f"seed-3-fold-{fold}") for fold in (0, 1)]
    answer = {"utterance": "u", "speaker": "s", "emotion": "sad", "predicted": "sad"}
    for _, cell in cells:
        write_cell(cell, "mfcc_svm", [answer])
        write_robustness(cell / "data", "tess", "mfcc_svm")
    path = cells[1][1] / "data" / "reports" / "evaluate" / "tess-mfcc_svm" / "robustness.json"
    other = json.loads(path.read_text())
    other["conditions"][0]["counts"] = {"angry": [0, 4], "happy": [1, 2]}
    write_robustness(cells[1][1] / "data", "tess", "mfcc_svm", conditions=other["conditions"])
    params = with_pipeline(tiny_params, ["mfcc_svm"], [], protocol="speaker", num_folds=2)
    result = pool("made_up", "What?", params, cells)
    assert result.tests[0].rows[0].conditions == {
        "clean": pytest.approx((6 / 8 + 1) / 2),
        "telephone": pytest.approx((3 / 8 + 1 + 1 / 2) / 3),
        "Opus, 12 kbit/s": pytest.approx((6 / 8 + 1) / 2),
    }
    [table] = conditions_tables(result)
    assert table.header == ("model", "clean", "telephone", "Opus, 12 kbit/s")
    path.write_text("{}")
    with pytest.raises(ReportError, match=r"robustness\.json"):
        pool("made_up", "What?", params, cells)


def test_scores_of_others_stand_beside_ours(tmp_path: Path, tiny_params: Params) -> None:
    """They are means over folds; who is on both sides is counted in each fold."""
    cells = [(3, tmp_path / f"seed-3-fold-{fold}") for fold in range(2)]
    speakers = {0: ["a", "b"], 1: ["c", "b"]}
    for fold, (_, cell) in enumerate(cells):
        rows = [
            {"utterance": f"u{n}", "speaker": name, "emotion": "sad", "predicted": word}
            for n, (name, word) in enumerate(
                zip(speakers[fold], ("sad", "sad" if fold else "angry"), strict=True)
            )
        ]
        write_cell(cell, "mfcc_svm", rows)
        manifest = [
            Utterance(path=f"{n}.wav", speaker=name, gender="", text_id="", emotion="sad",
                      split=part)
            for n, (name, part) in enumerate(
                [*((name, "test") for name in speakers[fold]), ("b", "train")]
            )
        ]  # fmt: skip
        write_manifest(cell / "data" / "manifests" / "tess.csv", manifest)
    params = with_pipeline(tiny_params, ["mfcc_svm"], [], num_folds=2)
    theirs = {"tess": [PublishedScore(model="large encoder", ua=0.8, wa=0.7)]}
    result = pool("made_up", "What?", params, cells, published=theirs)
    [test] = result.tests
    assert test.rows[0].wa_folds == (0.5, 1.0)
    assert test.shared_speakers == SharedSpeakers(num_shared=2, num_tested=4)
    [table] = published_tables(result)
    texts = [[cell.text for cell in row] for row in table.rows]
    assert texts == [
        ["large encoder, published", "0.800", "0.700"], ["mfcc_svm", "0.750", "0.750"],
    ]  # fmt: skip
    assert "NOT speaker-independent: 2 of 4 speakers of test parts" in table.caption


def test_a_study_of_the_first_format_is_read(tmp_path: Path) -> None:
    written = Path(__file__).parents[2] / "benchmarks/results/study-emodb_speaker_classical.json"
    old = json.loads(written.read_text())
    assert "format_version" not in old
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / STUDY_FILE).write_text(json.dumps(old))
    (study,) = read_studies(tmp_path)
    before = [row["hears_voices"] for row in old["tests"][0]["rows"]]
    assert [row.adapts_to_speaker for row in study.tests[0].rows] == before
    assert set(before) == {True, False}


def test_zero_shot_answers_are_masked_and_models_are_compared_in_pairs(
    tmp_path: Path, tiny_params: Params
) -> None:
    cells = [(3, tmp_path / "seed-3-fold-0"), (4, tmp_path / "seed-4-fold-0")]
    rng = np.random.default_rng(0)
    for _, cell in cells:
        for model, share_right in (("mfcc_svm", 0.5), ("serct", 0.9)):
            own = [
                {"utterance": "u", "speaker": "s", "emotion": e, "predicted": e}
                for e in ("angry", "sad", "surprised")
            ]
            write_cell(cell, model, own)
            rows = []
            for n in range(200):
                emotion = ("angry", "sad")[n % 2]
                is_right = rng.random() < share_right
                angry = 0.2 if is_right == (emotion == "angry") else 0.1
                # EMO-DB asks for no surprise: that answer is masked.
                rows.append({
                    "utterance": f"u{n}", "speaker": "s", "emotion": emotion,
                    "predicted": "surprised", "p_angry": angry, "p_sad": 0.3 - angry,
                    "p_surprised": 0.7,
                })  # fmt: skip
            factor = 4.0 if model == "mfcc_svm" else None
            architecture = {"architecture": "functionals_lda", "relevance_factor": factor}
            write_cell(cell, model, rows, tested_on="emodb", architecture=architecture)
    params = with_pipeline(tiny_params, ["mfcc_svm", "serct"], ["emodb"])
    own, other = pool("made_up", "What?", params, cells).tests
    assert (own.tested_on, other.tested_on) == ("tess", "emodb")
    assert other.probes == {}
    first, row = other.rows
    assert other.n == 200
    assert len(row.ua) == len(row.validation_ua) == 2
    assert row.ua[0] == pytest.approx(0.9, abs=0.06)
    assert row.gain is not None
    assert 0.25 < row.gain[0] < 0.4 < row.gain[1] < 0.55
    assert first.gain is None
    assert (first.adapts_to_speaker, row.adapts_to_speaker) == (True, False)


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
