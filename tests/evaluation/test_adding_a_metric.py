"""A metric is one function: computed, stored and read by its name, with no other change."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.metrics import cohen_kappa_score

from serct.config.reader import read_yaml
from serct.models.records import read_history
from tests.models.test_adding_a_model import copy, digests, run

pytestmark = pytest.mark.slow
__all__ = ["copy"]

KAPPA = '''

@metric
def kappa(confusion: Counts) -> float:
    """Return Cohen's kappa: the agreement beyond chance."""
    total = confusion.sum()
    chance = (confusion.sum(axis=0) * confusion.sum(axis=1)).sum() / total**2
    return float((np.trace(confusion) / total - chance) / (1 - chance))
'''


def test_one_function_adds_a_metric(copy: Path, tone_shards: Path) -> None:
    before = digests(copy)
    path = copy / "serct" / "evaluation" / "metrics.py"
    path.write_text(path.read_text() + KAPPA)
    params = read_yaml(copy / "params.yaml")
    params["train"]["select_by"] = "kappa"
    (copy / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    shards, model = str(tone_shards), "data/models/tones-lstm"
    train = ("pipeline.train", "--model", "lstm", "--shards", shards, "--state", "data/state")
    run(copy, *train, "--out", model)
    run(copy, "pipeline.evaluate", "--model", model, "--shards", shards, "--out", "data/report")

    history = read_history(copy / model)
    card = json.loads((copy / model / "card.json").read_text())
    best = max(row["validation_kappa"] for row in history)
    assert card["validation"]["kappa"] == pytest.approx(best)

    metrics = json.loads((copy / "data" / "report" / "metrics.json").read_text())
    counts = np.array(json.loads((copy / "data/report/confusion.json").read_text())["counts"])
    actual, predicted = (
        np.repeat(each.ravel(), counts.ravel()) for each in np.indices(counts.shape)
    )
    assert metrics["kappa"] == pytest.approx(cohen_kappa_score(actual, predicted))
    assert "kappa" in metrics["majority"]
    changed = {name for name, digest in digests(copy).items() if before.get(name) != digest}
    assert changed == {"params.yaml", "serct/evaluation/metrics.py"}
