"""The page of studies shows what was found, readable in grey, and where it comes from."""

import pytest

from serct.evaluation.significance import Interval
from serct.experiments.studies.page import corpora_tables, overview, scores_table, studies_page
from serct.experiments.studies.results import CellRun, Comparison, Row, StudyResult

EPOCHS = tuple(
    {"epoch": float(n), "train_loss": 2 / n, "validation_loss": 2.1 / n, "validation_ua": n / 4}
    for n in (1, 2, 3)
)


def row(model: str, ua: tuple[float, ...], **changes: object) -> Row:
    values = {
        "model": model, "adapts_to_speaker": False, "num_parameters": 1234567, "seconds": 600.0,
        "validation_ua": ua, "wa": 0.5,
        "ua": ua, "interval": Interval(0.4, 0.6, "speakers"), "gain": None, "folds": ua,
        "runs": (CellRun(cell="seed-3-fold-0", run="abc", manifest="f" * 64),), "history": EPOCHS,
    }  # fmt: skip
    return Row.model_validate({**values, **changes})


def study(name: str, protocol: str, rows: tuple[Row, ...], tested_on: str = "tess") -> StudyResult:
    test = Comparison(
        corpus="tess", tested_on=tested_on, n=280, majority_wa=0.2, majority_ua=1 / 7,
        probes={"duration": 0.36, "recording": 0.67} if tested_on == "tess" else {}, rows=rows,
    )  # fmt: skip
    return StudyResult(
        name=name, asks="Why?", protocol=protocol, num_folds=2, seeds=(3, 4), tests=(test,)
    )


def test_the_overview_sets_protocols_side_by_side() -> None:
    one = study("first", "random", (row("serct", (0.99,)), row("cnn", (0.9,))))
    other = study("second", "speaker", (row("serct", (0.4, 0.5)),))
    far = study("third", "random", (row("cnn", (0.3,)),), tested_on="emodb")
    table = overview([one, other, far])
    assert table.header == ("test", "serct", "cnn", "always the most frequent emotion")
    texts = [[cell.text for cell in line] for line in table.rows]
    assert texts == [
        ["tess, random protocol in 2 folds (first)", "0.990", "0.900", "0.143"],
        ["tess, speaker protocol in 2 folds (second)", "0.450", "–", "0.143"],
        ["emodb, zero-shot from tess (third)", "–", "0.300", "0.143"],
    ]
    assert [[cell.is_best for cell in line] for line in table.rows] == [
        [False, True, False, False], [False, True, False, False], [False, False, True, False],
    ]  # fmt: skip


def test_probes_stand_below_the_scores() -> None:
    found = study("first", "random", (row("serct", (0.9,)), row("cnn", (0.95,), gain=(0.01, 0.09))))
    table = scores_table(found, found.tests[0])
    names = [line[0].text for line in table.rows]
    assert names[2:] == [
        "always the most frequent emotion", "the duration alone",
        "level, noise floor, DC and edges alone",
    ]  # fmt: skip
    assert len({len(line) for line in (table.header, *table.rows)}) == 1
    assert [line[3].is_best for line in table.rows[:2]] == [False, True]
    assert table.rows[1][5].text == "+0.010 to +0.090"
    assert table.rows[0][-1].text == "10.0 min"


def test_enrolment_does_not_compete_with_models_without_it() -> None:
    enrolled = row("functionals_lda_speaker", (0.6,), adapts_to_speaker=True)
    found = study("first", "speaker", (row("cnn", (0.5,)), enrolled, row("serct", (0.6,))))
    table = scores_table(found, found.tests[0])
    assert [line[0].text for line in table.rows[:3]] == [
        "cnn", "functionals_lda_speaker, with speaker enrolment", "serct",
    ]  # fmt: skip
    assert [line[3].is_best for line in table.rows[:3]] == [False, False, True]
    [line] = overview([found]).rows
    assert [cell.is_best for cell in line] == [False, False, False, True, False]
    alone = study("second", "speaker", (enrolled,))
    assert not any(cell.is_best for line in overview([alone]).rows for cell in line)


def test_the_page_holds_figures_and_origins() -> None:
    page = studies_page([study("first", "random", (row("serct", (0.9, 0.8)),))])
    assert page.count("<svg ") == 2
    assert "first: tess, curves of the first cell" in page
    assert "seed-3-fold-0" in page
    assert "abc" in page
    assert "ffffffffffff" in page
    fitted = row("mfcc_svm", (0.9,), history=EPOCHS[:1])
    assert studies_page([study("first", "random", (fitted,))]).count("<svg ") == 1


def test_what_further_corpora_give_is_a_mean_over_the_corpora_tested() -> None:
    tests = []
    for corpus, num_corpora, tested_on, ua in (
        ("b", 1, "a", 0.2), ("b_and_c", 2, "a", 0.4), ("a", 1, "b", 0.4), ("a_and_c", 2, "b", 0.6),
        ("a", 1, "a", 0.9),
    ):  # fmt: skip
        [test] = study("unseen", "random", (row("lda", (ua, ua + 0.2)),), tested_on).tests
        changes = {"corpus": corpus, "num_corpora": num_corpora}
        tests.append(test.model_copy(update=changes))
    found = study("unseen", "random", ()).model_copy(update={"tests": tuple(tests)})
    assert found.by_num_corpora() == {"lda": {1: pytest.approx(0.4), 2: pytest.approx(0.6)}}
    [table] = corpora_tables(found)
    assert table.header == ("model", "1 corpus", "2 corpora")
    assert [cell.text for cell in table.rows[0]] == ["lda", "0.400", "0.600"]
    assert corpora_tables(study("first", "random", (row("lda", (0.5,)),))) == []
