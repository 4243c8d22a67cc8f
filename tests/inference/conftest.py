"""What several tests of inference share."""

from pathlib import Path

import pytest

from serct.inference.exporting import export_onnx


@pytest.fixture(scope="session")
def exported(trained: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx") / "serct"
    export_onnx(trained["serct"], folder)
    return folder
