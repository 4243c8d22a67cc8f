"""The tables of the pages are those that the measured results give, and so are some sentences."""

import re
from pathlib import Path
from statistics import mean

import pytest
import yaml

from docs._tables import form, results
from docs._tables.__main__ import written
from serct.runtime.digests import file_digest
from tests.conftest import ROOT

HINT = "run `make tables`, and edit the results instead of the table"


def test_every_generated_file_is_what_the_results_give() -> None:
    generated = dict(written())
    for name in ("README.md", "results/cpu/metrics.json", "results/full_size/metrics.json"):
        assert ROOT / name in generated
    stale = [str(path) for path, text in generated.items() if path.read_text("utf-8") != text]
    assert not stale, HINT


def test_a_number_edited_by_hand_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = tmp_path / "docs" / "page.md"
    page.parent.mkdir()
    (tmp_path / "README.md").write_text("No table.")
    original = (ROOT / "docs/results/service.md").read_text("utf-8")
    page.write_text(re.sub(r"\| 16 \| (\d+) \|", r"| 16 | 9\1 |", original))
    assert page.read_text("utf-8") != original
    monkeypatch.setattr("docs._tables.__main__.ROOT", tmp_path)
    assert dict(written())[page] == original


def test_the_lock_of_the_run_has_the_published_results_and_parameters() -> None:
    folder = ROOT / "results" / "cpu"
    lock, params = (
        yaml.load((folder / name).read_text("utf-8"), yaml.CSafeLoader)
        for name in ("dvc.lock", "params.yaml")
    )
    stages = lock["stages"]
    outputs = {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}
    for name, path in (("results.csv", "data/reports/results.csv"), ("metrics.json",) * 2):
        assert file_digest(folder / name, "md5") == outputs[path]
    used = {
        key: value
        for stage in stages.values()
        for key, value in stage.get("params", {}).get("params.yaml", {}).items()
    }
    assert {"seed", "split", "train", "models"} <= used.keys()
    for key, value in used.items():
        found = params
        for part in key.split("."):
            found = found[part]
        assert found == value, key


def values_in_sentences() -> dict[str, str]:
    """Values that sentences repeat, as they are written."""
    full = results.measured("full_size-h200")["results"]
    values = {
        f"full_{row['seed']}": form.score(row["test"]["wa"])
        for row in full
        if row["model"] == "serct" and row["learning_rate"] < 1e-4
    }
    [plain] = [row for row in full if row["model"] == "plain_attention"]
    values["full_plain"] = form.score(plain["test"]["wa"])
    values["thesis"] = form.score(results.thesis("tess", "serct", "wa"), 4)
    values |= {f"cpu_{m['name']}": form.score(m["test"]["wa"]) for m in results.run("cpu")}
    values |= {f"cpu_emodb_{m['name']}": form.score(m["emodb"]["ua"]) for m in results.run("cpu")}
    for key, files, corpus in (
        ("speaker", ["tess_speaker_classical", "tess_speaker", "plus"], "tess"),
        ("random", ["tess_random_classical", "tess_random"], "tess"),
        ("zero_shot", ["tess_random_classical"], "emodb"),
        ("emodb", ["emodb_speaker_classical", "emodb_speaker_reference", "emodb_speaker"], "emodb"),
        ("ablation", ["ablation"], "tess"),
        ("ablation_emodb", ["ablation"], "emodb"),
    ):
        for row in results.study(files, corpus):
            values[f"{key}_{row['model']}"] = form.score(mean(row["ua"]))
    return values


SENTENCES = {
    "README.md": (
        "**At full size the thesis' {thesis} is not reached**: {full_3}, {full_4} and {full_5} "
        "over three seeds",
        "({full_plain}; one seed)",
        "reaches {emodb_functionals_lda} on EMO-DB leaving each speaker out",
        "falls from {cpu_serct} to {speaker_serct}.",
    ),
    "docs/results/index.md": (
        "reaches a UA of {zero_shot_functionals_lda} on EMO-DB after training on TESS, and "
        "**{emodb_functionals_lda}** on EMO-DB leaving each speaker out.",
    ),
    "docs/results/thesis.md": (
        "reaches {zero_shot_functionals_lda} on EMO-DB after TESS and **{emodb_functionals_lda}** "
        "on EMO-DB leaving each speaker out",
        "`mel_conformer` from {random_mel_conformer} to {speaker_mel_conformer}, `functionals_lda` "
        "from {random_functionals_lda} to {speaker_functionals_lda}",
        "(`compare_svm`) reach {emodb_compare_svm}; the networks here reach {cpu_emodb_serct} and "
        "{emodb_mel_conformer}.",
        "`cnn` falls from {cpu_cnn} to .328, small `serct` from {cpu_serct} to {speaker_serct},",
        "({ablation_no_cnn} without it)",
        "({ablation_plain_attention} against {ablation_serct} on TESS, "
        "{ablation_emodb_plain_attention} against {ablation_emodb_serct} on EMO-DB;",
        "before it predicts one: {emodb_functionals_lda_speaker} on EMO-DB leaving each speaker "
        "out, {zero_shot_functionals_lda_speaker} after TESS.",
    ),
}


@pytest.mark.parametrize("page", SENTENCES)
def test_sentences_repeat_the_results(page: str) -> None:
    text = " ".join((ROOT / page).read_text("utf-8").split())
    values = values_in_sentences()
    missing = [s for sentence in SENTENCES[page] if (s := sentence.format(**values)) not in text]
    assert not missing


def test_the_page_of_the_models_has_their_parameters() -> None:
    text = (ROOT / "docs/concepts/models.md").read_text("utf-8")
    found = dict(re.findall(r"^\| `(\w+)` \| ([\d.]+ M) \|", text, re.MULTILINE))
    counts = {
        r["model"]: r["num_parameters"] for r in results.measured("full_size-h200")["results"]
    }
    classical = results.study(["tess_random_classical"], "tess")
    counts |= {row["model"]: row["num_parameters"] for row in classical}
    both = found.keys() & counts.keys()
    assert len(both) == 9
    assert {m: found[m] for m in both} == {m: form.parameters(counts[m]) for m in both}


def test_scores_of_a_report_become_metrics(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text(
        "model,trained_on,test,kind,n,wa,wa_low,ua,wf1\n"
        "svm,tess,tess,test,280,0.314286,0.2,0.313000,0.284000\n"
        "svm,tess,emodb,masked,454,0.264000,0.2,0.159000,0.121000\n"
        "svm,tess,emodb,unmasked,454,0.100000,0.0,0.110000,0.120000\n"
    )
    assert results.metrics(tmp_path / "results.csv") == {
        "tess": {
            "svm": {
                "test": {"wa": 0.314286, "ua": 0.313, "wf1": 0.284},
                "emodb": {"wa": 0.264, "ua": 0.159, "wf1": 0.121},
            }
        }
    }


@pytest.mark.parametrize(
    ("written_as", "value"),
    [
        (".971", 0.9714), ("1.000", 1.0), ("1.000", 0.99961), (".000", 0.0), ("-.025", -0.025),
        ("10.500", 10.5), ("", None), ("", ""),
    ],
)  # fmt: skip
def test_scores_have_no_zero_before_the_point(written_as: str, value: float | None) -> None:
    assert form.score(value) == written_as


@pytest.mark.parametrize(
    ("written_as", "value", "num_figures"),
    [
        ("12.1", 12.07, 3), ("0.266", 0.2655, 3), ("111", 111.1, 3), ("3,240", 3235.0, 3),
        ("64", 64.49, 2), ("1.0", 0.996, 2), ("10", 9.96, 2), ("0.25", 0.2537, 2),
    ],
)  # fmt: skip
def test_significant_figures(written_as: str, value: float, num_figures: int) -> None:
    assert form.figures(value, num_figures) == written_as
