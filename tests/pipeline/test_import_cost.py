"""A program that starts imports what it needs: no stage pays for another one's packages.

The heavy packages take most of a second each, torch and scikit-learn more, in each of the dozens
of stages of a run.
"""

import json
import subprocess
import sys

import pytest

from serct.models import architectures
from tests.conftest import ROOT

HEAVY = (
    "torch", "sklearn", "skops", "scipy", "pandas", "librosa", "numba", "mlflow", "matplotlib",
    "av", "onnxruntime", "requests", "dvc",
)  # fmt: skip
# What each program adds before it has read its params, if they are imported in this order.
PROGRAMS: dict[str, list[str]] = {
    "serct.cli": [],
    "pipeline.zero_shot_targets": [],
    "pipeline.download": [],
    "pipeline.manifest": [],
    "pipeline.preprocess": [],
    "pipeline.zero_shot": [],
    "pipeline.evaluate": [],
    "pipeline.train": [],
    "pipeline.report": ["matplotlib"],
}
# Models that are trained and scored without torch.
CLASSICAL = ("functionals_lda", "mfcc_svm", "mlp", "svm")


def heavy_after(*steps: str) -> list[list[str]]:
    """Run lines of code in one new process; return the heavy packages that each imported first."""
    code = f"""
import json, sys
found, before = [], set()
for step in {steps!r}:
    exec(step)
    after = {set(HEAVY)!r} & set(sys.modules)
    found.append(sorted(after - before))
    before = after
print(json.dumps(found))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def test_programs_import_only_what_they_need() -> None:
    found = heavy_after(*(f"import {program}" for program in PROGRAMS))
    assert dict(zip(PROGRAMS, found, strict=True)) == PROGRAMS


def test_models_of_scikit_learn_need_no_torch() -> None:
    assert set(CLASSICAL) <= set(architectures())
    steps = (
        *(f"import serct.models.{name}" for name in CLASSICAL),
        "import serct.training.classical, serct.models.checkpoint",
        "from serct.runtime import distributed",
        "with distributed.joined('cpu'): assert (distributed.rank(), distributed.size()) == (0, 1)",
    )
    assert heavy_after(*steps) == [[]] * len(steps)


@pytest.mark.slow
def test_saving_such_a_model_needs_no_torch_but_leaves_it_importable() -> None:
    saved, adapted = heavy_after(
        "from serct.models.classical import estimator; estimator._import_skops()",
        "from sklearn.externals.array_api_compat import torch",
    )
    assert {"sklearn", "skops"} <= set(saved)
    assert "torch" not in saved
    assert adapted == ["torch"]
