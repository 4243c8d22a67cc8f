"""The page of the pipeline, and its picture, name the stages of dvc.yaml."""

import re

import yaml

from tests.conftest import ROOT

CONCEPTS = ROOT / "docs" / "concepts" / "pipeline.md"
PICTURE = ROOT / "docs" / "images" / "pipeline.svg"


def test_the_page_has_the_stages_in_their_order() -> None:
    stages = list(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
    assert re.findall(r"^\| `(\w+)` \|", CONCEPTS.read_text(), re.MULTILINE) == stages
    drawn = re.findall(r'<rect class="box"[^>]*>\s*<text[^>]*>(\w+)<', PICTURE.read_text())
    beside = {"corpus_recipes", "model_recipes", "download_encoder", "zero_shot_targets"}
    assert drawn == [stage for stage in stages if stage not in beside]
