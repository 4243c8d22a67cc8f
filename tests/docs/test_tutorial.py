"""The tutorial runs as its page shows it, and ends as its page says."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SCRIPT = ROOT / "docs" / "start" / "tutorial.py"
PAGE = SCRIPT.with_suffix(".md")


@pytest.mark.slow
def test_the_tutorial_trains_compares_promotes_and_predicts(tmp_path: Path) -> None:
    workspace = tmp_path / "tutorial"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "SERCT_OFFLINE": "1"}
    result = subprocess.run(
        [sys.executable, str(SCRIPT), str(workspace)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=570,
    )
    assert result.returncode == 0, result.stdout + result.stderr

    table = dict(re.findall(r"^[0-9a-f]{32} +(\w+) +(0\.\d+) +0\.\d+$", result.stdout, re.M))
    for model, test_ua in table.items():
        path = workspace / "data" / "reports" / "evaluate" / f"demo_en-{model}" / "metrics.json"
        assert float(test_ua) == pytest.approx(json.loads(path.read_text())["ua"], abs=1e-6)
    assert set(table) == {"cnn", "mfcc_svm"}

    for name in ("curves.png", "confusion.png"):
        assert (workspace / name).read_bytes().startswith(b"\x89PNG")

    assert "mfcc_svm: promoted\n" in result.stdout
    assert "cnn: not promoted\n" in result.stdout
    assert re.search(r"^refused: version \d+ \(cnn on demo_en, \w+\)", result.stderr, re.M)
    [line] = (workspace / "data" / "promotions.jsonl").read_text().splitlines()
    entry = json.loads(line)
    assert (entry["action"], entry["champion"]["name"]) == ("promote", "mfcc_svm")
    assert entry["why"] == "the tutorial"

    _, _, predicted = result.stdout.partition("_angry.wav by mfcc_svm: ")
    rows = [line.split() for line in predicted.splitlines()[1:]]
    probabilities = {emotion: float(probability) for probability, emotion in rows}
    assert len(probabilities) == 7
    assert sum(probabilities.values()) == pytest.approx(1, abs=0.04)


def test_the_page_shows_every_part_of_the_script() -> None:
    parts = re.findall(r"^# -- \d\.", SCRIPT.read_text(), re.M)
    shown = re.findall(r':start-after: "(# -- \d\.)"', PAGE.read_text())
    assert shown == parts == [f"# -- {number}." for number in range(1, 6)]
