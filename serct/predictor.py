"""The name under which models that version 0.1 saved in MLflow import the predictor."""

from serct.inference.predictor import Predictor

__all__ = ["Predictor"]
