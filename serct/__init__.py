"""SERCT: speech emotion recognition on raw waveforms with a CNN and a deformable transformer.

Importing the package does no work; `serct.Predictor` is loaded when it is first asked for.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"
__all__ = ["Predictor", "__version__"]

if TYPE_CHECKING:
    from serct.inference.predictor import Predictor


def __getattr__(name: str) -> Any:
    if name == "Predictor":
        from serct.inference.predictor import Predictor

        return Predictor
    raise AttributeError(f"module 'serct' has no attribute {name!r}")
