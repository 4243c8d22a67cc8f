"""The table of UA under conditions: the files' numbers, on the page and on the card."""

from pathlib import Path

import pytest

from serct.errors import ReportError
from serct.reports.report import write_report
from serct.reports.results import read_results
from serct.reports.robustness import robustness_tables
from tests.edited import edit_record
from tests.fake_results import make_pipeline, write_results, write_robustness

PIPELINE = make_pipeline(models=["serct", "cnn", "svm"])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The last model was scored before conditions were tested."""
    write_results(tmp_path, PIPELINE)
    for model in ("serct", "cnn"):
        write_robustness(tmp_path, "tess", model)
    return tmp_path


def test_a_row_a_condition_and_a_column_a_model(data: Path) -> None:
    models = read_results(data, PIPELINE)
    [table] = robustness_tables(models)
    assert table.header == ("condition", "serct", "cnn")
    assert "on 140 of the 280 utterances of its test part" in table.caption
    names = [row[0].text for row in table.rows]
    assert names == ["clean", "telephone", "Opus, 12 kbit/s (measured 11.6 kbit/s)"]
    found = [model.robustness for model in models[:2]]
    for column, robustness in enumerate(found, start=1):
        assert robustness is not None
        clean, telephone, opus = (row[column] for row in table.rows)
        interval = robustness.ua_interval
        assert clean.text == f"{robustness.ua:.3f} ({interval.low:.3f} to {interval.high:.3f})"
        assert telephone.text == f"{robustness.ua - 0.2:.3f} (-0.200) †"
        assert opus.text == f"{robustness.ua - 0.01:.3f} (-0.010)"
        assert telephone.is_best == (robustness.ua == max(r.ua for r in found if r))
        assert opus.share == robustness.conditions[1].ua


def test_page_and_cards_show_it_and_no_table_stands_where_none_was_tested(data: Path) -> None:
    write_report(data, data / "reports", PIPELINE)
    page = (data / "reports" / "index.html").read_text(encoding="utf-8")
    text = (data / "reports" / "report.md").read_text(encoding="utf-8")
    for content in (page, text):
        assert "Under stated conditions" in content
        assert "Opus, 12 kbit/s (measured 11.6 kbit/s)" in content
    cards = data / "reports" / "cards"
    card = (cards / "tess-serct.md").read_text(encoding="utf-8")
    assert "| UA on 140 of the 280 utterances of the test part | |" in card
    assert "change -0.2000 (-0.3000 to -0.1000) |" in card
    assert "telephone" not in (cards / "tess-svm.md").read_text(encoding="utf-8")
    for model in ("serct", "cnn"):
        write_robustness(data, "tess", model, conditions=[])
    write_report(data, data / "reports", PIPELINE)
    assert "## Under" not in (data / "reports" / "report.md").read_text(encoding="utf-8")


def test_an_edited_file_is_refused(data: Path) -> None:
    edit_record(data / "reports" / "evaluate" / "tess-cnn" / "robustness.json", ua=1.0)
    with pytest.raises(ReportError, match=r"tess-cnn/robustness\.json: damaged"):
        read_results(data, PIPELINE)
