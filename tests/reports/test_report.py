"""The report: its numbers are the files' numbers, and its page needs nothing but itself."""

import csv
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from serct.config.params import PipelineParams
from serct.errors import ReportError
from serct.evaluation.metrics import METRICS
from serct.evaluation.significance import mcnemar
from serct.reports.model_card import CONDUCT, model_card
from serct.reports.report import write_report
from serct.reports.results import Result, line_up, read_results
from serct.reports.terminal_table import result_rows, results_table
from serct.reports.thesis import FAULTS, THESIS
from tests.edited import edit_record
from tests.fake_results import make_pipeline, write_model, write_results, write_test

VOID = {"meta", "link", "br", "hr", "img", "input"}
NAMES = ("results.csv", "curves/tess-cnn.csv", "confusion/tess-svm.csv", "report.md", "index.html")


class Page(HTMLParser):
    """Collects tags, attributes and table cells, and finds tags that are not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data

    def row(self, table: int, name: str) -> list[str]:
        return next(row for row in self.tables[table] if row[0] == name)


@pytest.fixture(scope="module")
def pipeline() -> PipelineParams:
    return make_pipeline(models=["serct", "cnn", "svm"])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, pipeline: PipelineParams) -> Path:
    folder = tmp_path_factory.mktemp("real")
    write_results(folder, pipeline)
    write_report(folder, folder / "reports", pipeline)
    return folder


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    pipeline = make_pipeline(["serct"], ["demo_en"], ["demo_de"])
    write_results(folder, pipeline)
    write_report(folder, folder / "reports", pipeline)
    return folder


@pytest.fixture
def results(data: Path, pipeline: PipelineParams) -> tuple[Result, ...]:
    return tuple(line_up(read_results(data, pipeline)))


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_page(data: Path) -> tuple[str, Page]:
    text = (data / "reports" / "index.html").read_text(encoding="utf-8")
    return text, Page(text)


def test_results_csv_holds_what_the_files_hold(data: Path, results: tuple[Result, ...]) -> None:
    rows = read_csv(data / "reports" / "results.csv")
    assert len(rows) == len(results) == 3 * (1 + 2)
    for row, result in zip(rows, results, strict=True):
        assert (row["model"], row["trained_on"]) == (result.trained.name, "tess")
        assert (row["test"], row["kind"]) == (result.test, result.kind)
        for key in ("wa", "ua", "wf1"):
            assert float(row[key]) == pytest.approx(result.scores.metrics[key], abs=1e-6)
            assert float(row[f"majority_{key}"]) == result.majority.metrics[key]
        assert int(row["n"]) == result.n
        assert int(row["dropped"]) == (0 if result.kind == "test" else 81)
        assert row["run_id"] == result.trained.run.run_id
        assert row["manifest_digest"] == result.trained.metrics.manifest_digest
        assert int(row["num_parameters"]) == result.trained.card.num_parameters
        assert row["git_commit"] == ""


def test_results_csv_holds_the_thesis_and_the_difference(data: Path) -> None:
    for row in read_csv(data / "reports" / "results.csv"):
        scores = THESIS.get((row["test"], row["model"]))
        assert scores is not None
        assert float(row["thesis_wf1"]) == scores.wf1
        difference = float(row["wf1"]) - scores.wf1
        assert float(row["wf1_minus_thesis"]) == pytest.approx(difference, abs=2e-6)


def test_curves_hold_every_epoch(data: Path) -> None:
    history = read_csv(data / "models" / "tess-cnn" / "history.csv")
    assert read_csv(data / "reports" / "curves" / "tess-cnn.csv") == history


def test_confusion_holds_every_test_utterance(data: Path) -> None:
    rows = read_csv(data / "reports" / "confusion" / "tess-svm.csv")
    predictions = read_csv(data / "reports" / "evaluate" / "tess-svm" / "predictions.csv")
    assert [(row["actual"], row["predicted"]) for row in rows] == [
        (row["emotion"], row["predicted"]) for row in predictions
    ]


def test_page_shows_the_scores_the_thesis_and_the_baseline(
    data: Path, results: tuple[Result, ...]
) -> None:
    _, page = read_page(data)
    for result in results:
        if result.kind == "test":
            row = page.row(1, result.trained.name)
            assert row[1] == f"{result.scores.wa:.4f}"
            assert row[3:5] == [f"{result.scores.ua:.4f}", "0.200 to 0.900, utterances"]
            assert row[5] == f"{result.scores.wf1:.4f}"
            assert result.thesis is not None
            gap = result.scores.ua - result.thesis.ua
            assert row[9] == f"{result.thesis.ua:.4f} ({gap:+.4f})"
        else:
            row = page.row(2, result.trained.name)
            first = 1 if result.kind == "masked" else 6
            assert row[first] == f"{result.scores.wa:.4f}"
        assert f"{result.scores.ua:.3f}" in page.row(0, result.trained.name)[1:3] or (
            result.kind == "unmasked"
        )
    for table in (0, 1, 2):
        baseline = page.row(table, "always the most frequent emotion")
        assert any(cell.startswith("0.1") for cell in baseline)


def test_page_shows_ua_from_duration_or_level_alone(data: Path) -> None:
    _, page = read_page(data)
    assert page.row(0, "the duration alone")[1:] == ["0.314", "–"]
    assert page.row(0, "level, noise floor, DC and edges alone")[1:] == ["0.424", "–"]


def test_page_shows_the_worst_groups_and_the_calibration(data: Path) -> None:
    _, page = read_page(data)
    row = page.row(3, "serct")
    # A kind with a single group has no worst one.
    assert row[2] == "speaker YAF: 0.753 of 140"
    assert row[3:] == ["0.0987", "0.0123", "0.0100", "0.0300", "0.1100"]


def test_page_compares_each_model_with_the_best(data: Path, results: tuple[Result, ...]) -> None:
    _, page = read_page(data)
    tested = [result for result in results if result.kind == "test"]
    best = max(tested, key=lambda result: result.scores.ua)
    for result in tested:
        text = page.row(1, result.trained.name)[7]
        assert (text == "–") == (result is best)
        if result is not best:
            assert float(text) == pytest.approx(mcnemar(best.is_right, result.is_right), rel=0.05)


def test_page_and_markdown_hold_the_same_tables(data: Path) -> None:
    _, page = read_page(data)
    text = (data / "reports" / "report.md").read_text(encoding="utf-8")
    blocks = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    tables = [
        [
            [cell.strip().strip("*") for cell in line.strip("|\n").split(" | ")]
            for i, line in enumerate(block.splitlines())
            if i != 1
        ]
        for block in blocks
    ]
    assert tables == page.tables


def test_page_says_how_each_model_was_made(data: Path, results: tuple[Result, ...]) -> None:
    text, page = read_page(data)
    for result in results:
        trained = result.trained
        time = page.row(4, trained.name)
        assert time[2] == "cpu: Fast & Cheap <CPU>, 2 cores"
        assert time[3] == f"{trained.card.num_parameters:,}"
        origin = page.row(5, trained.name)
        assert trained.run.run_id is not None
        assert origin[3] == trained.run.run_id[:12]
        assert origin[5] == trained.metrics.manifest_digest[:12]
    assert page.row(4, "serct")[-1] == "2.67 h"
    assert "seed 3" in text
    assert "dropped: 81 bored" in text


def test_page_needs_nothing_but_itself(data: Path) -> None:
    text, page = read_page(data)
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "img", "iframe", "object", "embed")
        for name in ("src", "href", "xlink:href", "srcset"):
            value = attributes.get(name)
            assert value is None or value.startswith("#")
        assert not any(name.startswith("on") for name in attributes)
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_page_is_accessible(data: Path) -> None:
    text, page = read_page(data)
    tags = [tag for tag, _ in page.tags]
    assert tags.count("caption") == tags.count("table") == 6
    assert all(a.get("scope") in ("row", "col") for tag, a in page.tags if tag == "th")
    assert all(a.get("role") == "img" for tag, a in page.tags if tag == "svg")
    assert ("html", {"lang": "en"}) in page.tags
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    links = {a["href"] for tag, a in page.tags if tag == "a"}
    assert {str(link).removeprefix("#") for link in links} <= set(map(str, ids))


def test_page_draws_a_confusion_for_each_model_and_test(data: Path) -> None:
    text, _ = read_page(data)
    titles = re.findall(r"<title>(.*?)</title>", text)
    for model in ("serct", "cnn", "svm"):
        assert f"{model}: Test part of tess" in titles
        assert f"{model}: emodb, zero-shot from tess, masked" in titles
    assert "validation UA, trained on tess" in titles


def test_conduct_and_faults_are_shown(data: Path) -> None:
    text = (data / "reports" / "report.md").read_text(encoding="utf-8")
    for sentence in (*CONDUCT, *FAULTS):
        assert f"- {sentence}\n" in text


def test_synthetic_speech_is_called_so_wherever_it_scores(synthetic: Path) -> None:
    text, page = read_page(synthetic)
    markdown = (synthetic / "reports" / "report.md").read_text(encoding="utf-8")
    for shown in (re.sub(r'id="[^"]*"|#[a-z0-9-]+', "", text), markdown):
        places = re.findall(r"demo_\w\w(.{19})", shown)
        assert len(places) >= 8
        assert set(places) == {" (synthetic speech)"}
        assert "say nothing about people" in shown
    assert "thesis WA" not in str(page.tables)
    rows = read_csv(synthetic / "reports" / "results.csv")
    assert {row["synthetic"] for row in rows} == {"true"}
    assert {row["thesis_ua"] for row in rows} == {""}


def test_real_speech_is_not_called_synthetic(data: Path) -> None:
    assert 'class="notice"' not in read_page(data)[0]


def test_the_same_files_give_the_same_bytes(
    data: Path, pipeline: PipelineParams, tmp_path: Path
) -> None:
    write_report(data, tmp_path, pipeline)
    for name in NAMES:
        assert (tmp_path / name).read_bytes() == (data / "reports" / name).read_bytes(), name


def test_a_missing_result_leaves_the_old_report(
    data: Path, pipeline: PipelineParams, tmp_path: Path
) -> None:
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    (copy / "reports" / "evaluate" / "tess-svm" / "metrics.json").unlink()
    before = {name: (copy / "reports" / name).read_bytes() for name in NAMES}
    with pytest.raises(ReportError, match=r"the evaluate stage \(model svm, corpus tess\) writes"):
        write_report(copy, copy / "reports", pipeline)
    assert before == {name: (copy / "reports" / name).read_bytes() for name in NAMES}


def test_names_from_outside_are_escaped(tmp_path: Path) -> None:
    pipeline = make_pipeline(["svm"], zero_shot=[])
    write_results(tmp_path, pipeline)
    write_model(tmp_path, "tess", "svm", protocol="<script>alert(1)</script>|x")
    write_report(tmp_path, tmp_path / "reports", pipeline)
    text, _ = read_page(tmp_path)
    assert "<script" not in text
    assert "\\|x |" in (tmp_path / "reports" / "report.md").read_text(encoding="utf-8")


def test_a_joint_corpus_is_broken_down_by_its_members(tmp_path: Path) -> None:
    pipeline = make_pipeline(["svm"], zero_shot=[])
    write_results(tmp_path, pipeline)
    joined = {
        "tess": {"language": "en", "utterances": 2800, "speakers": 2},
        "nemo": {"language": "pl", "utterances": 3402, "speakers": 7},
    }
    write_model(tmp_path, "tess", "svm", corpora=joined)
    groups = {"nemo": {"n": 539, "wa": 0.41, "ua": 0.4321}}
    write_test(tmp_path, "tess", "svm", groups={"corpus": {"groups": groups, "worst": None}})
    write_report(tmp_path, tmp_path / "reports", pipeline)
    report = (tmp_path / "reports" / "report.md").read_text(encoding="utf-8")
    assert "| svm | tess | tess (en) | 2,800 | 2 | none | – |" in report
    assert "| svm | tess | nemo (pl) | 3,402 | 7 | 539 | 0.4321 |" in report


def test_models_on_a_pretrained_encoder_stand_in_tables_of_their_own(tmp_path: Path) -> None:
    pipeline = make_pipeline(["cnn", "svm", "whisper_lda"])
    write_results(tmp_path, pipeline)
    encoder = {
        "name": "whisper_tiny_en", "repository": "openai/whisper-tiny.en", "revision": "0" * 40,
        "licence": "MIT", "trained_on": "438,000 h of transcribed English",
    }  # fmt: skip
    card = tmp_path / "models" / "tess-whisper_lda" / "card.json"
    architecture = json.loads(card.read_text())["architecture"]
    edit_record(card, architecture={**architecture, "encoder": encoder})
    write_report(tmp_path, tmp_path / "reports", pipeline)
    text = (tmp_path / "reports" / "report.md").read_text()
    captions = re.findall(
        r"^(?:\*\*)?(UA \(mean recall\) of every model.*|Trained on .*)", text, re.M
    )
    assert sum(" on the pretrained encoder whisper_tiny_en" in each for each in captions) == 3
    assert len(captions) == 6
    written = (tmp_path / "reports" / "cards" / "tess-whisper_lda.md").read_text()
    assert "438,000 h of transcribed English" in written
    assert "openai/whisper-tiny.en, commit 000" in written


def test_a_corpus_without_zero_shot_has_no_such_section(tmp_path: Path) -> None:
    pipeline = make_pipeline(["serct_plus"], zero_shot=[])
    write_results(tmp_path, pipeline)
    write_test(tmp_path, "tess", "serct_plus", loss=None)
    results = write_report(tmp_path, tmp_path / "reports", pipeline)
    text, page = read_page(tmp_path)
    assert "Zero-shot: on corpora" not in text
    assert page.row(1, "serct_plus")[-1] == "–"
    assert results[0].thesis is None


def test_a_new_metric_is_shown_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = make_pipeline(["serct", "cnn"])
    write_results(tmp_path, pipeline)
    write_test(tmp_path, "tess", "serct", kappa=0.4321)
    monkeypatch.setitem(METRICS, "kappa", lambda confusion: 0.0)
    results = write_report(tmp_path, tmp_path / "reports", pipeline)
    rows = read_csv(tmp_path / "reports" / "results.csv")
    assert [row["kappa"] for row in rows[:2]] == ["0.432100", ""]
    header = list(rows[0])
    assert header.index("kappa") == header.index("wf1") + 1
    _, page = read_page(tmp_path)
    column = page.tables[1][0].index("KAPPA")
    # Files of before have no value.
    assert [page.row(1, name)[column] for name in ("serct", "cnn")] == ["0.4321", "–"]
    assert "KAPPA, unmasked" in page.tables[2][0]
    first, _, row, *_ = results_table(tmp_path, pipeline).splitlines()
    shown = dict(zip(*([c.strip() for c in line.split("|")] for line in (first, row)), strict=True))
    assert (shown["model"], shown["WF1"]) == ("serct", f"{results[0].scores.wf1:.3f}")
    assert shown["KAPPA"] == "0.432"
    card = model_card(results[0].trained.card, results[0].trained.metrics)
    assert "| KAPPA | 0.4321 |" in card


@pytest.mark.parametrize("width", [80, 100, 120, 140])
def test_terminal_table_fits_and_cuts_no_name(tmp_path: Path, width: int) -> None:
    long = "a_model_with_a_name_longer"
    pipeline = make_pipeline(["cnn_bilstm", long], ["demo_en", "tess"], ["demo_de", "emodb"])
    write_results(tmp_path, pipeline)
    text = results_table(tmp_path, pipeline, width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + 2 * 2 * 3
    assert len({len(line) for line in table}) == 1
    assert sum(f"| {long} " in line for line in table) == 2 * 3
    assert "UA" in table[0]
    is_narrow = "left out, since the terminal is narrow: majority" in text
    assert is_narrow is (width < 120)
    assert ("majority" in table[0]) is not is_narrow
    assert sum("* |" in line for line in table) == 2 * (3 + 1)
    assert "* synthetic speech" in text


def as_rows(table: str) -> list[dict[str, str]]:
    lines = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("|")]
    header, _, *body = ([cell.strip() for cell in line] for line in lines)
    return [dict(zip(header, row, strict=True)) for row in body]


def test_a_very_narrow_terminal_gets_a_table_for_each_test(tmp_path: Path) -> None:
    long = "a_model_with_a_name_longer"
    pipeline = make_pipeline(["cnn_bilstm", long], ["demo_en", "tess"], ["demo_de", "emodb"])
    write_results(tmp_path, pipeline)
    lines = results_table(tmp_path, pipeline, 60).splitlines()
    assert max(map(len, lines)) <= 60
    titles = [line for line in lines if line.startswith("trained on ")]
    assert len(titles) == len(set(titles)) == 2 * 3
    assert "trained on demo_en*, tested on emodb, zero-shot" in titles
    # Every score stands under the test that it is of, as in the wide table.
    shown, place = [], ""
    for line in lines:
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if line in titles:
            place = line
        elif line.startswith("| model"):
            header = cells
        elif cells and not cells[0].startswith("--"):
            shown.append((place, cells[0], cells[header.index("UA")]))
    assert shown == [
        (
            f"trained on {row['trained']}, tested on {row['tested']}, {row['how']}",
            row["model"],
            row["UA"],
        )
        for row in as_rows(results_table(tmp_path, pipeline))
    ]


def test_terminal_table_of_a_pipe_has_all_columns(tmp_path: Path) -> None:
    long = "a_model_with_a_name_longer_than_any_table_would_like_to_show_in_its_first_column"
    pipeline = make_pipeline([long], ["tess"], ["emodb"])
    write_results(tmp_path, pipeline)
    text = results_table(tmp_path, pipeline)
    assert f"| {long} |" in text
    assert "thesis |" in text
    [row, other] = result_rows(tmp_path, pipeline)
    assert (row["model"], row["kind"], other["kind"]) == (long, "test", "zero_shot")
    assert f"{row['ua']:.3f}" in text


def test_terminal_table_shows_the_scores(
    data: Path, pipeline: PipelineParams, results: tuple[Result, ...]
) -> None:
    text = results_table(data, pipeline)
    assert "synthetic" not in text
    for r in results:
        if r.kind != "unmasked":
            how = "test part" if r.kind == "test" else "zero-shot"
            scores = [f"{s:.3f}" for s in (r.scores.wa, r.scores.ua, r.scores.wf1, r.majority.ua)]
            assert r.thesis is not None
            cells = [r.trained.name, "tess", r.test, how, str(r.n), *scores, f"{r.thesis.ua:.3f}"]
            assert cells in [
                [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()
            ]


def test_report_reads_the_real_pipeline_section(tmp_path: Path) -> None:
    params = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())
    pipeline = PipelineParams(**{k: tuple(v) for k, v in params["pipeline"].items()})
    with pytest.raises(ReportError, match=r"card\.json: no such file; the train stage"):
        write_report(tmp_path, tmp_path, pipeline)
