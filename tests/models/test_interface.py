"""How a model is found by its architecture, what is imported for it, and its traits."""

import subprocess
import sys

import pytest

from serct.errors import ParamsError
from serct.models import architectures, read_model_params
from serct.models.interface import ClassicalParams
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("name", "traits"),
    [
        ("serct", set()),
        ("cnn", set()),
        ("lstm", {"masks_padding"}),
        ("mlp", {"is_classical"}),
        ("mfcc_svm", {"is_classical", "masks_padding"}),
        ("functionals_lda", {"is_classical", "masks_padding"}),
        ("functionals_lda_speaker", {"is_classical", "masks_padding", "adapts_to_speaker"}),
    ],
)
def test_traits_of_an_entry(tiny_params, name, traits):
    params = read_model_params(tiny_params, name)
    found = {trait for trait in ("masks_padding", "adapts_to_speaker") if getattr(params, trait)}
    assert found | ({"is_classical"} & traits) == traits
    assert isinstance(params, ClassicalParams) == ("is_classical" in traits)


@pytest.mark.parametrize(
    ("name", "absent"),
    [
        ("svm", ("sklearn", "torch", "serct.models.serct")),
        ("functionals_lda", ("sklearn", "librosa", "serct.models.serct", "serct.models.cnn")),
        ("serct", ("sklearn", "serct.models.svm", "serct.models.cnn")),
        ("wavlm_network", ("sklearn", "transformers", "serct.models.serct")),
        ("whisper_lda", ("sklearn", "torch", "transformers", "serct.models.serct")),
    ],
)
def test_reading_an_entry_imports_its_file_alone(name, absent):
    code = f"""
import sys
from pathlib import Path
from serct.config.reader import read_params
from serct.models import read_model_params

read_model_params(read_params(Path("params.yaml")), {name!r})
sys.exit(", ".join(module for module in {absent!r} if module in sys.modules) or None)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=ROOT, capture_output=True, text=True
    )
    assert ran.stderr.strip() == ""
    assert ran.returncode == 0


def test_an_unknown_architecture_is_refused_with_the_known_ones(tiny_params):
    known = ", ".join(architectures())
    for wrong in ("resnet", "layers", "checkpoint", None):
        params = tiny_params.replace(models={"mine": {"architecture": wrong}})
        expected = rf"models\.mine\.architecture is {wrong!r}, expected one of: {known}$"
        with pytest.raises(ParamsError, match=expected):
            read_model_params(params, "mine")
    assert {"cnn", "functionals_lda", "mel_conformer", "serct", "encoder_lda"} < set(
        architectures()
    )


def test_a_model_file_without_its_class_is_refused(tiny_params, monkeypatch):
    monkeypatch.delattr("serct.models.cnn.CnnParams")
    with pytest.raises(ParamsError, match=r'cnn\.py: found 0 classes with architecture: .*"cnn"'):
        read_model_params(tiny_params, "cnn")
