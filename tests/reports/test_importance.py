"""The table of features that decide: the files' numbers, and none where none was measured."""

from pathlib import Path

from serct.evaluation.importance import FeatureImportance, GroupImportance
from serct.reports.importance import importance_tables
from serct.reports.report import write_report
from serct.reports.results import read_results
from serct.runtime.digests import file_digest
from tests.edited import edit_record
from tests.fake_results import make_pipeline, write_json, write_results

PIPELINE = make_pipeline(models=["serct", "svm"])
LOST = {"pitch": (12, 0.25, 0.03), "energy": (1234, -0.01, 0.0)}


def write_importance(data: Path) -> None:
    folder = data / "models" / "tess-svm"
    groups = {
        name: GroupImportance(num_features=count, ua_lost=lost, deviation=deviation)
        for name, (count, lost, deviation) in LOST.items()
    }
    record = FeatureImportance(n=500, of=700, ua=0.75, repeats=5, groups=groups)
    write_json(folder / "importance.json", record.as_json())
    digest = file_digest(folder / "importance.json")
    edit_record(folder / "run.json", files={"importance.json": digest})


def test_a_row_a_group_and_no_table_where_none_was_measured(tmp_path: Path) -> None:
    write_results(tmp_path, PIPELINE)
    models = read_results(tmp_path, PIPELINE)
    assert importance_tables(models) == []

    write_importance(tmp_path)
    [table] = importance_tables(read_results(tmp_path, PIPELINE))
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["svm", "pitch", "12", "0.750", "+0.250 ± 0.030"],
        ["svm", "energy", "1,234", "0.750", "-0.010 ± 0.000"],
    ]
    assert [row[-1].share for row in table.rows] == [0.25, 0.0]
    assert "500 of the 700 utterances of the validation part" in table.caption
    write_report(tmp_path, tmp_path / "reports", PIPELINE)
    for name in ("report.md", "index.html"):
        text = (tmp_path / "reports" / name).read_text(encoding="utf-8")
        assert "Which features decide" in text
        assert "+0.250 ± 0.030" in text
