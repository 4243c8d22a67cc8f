"""SERCT: speech emotion recognition on raw waveforms with a CNN and a deformable transformer.

Importing the package does no work; `serct.Predictor` is loaded when it is first asked for.
"""

import os
from typing import TYPE_CHECKING, Any

# Builds of ONNX Runtime, which finds speech and runs models, report to Microsoft unless this is set
# before they are first imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.2.0"
__all__ = ["Predictor", "__version__"]

if TYPE_CHECKING:
    from serct.inference.predictor import Predictor


def __getattr__(name: str) -> Any:
    if name == "Predictor":
        from serct.inference.predictor import Predictor

        return Predictor
    raise AttributeError(f"module 'serct' has no attribute {name!r}")
