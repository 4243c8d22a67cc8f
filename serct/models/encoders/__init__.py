"""Encoders that others trained on far more speech than the corpora hold, as layers of models."""
