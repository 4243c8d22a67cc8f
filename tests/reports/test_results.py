"""Reading results back: nothing missing, nothing stale, nothing that was not asked for."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score

from serct.errors import ReportError
from serct.evaluation.records import Baseline, ScoreSet
from serct.reports.results import Result, TrainedModel, line_up, read_results
from tests.fake_results import make_pipeline, write_json, write_model, write_results, write_test

STAGE_OF = {
    "models/tess-svm/card.json": "train",
    "models/tess-svm/run.json": "train",
    "models/tess-svm/history.csv": "train",
    "reports/evaluate/tess-svm/metrics.json": "evaluate",
    "reports/evaluate/tess-svm/confusion.json": "evaluate",
    "reports/evaluate/tess-svm/predictions.csv": "evaluate",
    "reports/zero_shot/tess-svm/metrics.json": "zero_shot",
    "reports/zero_shot/tess-svm/confusion-emodb.json": "zero_shot",
}


@pytest.fixture
def trained(tmp_path: Path) -> tuple[TrainedModel, ...]:
    pipeline = make_pipeline()
    write_results(tmp_path, pipeline)
    return read_results(tmp_path, pipeline)


@pytest.mark.parametrize("missing", STAGE_OF)
def test_a_missing_file_and_its_stage_are_named(tmp_path: Path, missing: str) -> None:
    write_results(tmp_path, make_pipeline())
    (tmp_path / missing).unlink()
    expected = rf"{missing}: no such file; the {STAGE_OF[missing]} stage \(model svm, corpus tess\)"
    with pytest.raises(ReportError, match=expected):
        read_results(tmp_path, make_pipeline())


def test_another_model_on_disk_is_left_alone(tmp_path: Path) -> None:
    write_results(tmp_path, make_pipeline(models=["serct", "svm", "cnn"]))
    (tmp_path / "models" / "tess-cnn" / "card.json").write_text("broken")
    assert [m.name for m in read_results(tmp_path, make_pipeline())] == ["serct", "svm"]


def test_results_of_another_training_are_refused(tmp_path: Path) -> None:
    write_results(tmp_path, make_pipeline())
    write_model(tmp_path, "tess", "svm", fingerprint="0123456789abcdef")
    with pytest.raises(ReportError, match=r"card.json has 0123456789ab: these are results of anot"):
        read_results(tmp_path, make_pipeline())


def test_folders_that_changed_places_are_refused(tmp_path: Path) -> None:
    """Each is sound in itself: model, scores and predictions are of one training."""
    write_results(tmp_path, make_pipeline())
    for parent in ("models", "reports/evaluate", "reports/zero_shot"):
        serct, svm = (tmp_path / parent / f"tess-{name}" for name in ("serct", "svm"))
        serct.rename(tmp_path / "aside")
        svm.rename(serct)
        (tmp_path / "aside").rename(svm)
    expected = r"tess-serct/card.json: the card of svm on tess, expected that of serct on tess; the"
    with pytest.raises(ReportError, match=expected):
        read_results(tmp_path, make_pipeline())


def test_half_a_file_is_refused(tmp_path: Path) -> None:
    write_results(tmp_path, make_pipeline())
    path = tmp_path / "reports" / "evaluate" / "tess-svm" / "metrics.json"
    path.write_text(path.read_text()[:50])
    with pytest.raises(ReportError, match=r"metrics.json: not readable as JSON: .*evaluate stage"):
        read_results(tmp_path, make_pipeline())


def test_a_key_of_another_type_is_named(tmp_path: Path) -> None:
    write_results(tmp_path, make_pipeline())
    write_test(tmp_path, "tess", "svm", ua="good")
    with pytest.raises(ReportError, match=r"metrics.json: ua: Input should be a valid number"):
        read_results(tmp_path, make_pipeline())


def test_a_target_that_was_not_scored_is_named(tmp_path: Path) -> None:
    write_results(tmp_path, make_pipeline())
    with pytest.raises(ReportError, match="no scores on esd_zh; the zero_shot stage"):
        read_results(tmp_path, make_pipeline(zero_shot=["emodb", "esd_zh"]))


@pytest.mark.parametrize(("text", "problem"), [("", "no column epoch"), ("epoch\n", "no rows")])
def test_an_empty_history_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    write_results(tmp_path, make_pipeline())
    (tmp_path / "models" / "tess-svm" / "history.csv").write_text(text)
    with pytest.raises(ReportError, match=rf"history.csv: {problem}; the train stage"):
        read_results(tmp_path, make_pipeline())


def test_a_pipeline_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="nothing to report"):
        read_results(tmp_path, make_pipeline(models=[]))


def test_no_zero_shot_needs_no_zero_shot_files(tmp_path: Path) -> None:
    pipeline = make_pipeline(zero_shot=["tess"])  # trained on, so never zero-shot
    write_results(tmp_path, pipeline)
    assert not (tmp_path / "reports" / "zero_shot").exists()
    assert [r.kind for r in line_up(read_results(tmp_path, pipeline))] == ["test", "test"]


def test_each_test_and_way_of_scoring_is_a_result(trained: tuple[TrainedModel, ...]) -> None:
    found = [(r.trained.name, r.test, r.kind) for r in line_up(trained)]
    assert found == [
        (model, test, kind)
        for model in ("serct", "svm")
        for test, kind in (("tess", "test"), ("emodb", "masked"), ("emodb", "unmasked"))
    ]


def test_predictions_agree_with_the_scores(trained: tuple[TrainedModel, ...]) -> None:
    for model in trained:
        actual, predicted = zip(*model.predictions, strict=True)
        assert accuracy_score(actual, predicted) == pytest.approx(model.metrics.wa)


def test_a_score_that_was_not_measured_is_none(tmp_path: Path) -> None:
    write_results(tmp_path, make_pipeline())
    write_test(tmp_path, "tess", "svm", loss=None)
    assert read_results(tmp_path, make_pipeline())[1].metrics.loss is None


@pytest.mark.parametrize(
    ("train", "test", "has_thesis"),
    [("tess", "emodb", True), ("esd_en", "esd_zh", True), ("emodb", "tess", False)],
)
def test_the_thesis_stands_only_beside_its_own_tests(
    tmp_path: Path, train: str, test: str, has_thesis: bool
) -> None:
    pipeline = make_pipeline(train=[train], zero_shot=[test])
    write_results(tmp_path, pipeline)
    own, masked, _, *_ = line_up(read_results(tmp_path, pipeline))
    # The thesis tests on EMO-DB, but it never trains there.
    assert (own.thesis is not None) == has_thesis
    assert (masked.thesis is not None) == has_thesis


@given(n=st.integers(1, 5000), share=st.floats(0, 1))
def test_interval_holds_the_score_and_stays_in_range(n: int, share: float) -> None:
    wa = round(share * n) / n
    low, high = _result(n, wa).wa_interval
    assert 0 <= low <= wa + 1e-12
    assert wa - 1e-12 <= high <= 1
    assert high - low > 0


def test_interval_against_published_values() -> None:
    """Newcombe (1998), table 1: 81 of 263 and 0 of 20, Wilson without continuity correction."""
    assert _result(263, 81 / 263).wa_interval == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert _result(20, 0.0).wa_interval == pytest.approx((0.0, 0.1611), abs=5e-5)


def _result(n: int, wa: float) -> Result:
    scores = ScoreSet(wa=wa, ua=wa, wf1=wa)
    majority = Baseline(wa=0.1, ua=0.1, wf1=0.1)
    trained: TrainedModel = None  # type: ignore[assignment]
    return Result(trained, "tess", "test", False, n, 0, scores, majority, None)


def test_keys_of_a_newer_version_are_refused_with_the_version(tmp_path: Path) -> None:
    write_results(tmp_path, make_pipeline())
    path = tmp_path / "models" / "tess-svm" / "run.json"
    newer = {**json.loads(path.read_text()), "colour": "blue", "written_by": "9.1.0"}
    write_json(path, newer)
    with pytest.raises(ReportError, match=r"colour is not a known key, written by serct 9\.1\.0"):
        read_results(tmp_path, make_pipeline())
    write_json(path, {**newer, "format_version": 99})
    with pytest.raises(ReportError, match=r"format version 99, but .*: install serct 9\.1\.0"):
        read_results(tmp_path, make_pipeline())


def test_a_corpus_that_a_joint_one_holds_is_no_zero_shot_test(tmp_path: Path) -> None:
    pipeline = make_pipeline(["svm"], zero_shot=["emodb"])
    write_results(tmp_path, pipeline)
    joined = {
        "tess": {"language": "en", "utterances": 2800, "speakers": 2},
        "emodb": {"language": "de", "utterances": 535, "speakers": 10},
    }
    write_model(tmp_path, "tess", "svm", corpora=joined)
    (tmp_path / "reports" / "zero_shot" / "tess-svm" / "metrics.json").unlink()
    [model] = read_results(tmp_path, pipeline)
    assert model.targets == {}
