"""`dvc plots` writes a page that loads nothing: the real DVC fills it with real curves."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from serct.experiments.plot_page import write_plot_page
from serct.experiments.workspace import prepare_workspace

CURVES = "epoch,train_loss,validation_loss,validation_ua\n1,1.9,1.8,0.2\n2,1.5,1.6,0.5\n"
CONFUSION = "actual,predicted\nangry,angry\nangry,sad\nsad,sad\n"


def dvc_plots(workspace: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "dvc", "plots", "show", *arguments]
    result = subprocess.run(command, cwd=workspace, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder, _ = prepare_workspace(tmp_path / "ws", "demo")
    for name, text in (("curves", CURVES), ("confusion", CONFUSION)):
        path = folder / "data" / "reports" / name / "demo_en-cnn.csv"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return folder


@pytest.mark.slow
def test_the_page_of_plots_loads_nothing(workspace: Path) -> None:
    write_plot_page(workspace)
    dvc_plots(workspace)
    page = (workspace / "dvc_plots" / "index.html").read_text()

    head, _, body = page.partition("</head>\n<body>\n")
    start, script = head.split("<script>", maxsplit=1)
    assert "default-src 'none'" in start
    assert not re.search(r"\b(src|href)=|://", start)
    # An XML name, an address in a message and that of a button which is left out: none is loaded.
    assert "window.vegaEmbed" in script
    assert not re.search(r"import\(|importScripts|<script[^>]+src=.https?:", script)
    assert "://" not in body
    curves, confusion = (json.loads(spec) for spec in re.findall(r"var spec = (.*);", body))
    assert {row["field"] for row in curves["data"]["values"]} == {
        "train_loss",
        "validation_loss",
        "validation_ua",
    }
    assert curves["encoding"]["column"]["field"] == "field"
    assert curves["encoding"]["color"]["field"] == "rev"
    assert confusion["facet"]["column"]["field"] == "rev"
    assert "<DVC_METRIC" not in page


@pytest.mark.slow
def test_a_page_of_the_users_own_stays(workspace: Path) -> None:
    own = workspace / ".dvc" / "own.html"
    own.write_text("<p>mine</p>{plot_divs}")
    options = workspace / ".dvc" / "config.local"
    options.write_text("[plots]\n    html_template = own.html\n")
    write_plot_page(workspace)
    assert options.read_text() == "[plots]\n    html_template = own.html\n"
    dvc_plots(workspace)
    assert (workspace / "dvc_plots" / "index.html").read_text().startswith("<p>mine</p>")


@pytest.mark.slow
def test_what_is_left_of_an_older_page_is_replaced(workspace: Path) -> None:
    page = workspace / ".dvc" / "tmp" / "plots.html"
    page.parent.mkdir()
    page.write_text("<!DOCTYPE html>\n<!-- SERCT, vl-convert 1.0, 0 -->\nold {plot_divs}")
    write_plot_page(workspace)
    assert "vegaEmbed" in page.read_text()
    written = page.stat().st_mtime_ns
    write_plot_page(workspace)
    assert page.stat().st_mtime_ns == written
