"""Rules and dashboard are valid, and ask for metrics that the service has."""

import json
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from jsonschema import Draft7Validator

from serct.serving.batching import Batcher
from serct.serving.models import ModelManager
from serct.serving.monitoring.metrics import ServiceMetrics
from serct.serving.settings import Settings
from serct.serving.speakers import SpeakerStore
from tests.conftest import ROOT
from tests.serving.monitoring.test_drift import model, recording

HERE, MONITORING = Path(__file__).parent, ROOT / "deploy" / "monitoring"


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    return json.loads((MONITORING / "dashboard.json").read_text())  # type: ignore[no-any-return]


def panels() -> list[dict[str, Any]]:
    return list(dashboard()["panels"])


@pytest.fixture(scope="module")
def known() -> set[str]:
    """Names of all series of a service that has predicted, been asked, and lost a decoder."""
    metrics = ServiceMetrics()
    metrics.requests.labels("/v1/predict", "200").inc()
    metrics.seconds.labels("/v1/predict").observe(0.1)
    metrics.lost_decoders.labels("memory").inc()
    metrics.drift.observe(model(), recording(np.random.default_rng(0)))
    models = ModelManager(Settings("models:/serct", Path()))
    text = metrics.text(models, Batcher(1), SpeakerStore(1, 1.0)).decode()
    series = set(re.findall(r"^(\w+)(?:\{| )", text, re.MULTILINE))
    # Families without a series yet: the model in use, and distances.
    families = set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))
    return series | families


@pytest.mark.parametrize(
    "expression",
    [rule["expr"] for rule in rules()]
    + [target["expr"] for panel in panels() for target in panel.get("targets", [])],
)
def test_every_metric_that_is_asked_for_exists(expression: str, known: set[str]) -> None:
    asked = set(re.findall(r"\bserct_\w+", expression))
    assert asked <= known
    assert asked or "up{" in expression or expression == "vector(1)"


def test_every_metric_of_predictions_is_on_the_dashboard(known: set[str]) -> None:
    text = json.dumps(dashboard())
    families = {re.sub(r"_(bucket|sum|count|total|created)$", "", each) for each in known}
    missing = {each for each in families if each.startswith("serct_") and each not in text}
    assert not missing


def test_dashboard_is_what_grafana_takes() -> None:
    schema = json.loads((HERE / "grafana-dashboard.schema.json").read_text())
    found = [
        f"{error.json_path}: {error.message}"
        for error in Draft7Validator(schema).iter_errors(dashboard())
    ]
    assert not found


def test_panels_have_what_their_schema_leaves_open() -> None:
    found = panels()
    assert len({panel["id"] for panel in found}) == len(found)
    for panel in found:
        assert panel["title"]
        assert panel["type"] in {"row", "stat", "timeseries", "heatmap"}
        if panel["type"] == "row":
            continue
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["description"]
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs) > 0
        assert all(target["expr"] and target["legendFormat"] for target in panel["targets"])
    names = {variable["name"] for variable in dashboard()["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(found))) - {"__rate_interval"}
    assert used == names


def test_panels_lie_side_by_side() -> None:
    places = [panel["gridPos"] for panel in panels()]
    assert all(each["x"] >= 0 and each["x"] + each["w"] <= 24 for each in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)


def promtool(*arguments: str) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_configuration_and_rules() -> None:
    promtool("check", "config", str(MONITORING / "prometheus.yml"))


@pytest.mark.parametrize("name", ["compose.yaml", "monitoring/compose.yaml"])
def test_composed_containers_mount_files_that_are_there(name: str) -> None:
    deploy = ROOT / "deploy"
    content = yaml.safe_load((deploy / name).read_text())
    mounts = [each for part in content["services"].values() for each in part.get("volumes", [])]
    sources = [each.split(":")[0] for each in mounts]
    # Paths are from the folder of the first file.
    assert [each for each in sources if each[0] == "." and not (deploy / each).is_file()] == []
    assert {each for each in sources if each[0] != "."} <= content["volumes"].keys()
    targets = yaml.safe_load((MONITORING / "targets.compose.yml").read_text())
    assert (
        targets[0]["targets"][0].split(":")[0]
        in yaml.safe_load((deploy / "compose.yaml").read_text())["services"]
    )


def test_rules_fire_when_they_should() -> None:
    promtool("test", "rules", str(HERE / "alerts.test.yml"))


def test_every_rule_is_tested_and_explained() -> None:
    tests = (HERE / "alerts.test.yml").read_text()
    page = (ROOT / "docs" / "how-to" / "monitor.md").read_text()
    for rule in rules():
        assert f"alertname: {rule['alert']}" in tests
        assert f"`{rule['alert']}`" in page
